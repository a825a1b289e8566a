"""Effects on every member of the catalog: the patched engine is the plain loop, the linearised one the gradient,
and the decomposed one either the linear law or an error that names the operation it has no rule for."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from interp.architectures.contract import shaken
from interp.effects import decompose, effects
from interp.effects.decomposed_tensor import NoRule
from interp.garden.catalog import catalog
from interp.hooks import Patch, Source
from tests.effects.models import curved_metric
from tests.effects.oracles import every_source, some

ENTRIES = {entry.name: entry for entry in catalog()}
RECORD = json.loads((Path(__file__).parents[2] / "docs" / "laws.json").read_text())
each = pytest.mark.parametrize("name", ENTRIES)


@cache
def tiny(name: str):
    """A shaken model in float64, an input, and some sources among its float sites."""
    model, x = shaken(ENTRIES[name], torch.float64)
    cache = model.run_with_cache(x)[1]
    sources = [s for s in every_source(model, scales=False) if cache[s.site].is_floating_point()]
    return model, x, some(sources, 8, seed=3)


@each
def test_ablation_is_the_plain_loop(name):
    model, x, sources = tiny(name)
    got = effects(model, x, sources, curved_metric, "ablation").values
    cache, wanted = model.run_with_cache(x)[1], []
    with torch.no_grad():
        with model.edit():
            clean = curved_metric(model(x))
        for source in sources:
            zero = torch.zeros_like(cache[source.site])
            with model.edit(Patch(source.site, zero, head=source.head, pos=source.pos, unit=source.unit)):
                wanted.append(clean - curved_metric(model(x)))
    wanted = torch.stack(wanted)
    assert (got - wanted).abs().max() <= 1e-10 * wanted.abs().max()


@each
def test_tangent_is_the_gradient_times_the_source(name):
    model, x, _ = tiny(name)
    sites = [list(model.map.blocks.values())[-1].resid_post, *_writes(model)]
    got = effects(model, x, [Source(site) for site in sites], curved_metric, "tangent").values
    out, cache = model.run_with_cache(x, sites, grad=True)
    slopes = torch.autograd.grad(curved_metric(out).sum(), [cache[site] for site in sites])
    wanted = torch.stack([(slope * cache[site]).flatten(1).sum(1) for site, slope in zip(sites, slopes)])
    exact = 1e-8 if out.dtype == torch.float64 else 1e-5  # Mamba's heads round their logits
    assert (got - wanted).abs().max() <= exact * wanted.abs().max()


@each
def test_decomposition_is_exact_or_refused_by_name(name):
    model, x, _ = tiny(name)
    source = Source(_writes(model)[0])
    try:
        result = decompose(model, x, [source], ["output"], rules="cdt")
    except NoRule as error:
        assert "ablation" in str(error)
        named = str(error).removeprefix("operation ").split()[0]
        assert named == RECORD[name]["opaque"], "another operation than in docs/laws.md; run docs/generate_laws.py"
        return
    assert RECORD[name]["opaque"] is None, "it goes through now; run: python docs/generate_laws.py"
    with torch.no_grad(), model.edit():
        plain = model(x)
    assert (result.total["output"] - plain).abs().max() <= 1e-8 * plain.abs().max()
    assert result.relevant["output"].isfinite().all() and result.relevant["output"].any()


def _writes(model) -> list[str]:
    """What the first block of the catalog's main stream adds."""
    return [name for step in next(iter(model.map.blocks.values())).steps for name in step.writes]
