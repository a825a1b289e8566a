"""The wires of a forward: against what is known of a model, and against cutting every other way by hand."""

import torch

from interp.architectures import build
from interp.hooks.wiring import wiring

IDS = torch.tensor([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])


def made_of(found, prefix: str = "") -> dict[str, set[str]]:
    """{site: what it is made of}, names without `prefix`."""
    table = {}
    for start, end in found.wires:
        table.setdefault(end.removeprefix(prefix), set()).add(start.removeprefix(prefix))
    return table


def test_a_block_of_gpt_has_the_wires_of_its_equations():
    found = made_of(wiring(build("gpt", seed=0, n_layers=1), IDS), "blocks.0.")
    assert found["hook_resid_pre"] == {"hook_embed", "hook_pos_embed"}
    assert found["attn.hook_q"] == found["attn.hook_k"] == found["attn.hook_v"] == {"ln1.hook_normalized"}
    assert found["attn.hook_attn_scores"] == {"attn.hook_q", "attn.hook_k"}
    assert found["attn.hook_pattern"] == {"attn.hook_attn_scores"}
    assert found["attn.hook_z"] == {"attn.hook_pattern", "attn.hook_v"}
    assert found["hook_attn_out"] == {"attn.hook_z"}
    assert found["hook_resid_mid"] == {"hook_resid_pre", "hook_attn_out"}
    assert found["hook_resid_post"] == {"hook_resid_mid", "hook_mlp_out"}
    assert found["output"] == {"ln_final.hook_normalized"}


def test_parallel_branches_read_the_same_point_and_serial_ones_do_not():
    side = made_of(wiring(build("parallel", seed=0, n_layers=1), IDS), "blocks.0.")
    assert side["hook_resid_post"] == {"hook_resid_pre", "hook_attn_out", "hook_mlp_out"}
    assert "hook_resid_pre" in side["ln2.hook_normalized"]


def test_a_wire_is_there_exactly_where_a_change_arrives_with_everything_else_held():
    """The literal test of the definition: change one site, hold all between at what they were, look at the other."""
    model = build("llama", seed=0, n_layers=1).to(torch.float64)
    found = wiring(model, IDS)
    wires = set(found.wires)
    _, cache = model.run_with_cache(IDS)
    drawn = torch.Generator().manual_seed(0)
    names = [name for name in found.order if name in cache]
    for at, start in enumerate(names):
        moved = cache[start] + 0.1 * torch.randn(cache[start].shape, generator=drawn, dtype=torch.float64)
        for end in names[at + 1 :]:
            hooks = [(name, lambda value, site: cache[site.name]) for name in names if name not in (start, end)]
            seen = {}
            hooks += [(start, lambda value, site, new=moved: new),
                      (end, lambda value, site, seen=seen: seen.update(end=value))]
            with torch.no_grad(), model.firing(hooks):
                model(IDS)
            arrived = (seen["end"] - cache[end]).abs().max() > 1e-6
            assert bool(arrived) == ((start, end) in wires), (start, end)


def test_what_no_gradient_reaches_is_named():
    found = wiring(build("memoryformer", seed=0, n_layers=1), IDS)
    assert {"blocks.0.attn.hook_bucket_q", "hook_embed"} <= set(found.loose)
    assert not {end for _, end in found.wires} & set(found.loose)


def test_it_leaves_nothing_behind():
    model = build("gpt", seed=0)
    before = model(IDS)
    wiring(model, IDS)
    assert torch.equal(model(IDS), before) and all(p.grad is None for p in model.parameters())
