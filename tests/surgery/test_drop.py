"""Dropping branches by similarity: the formula, the drop itself, refusals, and the paper's claims on a real model."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import interp
from interp.architectures import build
from interp.results import ModelMissing
from interp.results.errors import BadInput, RequiresResidualStream
from interp.surgery.drop import dropped, ranking, similarities

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)


def _tokens() -> torch.Tensor:
    return torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(3))


def _model(name="gpt"):
    model = build(name, seed=0, **SIZES)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return model


def _cosine(a, b):
    return float(sum((a * b).sum(-1).flatten() / (a.norm(dim=-1) * b.norm(dim=-1)).flatten()) / a[..., 0].numel())


def test_similarity_is_the_cosine_over_each_branch_and_sorted():
    model = _model()
    cache = model.run_with_cache(_tokens())[1]
    found = similarities(model, _tokens())
    assert list(found.values()) == sorted(found.values(), reverse=True) and len(found) == 6
    for d in range(3):
        pre, mid, post = (cache[f"blocks.{d}.hook_resid_{point}"] for point in ("pre", "mid", "post"))
        assert found[f"blocks.{d}.hook_attn_out"] == pytest.approx(_cosine(pre, mid), abs=1e-5)
        assert found[f"blocks.{d}.hook_mlp_out"] == pytest.approx(_cosine(mid, post), abs=1e-5)
        block = similarities(model, _tokens(), "block")[f"blocks.{d}"]
        assert block == pytest.approx(_cosine(pre, post), abs=1e-5)


def test_padding_does_not_count():
    model = _model()
    ids, mask = torch.zeros(3, 14, dtype=torch.long), torch.zeros(3, 14, dtype=torch.long)
    ids[:, 3:], mask[:, 3:] = _tokens(), 1
    plain, padded = similarities(model, _tokens()), similarities(model, {"input_ids": ids, "attention_mask": mask})
    assert padded == pytest.approx(plain, abs=1e-5)


def test_a_model_without_all_its_attention_is_one_whose_attention_writes_nothing():
    model, empty = _model(), _model()
    with torch.no_grad():
        for block in empty.module.blocks:
            block.attn.o.weight.zero_(), block.attn.o.bias.zero_()
        with dropped(model, ranking(model, _tokens(), 3, "attn")):
            cut = model(_tokens())
        assert torch.equal(cut, empty(_tokens()))


def test_a_dropped_block_is_handed_through():
    model = _model("parallel")
    first = ranking(model, _tokens(), 1, "block")
    with dropped(model, first):
        cache = model.run_with_cache(_tokens())[1]
    assert torch.equal(cache[f"{first[0]}.hook_resid_pre"], cache[f"{first[0]}.hook_resid_post"])


def test_what_cannot_be_dropped_is_refused():
    with pytest.raises(BadInput, match="choose among"):
        similarities(_model(), _tokens(), "heads")
    with pytest.raises(BadInput, match="7 branches are to be dropped; gpt has 6"):
        ranking(_model(), _tokens(), 7)
    with pytest.raises(BadInput, match="no branch that is mlp"):
        similarities(_model("attn-only"), _tokens(), "mlp")
    for name in ("post-norm", "gtrxl", "three-phase"):
        sizes = {} if name == "three-phase" else SIZES
        with pytest.raises(RequiresResidualStream, match="more with its stream than add"):
            similarities(build(name, **sizes), _tokens())


TEXT = """The first railway lines were short and carried coal from the mines to the nearest harbour. Within thirty years
they joined most of the large towns of the country, and people who had never left their village began to travel. Letters
arrived the next day, newspapers were read everywhere on the same morning, and clocks, which had followed the sun in
every town, were set to one common time. Farmers found that milk could be sold a hundred miles away, and the price of
bread no longer depended on the harvest of one county. Not everyone was pleased: the owners of the canals lost their
trade, and coachmen, innkeepers and horse dealers along the old roads lost their living."""


@pytest.mark.slow
def test_works_when_170_attention_drop():
    """On SmolLM2-135M attention is more similar than MLPs, and dropping the attention ranked first beats random."""
    try:
        model = interp.load("smollm2-135m")
    except ModelMissing as missing:
        pytest.skip(str(missing))
    ids = model.tokenizer(TEXT, return_tensors="pt")["input_ids"]
    found = similarities(model, ids)
    by_kind = {kind: [v for name, v in found.items() if kind in name] for kind in ("attn_out", "mlp_out")}
    mean = {kind: sum(values) / len(values) for kind, values in by_kind.items()}
    assert mean["attn_out"] > mean["mlp_out"]

    def loss(names) -> float:
        with torch.no_grad(), dropped(model, names):
            return float(cross_entropy(model(ids)[0, :-1], ids[0, 1:]))

    generator = torch.Generator().manual_seed(0)
    every = [name for name in found if "attn_out" in name]
    random = sorted(loss([every[i] for i in torch.randperm(len(every), generator=generator)[:6]]) for _ in range(10))
    assert loss(ranking(model, ids, 6, "attn")) < random[1]
