"""The linear rule sets: derivatives that are right, sums that are complete, errors that shrink as they must."""

import pytest
import torch

from interp.effects import effects, linearised
from interp.effects.linearised import DIRECT, FROZEN, linear_run
from interp.effects.sources import Groups
from interp.hooks import Counterfactual, Source
from interp.hooks.baselines import resolve
from tests.effects.models import CLASS_STREAM, IMAGES, NAMES, PAIRS, curved_metric, inputs, linear_metric, tiny
from tests.effects.oracles import close, every_source, some

EXACT = 1e-10
LINEAR = ("tangent", "relp", "frozen", "direct", "integrated")
EMBEDDINGS = ("hook_embed", "hook_pos_embed", "hook_token_type_embed")


def jvp_effects(model, x, sources, metric, baseline):
    """Forward-mode derivatives, one forward a source: the direction is clean - baseline."""
    groups = Groups(model, sources)
    values = model.read(x, list(groups.sites))
    base = resolve(model, list(groups.sites.values()), baseline, x)[0]
    zero, one = torch.zeros((), dtype=model.dtype), torch.ones((), dtype=model.dtype)
    found = []
    for masks in groups.masks(values, model.lengths(x)):

        def moved(eps, masks=masks):
            def move(value, site):
                name = site.name
                return value + eps * torch.where(masks[name], values[name] - base[name].to(value), 0)

            with model.firing([(name, move) for name in masks]):
                return metric(model(x))

        found.append(torch.func.jvp(moved, (zero,), (one,))[1])
    return torch.stack(found)


