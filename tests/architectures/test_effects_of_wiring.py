"""Effects on the families whose wires are new: the engines against plain loops, completeness, and who is refused."""

import pytest
import torch

import interp
from interp.architectures import build
from interp.effects.decomposed_tensor import NoRule

SIZES = dict(d_model=32, n_heads=4, d_vocab=50)
NAMES = {
    "pre-crmsnorm": {"n_layers": 2}, "unified-norm": {"n_layers": 2}, "ladder": {"n_layers": 3},
    "gtrxl": {"n_layers": 2},
    "dual-stream": {"n_layers": 2}, "widenet": {"n_layers": 3}, "algoformer": {"n_loops": 2}, "mor": {"n_layers": 3},
    "relaxed-recursive": {"n_layers": 2}, "mot": {"n_layers": 2}, "hat": {"n_layers": 2}, "mor-expert": {"n_layers": 3},
}
SEVERAL_EMBEDDINGS = {"hat"}  # no single stream from one embedding to the end: nothing to be complete over
each = pytest.mark.parametrize("name", NAMES)


def _model(name: str):
    """In float64, with biases of zero: constants are no source here."""
    sizes = {key: value for key, value in SIZES.items()} | NAMES[name]
    model = build(name, seed=0, **sizes).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for path, p in model.module.named_parameters():
            p.add_(0.15 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
            if "bias" in path:
                p.zero_()
    tokens = torch.randint(0, 50, (2, 8), generator=generator)
    if name == "hat":
        tokens[:, 2::3] = model.module.embedder.space
    return model, tokens


def _logit(output: torch.Tensor) -> torch.Tensor:
    return output[:, -1, 3]


def _sources(model) -> list[interp.Source]:
    writes = [interp.Source(name) for name in model.map.writes]
    return writes + [interp.Source(site.name, head=1) for site in model.sites("*attn.hook_z")]


@each
def test_batched_ablation_equals_a_loop(name):
    model, x = _model(name)
    sources = _sources(model)
    found = interp.effects(model, x, sources, _logit, rules="ablation", baseline="zero").values
    with torch.no_grad():
        clean = _logit(model(x))
        for source, row in zip(sources, found):
            with model.edit(interp.Ablate(source.site, head=source.head)):
                assert torch.allclose(clean - _logit(model(x)), row, atol=1e-10), source.label


@each
def test_tangent_equals_autograd(name):
    model, x = _model(name)
    sources = _sources(model)
    found = interp.effects(model, x, sources, _logit, rules="tangent", baseline="zero").values
    output, cache = model.run_with_cache(x, grad=True)
    grads = torch.autograd.grad(_logit(output).sum(), [cache[source.site] for source in sources])
    for source, grad, row in zip(sources, grads, found):
        product = cache[source.site] * grad
        product = product if source.head is None else product[:, :, source.head]
        assert torch.allclose(product.flatten(1).sum(1), row, atol=1e-10), source.label


SINGLE = [name for name in NAMES if name not in SEVERAL_EMBEDDINGS]
# the sigmoid of mor-expert's router is 1/2 at zero, a constant that no embedding is asked for
COMPLETE = [("direct", name) for name in SINGLE] + [("frozen", name) for name in SINGLE if name != "mor-expert"]


@pytest.mark.parametrize(("rules", "name"), COMPLETE)
def test_complete_rules_add_up_to_the_logit(rules, name):
    """Over the embeddings, or over them and all writes."""
    model, x = _model(name)
    names = [*model.map.stem.writes, *(model.map.writes if rules == "direct" else ())]
    found = interp.effects(model, x, [interp.Source(n) for n in names], _logit, rules=rules, baseline="zero").values
    with torch.no_grad():
        assert torch.allclose(found.sum(0), _logit(model(x)), atol=1e-8)


@pytest.mark.parametrize(("name", "operation"), [("mor", "argmax"), ("mor-expert", "argsort")])
def test_a_choice_of_depth_is_refused_by_the_decomposed_engine_by_name(name, operation):
    model, x = _model(name)
    source = interp.Source(model.map.stem.writes[0])
    with pytest.raises(NoRule, match=f"^{operation} makes"):
        interp.decompose(model, x, sources=[source], targets=["output"], rules="cdt", baseline="zero")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("mor")])
def test_the_other_families_decompose(name):
    """Totals are the model's own output; parts are finite and some are there (exactness: tests/effects)."""
    model, x = _model(name)
    sources = [interp.Source(write) for write in model.map.writes[:2]]
    for rules in ("cdt", "local-shapley"):
        found = interp.decompose(model, x, sources=sources, targets=["output"], rules=rules, baseline="zero")
        with torch.no_grad():
            assert torch.allclose(found.total["output"], model(x), atol=1e-8)
        assert torch.isfinite(found.relevant["output"]).all() and found.relevant["output"].abs().amax() > 1e-6
