"""How far the engine is from the authors' own arithmetic, and the invariants of CD-T as this engine has them.

The numbers are repeated in docs/cdt.md; each assertion brackets one by half an order of magnitude or more.
"""

from functools import cache

import pytest
import torch
import transformers as T

from interp.adapters import hook
from interp.effects import decompose
from interp.hooks import Mean, Source
from tests.effects.cdt_literal import authors_gpt2
from tests.effects.models import inputs, tiny

CONFIG = dict(vocab_size=50, n_positions=32, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2)
SOURCES = [Source(f"blocks.{d}.attn.hook_z", head=h, pos=pos) for d in range(2) for h in range(4) for pos in (None, 2)]


@cache
def model(weights: str):
    """`unit`: weights of unit gain and biases of 0.2; `small`: the library's start, N(0, 0.02) and no biases."""
    if weights == "unit":
        return tiny("gpt2")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return hook(T.GPT2LMHeadModel(T.GPT2Config(**CONFIG)).double().eval())


def distances(weights: str, rules: str, mode: str) -> tuple[dict[str, float], dict[str, float]]:
    """Per site, over all sources: largest difference of r over the largest r, and |r + i - t| over the largest t."""
    m, x = model(weights), inputs("gpt2")
    baseline = "zero" if mode == "zero" else Mean(over=inputs("gpt2", batch=6, seed=8))
    far: dict[str, float] = {}
    open_sum: dict[str, float] = {}
    for source in SOURCES:
        mu = None if mode == "zero" else mean_of(m, source.site)
        with torch.no_grad():
            sites = authors_gpt2(m.module, x, source, mu)
        got = decompose(m, x, [source], list(sites), rules, baseline=baseline)
        for site, (r, i) in sites.items():
            t, mine = got.total[site], got.relevant[site][0]
            if (size := float(r.abs().max())) > 0:
                far[site] = max(far.get(site, 0.0), float((mine - r).abs().max()) / size)
            open_sum[site] = max(open_sum.get(site, 0.0), float((r + i - t).abs().max() / t.abs().max()))
    return far, open_sum


def mean_of(m, site: str) -> torch.Tensor:
    return m.read(inputs("gpt2", batch=6, seed=8), [site])[site].mean(0, keepdim=True)


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_published_rules_are_as_near_to_the_authors_arithmetic_as_its_lost_biases_allow(mode):
    """With biases their parts miss b tol / (|a| + |c| + tol); without biases nothing is missing."""
    far, rest = distances("unit", "cdt-published", mode)
    assert 1e-6 < max(far.values()) < 3e-3 and 1e-6 < max(rest.values()) < 1e-4
    far, rest = distances("small", "cdt-published", mode)
    assert max(far.values()) < 1e-9 and max(rest.values()) < 1e-12


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_the_models_own_epsilon_is_a_visible_difference_where_activations_are_small(mode):
    far, rest = distances("unit", "cdt", mode)
    assert 1e-5 < max(far.values()) < 1e-2 and 1e-6 < max(rest.values()) < 1e-4
    far, rest = distances("small", "cdt", mode)
    assert 5e-3 < max(far.values()) < 1e-1 and 1e-3 < max(rest.values()) < 3e-2


def test_a_dead_input_keeps_its_bias_here_and_loses_it_there():
    """|a| = |c| = 0: the authors' parts hold nothing of b, ours give it to the irrelevant part."""
    from interp.effects.decomposed_tensor import Decomposed
    from tests.effects.cdt_literal import Authors
    from tests.effects.test_decomposed_ops import applied

    zero, weight, b = torch.zeros(1, 3).double(), torch.ones(3, 2).double(), torch.tensor([1.0, -2.0]).double()
    theirs = Authors().linear(zero, zero, weight, b)
    assert (theirs[0] == 0).all() and (theirs[1] == 0).all()
    ours = applied(lambda v: torch.nn.functional.linear(v, weight.T, b), Decomposed(zero, zero[None]))
    assert torch.equal(ours.total[0], b) and (ours.relevant == 0).all()


def parts(sources, rules="cdt", **more):
    return decompose(model("unit"), inputs("gpt2"), sources, ["output"], rules, **more).relevant["output"]


def test_parts_are_not_additive_over_sources_nor_linear_in_them():
    """N1, N2: so neither may be promised. The measured gaps are of the size of the parts themselves."""
    heads = [Source("blocks.0.attn.hook_z", head=h) for h in (0, 1)]
    one, two, both = parts([*heads, heads])
    additive = float((one + two - both).abs().max() / both.abs().max())
    assert 0.05 < additive < 2.0
    z = model("unit").read(inputs("gpt2"), [heads[0].site])[heads[0].site]
    half = parts([heads[0]], baseline={heads[0].site: z / 2})[0]
    assert 0.05 < float((2 * half - one).abs().max() / one.abs().max()) < 2.0


def test_parts_of_all_tokens_do_not_sum_to_the_whole():
    """N3: every token of the sentence as a source of its own."""
    found = decompose(tiny("bert"), inputs("bert"), [Source("hook_embed", pos=p) for p in range(6)])
    t = found.total["output"]
    assert 0.05 < float((found.relevant["output"].sum(0) - t).abs().max() / t.abs().max()) < 3.0


def test_zero_is_the_mean_mode_with_a_mean_of_zero():
    """I5, exactly."""
    source = Source("blocks.0.attn.hook_z", head=1, pos=2)
    assert torch.equal(parts([source]), parts([source], baseline={source.site: torch.zeros(1, 6, 4, 8).double()}))