@pytest.mark.parametrize("name", NAMES)
def test_tangent_equals_forward_mode(name):
    model, x = tiny(name), inputs(name)
    # masked scores are the least number there is; times eps they are no direction
    sources = [s for s in every_source(model) if not s.site.endswith("attn_scores")]
    sources = some(sources, 12, seed=3)
    baseline = Counterfactual(inputs(name, seed=9))
    got = effects(model, x, sources, curved_metric, "tangent", baseline=baseline)
    close(got.values, jvp_effects(model, x, sources, curved_metric, baseline), EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_tangent_in_float32_equals_float64(name):
    sources = every_source(tiny(name))
    both = []
    for dtype in (torch.float32, torch.float64):
        x, other = inputs(name, dtype=dtype), inputs(name, seed=9, dtype=dtype)
        base = Counterfactual(other)
        both.append(effects(tiny(name, dtype), x, sources, curved_metric, "tangent", baseline=base).values)
    close(both[0], both[1], 1e-4 if name in ("t5", "t5_gated", "gemma2") else 2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_ablation_minus_tangent_shrinks_as_the_square_of_the_source(name):
    model, x = tiny(name), inputs(name)
    sources = some(every_source(model), 14, seed=4)
    names = sorted({s.site for s in sources})
    here, there = model.read(x, names), model.read(inputs(name, seed=9), names)

    def rest(size: float) -> tuple[torch.Tensor, torch.Tensor]:
        base = {n: here[n] - size * (here[n] - there[n]) for n in names}
        tangent = effects(model, x, sources, curved_metric, "tangent", baseline=base).values
        return effects(model, x, sources, curved_metric, baseline=base).values - tangent, tangent

    size = 1e-5  # small enough that no ReLU turns over
    (big, first_order), (small, _) = rest(2 * size), rest(size)
    scale = float(first_order.abs().max()) / (2 * size)
    assert (big.abs() > 0.05 * size**2 * scale).any(1).sum() >= 6  # the second order is there to be seen
    assert ((big - 4 * small).abs() <= 0.03 * big.abs() + 0.01 * size**2 * scale).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rules", LINEAR)
def test_linear_sets_are_additive_over_partitions(name, rules):
    model, x = tiny(name), inputs(name)
    groups, parts_of = [], []
    for site in (s for s in model.sites() if not s.on_request and s.name not in model.map.inert_sites):
        parts = []
        if site.head_axis is not None:
            parts.append([Source(site.name, head=h) for h in range(site.heads)])
        if site.pos_axis is not None and site.axes[0] == "batch":
            parts.append([Source(site.name, pos=0), Source(site.name, pos=slice(1, None))])
        for part in parts:
            whole = len(groups)
            groups += [Source(site.name), *part]
            parts_of.append((whole, range(whole + 1, len(groups))))
    got = effects(model, x, groups, curved_metric, rules, baseline=Counterfactual(inputs(name, seed=9))).values
    assert parts_of and (got != 0).any()
    whole = torch.stack([got[w] for w, _ in parts_of])
    summed = torch.stack([got[list(parts)].sum(0) for _, parts in parts_of])
    close(summed, whole, EXACT)


def embeddings(model) -> list[str]:
    """Where streams start: what the stem writes."""
    return [s.name for s in model.sites() if s.kind in EMBEDDINGS or s.name == CLASS_STREAM.get(model.name)]


def constants(model, x, metric, rules, cut: list[str]) -> torch.Tensor:
    """[batch]: what the biases add to a metric under `rules`, the sites of `cut` being constants of their own.

    CaiT's `proj_w` makes its pattern, so its bias is part of what is held.
    """
    biases = {n: p for n, p in model.module.named_parameters() if n.endswith("bias") and "proj_w" not in n}
    with linear_run(model, rules, [(site, lambda value, site: value.detach()) for site in cut]):
        try:
            for p in biases.values():
                p.requires_grad_(True)
            value = metric(model(x))
            if not value.requires_grad:
                return torch.zeros_like(value)
            rows = [torch.autograd.grad(v, list(biases.values()), allow_unused=True, retain_graph=True) for v in value]
        finally:
            for p in biases.values():
                p.requires_grad_(False)
    found = [sum((g * p).sum() for g, p in zip(row, biases.values()) if g is not None) for row in rows]
    for p in biases.values():
        p.requires_grad_(True)
    return torch.stack([torch.as_tensor(f, dtype=model.dtype) for f in found]).detach()


def clean(model, x) -> torch.Tensor:
    with torch.no_grad(), model.edit():
        return linear_metric(model(x))


@pytest.mark.parametrize("name", NAMES)
def test_frozen_is_complete_over_embeddings_positions_and_constants(name):
    """A linear reading of the output = effects of what the stem writes + what every bias adds, to the last bit."""
    model, x = tiny(name), inputs(name)
    stem = embeddings(model)
    got = effects(model, x, [Source(s) for s in stem], linear_metric, "frozen").values
    total = got.sum(0) + constants(model, x, linear_metric, FROZEN, stem)
    assert (got.abs() > 1e-4).any()
    close(total, clean(model, x), EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_direct_is_complete_over_writers_embeddings_and_constants(name):
    """The same for everything that writes to the stream; the output has to be linear behind the last norm."""
    model, x = tiny(name, linear_head=True), inputs(name)
    writes = [w for block in model.map.blocks.values() for step in block.steps for w in step.writes]
    parts = [*embeddings(model), *writes]
    got = effects(model, x, [Source(s) for s in parts], linear_metric, "direct").values
    total = got.sum(0) + constants(model, x, linear_metric, DIRECT, parts)
    assert (got[len(embeddings(model)) :].abs() > 1e-4).any(1).any()
    close(total, clean(model, x), EXACT)


@pytest.mark.parametrize("name", ["gpt2", "llama", "olmo2", "gpt_neox", "gpt_neox_serial", "vit", "dinov2"])
def test_direct_equals_contributions_carried_to_the_end(name):
    """Every writer's effect is its own term of the final stream, read through the final norm and the head."""
    model, x = tiny(name), inputs(name)
    _, cache = model.run_with_cache(x)
    terms = model.contributions(cache)
    names = {n.replace("hook_", ""): n for n in cache}
    sources = [Source(names[t]) for t in terms if t in names]
    got = effects(model, x, sources, linear_metric, "direct").values
    ref, last = model.map.final_norm, list(model.map.blocks.values())[-1].resid_post

    def read(stream):  # the metric of a stream whose final norm has the clean run's scale
        with torch.no_grad(), model.edit():
            hold = (ref.scale, lambda value, site: cache[ref.scale])
            return linear_metric(model.run_with_hooks(x, [(last, lambda value, site: stream), hold]))

    nothing = read(torch.zeros_like(cache[last]))
    wanted = torch.stack([read(terms[s.site.replace("hook_", "")].expand_as(cache[last])) for s in sources]) - nothing
    close(got, wanted, EXACT)


def near(name: str, x):
    """Inputs that differ from `x` by one token, or a little everywhere for images: a short path between them."""
    if name in IMAGES:
        return x + 0.2 * inputs(name, seed=9)
    other = {k: v.clone() for k, v in x.items()} if name in PAIRS else {"ids": x.clone()}
    for ids in other.values():
        ids[:, 2] = ids[:, 2] % 49 + 1
    return other if name in PAIRS else other["ids"]


@pytest.mark.parametrize("name", NAMES)
def test_integrated_becomes_complete_as_steps_grow(name, monkeypatch):
    model, x = tiny(name), inputs(name)
    other = near(name, x)
    with torch.no_grad(), model.edit():
        wanted = curved_metric(model(x)) - curved_metric(model(other))
    sources, gaps = [Source(s) for s in embeddings(model)], []
    for steps in (2, 16, 64):
        monkeypatch.setattr(linearised, "STEPS", steps)
        got = effects(model, x, sources, curved_metric, "integrated", baseline=Counterfactual(other)).values.sum(0)
        gaps.append(float((got - wanted).abs().max() / wanted.abs().max()))
    assert gaps[2] < 0.01 and gaps[2] < 0.25 * gaps[0] + 1e-4, gaps


def test_integrated_of_an_inner_node_is_its_difference_times_the_mean_gradient():
    model, x, other = tiny("gpt2"), inputs("gpt2"), inputs("gpt2", seed=9)
    site, steps = "blocks.1.attn.hook_z", linearised.STEPS
    clean, corrupt = (model.read(i, ["hook_embed", site]) for i in (x, other))
    mean = 0
    for k in range(steps):
        share = (k + 0.5) / steps
        between = corrupt["hook_embed"] + share * (clean["hook_embed"] - corrupt["hook_embed"])
        with torch.enable_grad(), model.firing([("hook_embed", lambda value, site, b=between: b)]):
            out, cache = model.run_with_cache(x, names=site, grad=True)
            mean = mean + torch.autograd.grad(curved_metric(out).sum(), cache[site])[0] / steps
    wanted = (mean * (clean[site] - corrupt[site])).sum((1, 3)).T
    sources = [Source(site, head=h) for h in range(4)]
    got = effects(model, x, sources, curved_metric, "integrated", baseline=Counterfactual(other))
    close(got.values, wanted, EXACT)


@pytest.mark.parametrize("rules", LINEAR)
def test_parameters_and_modes_are_left_as_they_were(rules):
    model, x = tiny("llama"), inputs("llama")
    frozen = next(iter(model.parameters()))
    frozen.requires_grad_(False)
    try:
        before = [p.requires_grad for p in model.parameters()], set(model.module.__dict__)
        effects(model, x, [Source("blocks.0.attn.hook_z")], curved_metric, rules)
        assert before == ([p.requires_grad for p in model.parameters()], set(model.module.__dict__))
        assert all(p.grad is None for p in model.parameters())
    finally:
        frozen.requires_grad_(True)


@pytest.mark.parametrize("rules", ["tangent", "relp", "frozen", "direct"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_metric_itself_obeys_no_rule(name, rules):
    """Chain rule: effects on any metric are those on its true gradient at the output, held constant."""
    model, x = tiny(name), inputs(name)
    sources = [s for s in every_source(model) if s.site.endswith(("hook_z", "hook_mlp_out"))]
    baseline = Counterfactual(inputs(name, seed=9))

    def metric(output):
        mixed = output[:, -1].softmax(-1)
        return (mixed * mixed).sum(-1) + torch.relu(mixed - 0.01)[:, ::2].sum(-1)

    output = model.run_with_hooks(x).detach().requires_grad_()  # as the engines run it: float64 throughout
    slope = torch.autograd.grad(metric(output).sum(), output)[0]
    got = effects(model, x, sources, metric, rules, baseline=baseline).values
    wanted = effects(model, x, sources, lambda out: (out * slope).flatten(1).sum(1), rules, baseline=baseline).values
    assert wanted.abs().max() > 0
    close(got, wanted, EXACT)
