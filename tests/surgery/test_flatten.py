"""Two blocks side by side: the equation by hand, where it is exact, its second-order error, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from interp.architectures import build
from interp.architectures.gpt import ATTN, GPT
from interp.hooks.check import check_model
from interp.parts.model import build_model
from interp.parts.sitemap import hook
from interp.results.errors import BadInput, RequiresResidualStream
from interp.surgery.flatten import flat_stream, flatten, flatten_most_similar, flattening_error

SIZES = dict(d_model=16, n_layers=4, n_heads=4, d_vocab=30, n_ctx=16)
NAMES = ["gpt", "llama", "rotary", "attn-only", "parallel", "pre-rmsnorm"]


def _shaken(name, size=0.2, **more):
    model = build(name, seed=0, **SIZES | more).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(size * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def _tokens():
    return torch.randint(0, 30, (3, 9), generator=torch.Generator().manual_seed(3))


def test_the_flattened_stream_is_the_papers_equation():
    """Every module of the two blocks called by hand."""
    model, x = _shaken("gpt"), _tokens()
    found = flat_stream(model, 1, x)
    one, two = model.module.blocks[1], model.module.blocks[2]
    h, context = found["start"], _context(model, x)
    with torch.no_grad():
        u = h + one.attn(one.ln1(h), context) + two.attn(two.ln1(h), context)
        v = u + one.mlp(one.ln2(u)) + two.mlp(two.ln2(u))
    assert torch.allclose(found["flat"], v, atol=1e-12) and not torch.allclose(found["serial"], v, atol=1e-2)


def _context(model, x):
    from interp.parts.context import Context

    return Context(x, None)


@pytest.mark.parametrize("kv", [None, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_flattened_model_computes_the_flattened_stream(name, kv):
    model, x = _shaken(name, **({"n_kv_heads": kv} if kv and name == "llama" else {})), _tokens()
    flat, report = flatten(model, 1, x)
    expected = flat_stream(model, 1, x)["flat"]
    cache = flat.run_with_cache(x)[1]
    assert torch.allclose(cache["blocks.1.hook_resid_post"], expected, atol=1e-10)
    assert torch.equal(cache["blocks.2.hook_resid_post"], cache["blocks.1.hook_resid_post"])
    assert cache["blocks.1.attn.hook_pattern"].shape[1] == 2 * SIZES["n_heads"]
    assert abs(report.removed) < 0.05 and report.error == pytest.approx(flattening_error(model, 1, x))
    check_model(flat, x).raise_if_failed()


@pytest.mark.parametrize("silent", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_exact_where_one_of_the_two_writes_nothing(name, silent):
    model, x = _shaken(name), _tokens()
    with torch.no_grad():
        for path, p in model.module.blocks[silent].named_parameters():
            if path.split(".")[-2] in ("o", "down"):
                p.zero_()
    flat, report = flatten(model, 1, x)
    with torch.no_grad():
        assert torch.allclose(flat(x), model(x), atol=1e-10)
    assert report.error["of_stream"] < 1e-12


def test_it_is_exact_where_the_second_block_does_not_read_what_the_first_wrote():
    """Without norms: block 0 writes to the first half of the stream, block 1 reads the second half."""
    block = (replace(ATTN, norm_in=None, writes="resid_post"),)
    model = hook(build_model(replace(GPT, block=block, norm=None, tied=(), **SIZES | {"n_layers": 2}), seed=1).double())
    with torch.no_grad():
        model.module.blocks[0].attn.o.weight[8:] = 0
        for name in "qkv":
            model.module.blocks[1].attn.get_submodule(name).weight[:, :8] = 0
        flat, _ = flatten(model, 0, _tokens())
        assert torch.allclose(flat(_tokens()), model(_tokens()), atol=1e-12)


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_halved_writes_make_a_quarter_of_the_error(name):
    gaps = []
    for scale in (0.02, 0.01, 0.005):
        model = _shaken(name)
        with torch.no_grad():
            for block in model.module.blocks:
                for part in (block.attn.o, block.mlp.down):
                    for p in part.parameters():
                        p.mul_(scale)
        found = flat_stream(model, 1, _tokens())
        gaps.append(float((found["flat"] - found["serial"]).norm()))
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.05) and gaps[1] / gaps[2] == pytest.approx(4, rel=0.05)


def test_runs_of_blocks_are_joined_and_the_model_stays_as_it_was():
    model, x = _shaken("llama"), _tokens()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flat, reports = flatten_most_similar(model, 3, x)
    cache = flat.run_with_cache(x)[1]
    live = [d for d in range(4) if not torch.equal(cache[f"blocks.{d}.hook_resid_pre"],
                                                   cache[f"blocks.{d}.hook_resid_post"])]
    assert len(reports) == 3 and live == [0]
    assert cache["blocks.0.attn.hook_z"].shape[2] == 4 * SIZES["n_heads"]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    # the pair chosen first has the largest cosine of inputs
    clean = model.run_with_cache(x)[1]
    cosines = [float(F.cosine_similarity(clean[f"blocks.{d}.hook_resid_pre"], clean[f"blocks.{d + 1}.hook_resid_pre"],
                                         dim=-1).mean()) for d in range(3)]
    assert reports[0].parts[0] == f"blocks.{max(range(3), key=cosines.__getitem__)}"


@pytest.mark.parametrize(("name", "error", "message"), [
    ("alibi", BadInput, "depend on the number of heads"), ("looped", BadInput, "cannot be taken out|shares"),
    ("post-norm", RequiresResidualStream, "add"),
])
def test_what_cannot_be_flattened_is_refused(name, error, message):
    with pytest.raises(error, match=message):
        flatten(_shaken(name), 1, _tokens())


def test_the_last_block_has_no_pair():
    with pytest.raises(BadInput, match="no block at depth 3 with one behind it"):
        flatten(_shaken("gpt"), 3, _tokens())
