"""Every entry of the catalog has its diagram: complete, in agreement with the declared equations, without overlap."""

from functools import cache

import pytest

from apps.dashboard.views.diagram import Layout
from interp.architectures.diagram import of_entry, unlike
from interp.garden.catalog import catalog

ENTRIES = {entry.name: entry for entry in catalog()}


@cache
def drawn(name: str):
    return of_entry(ENTRIES[name])


def boxes(name: str) -> dict[str, object]:
    return {box.id: box for _, box in drawn(name).boxes()}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_has_its_diagram_whole_and_with_the_sums_of_its_declared_equations(name):
    model, found = ENTRIES[name].make(seed=0), drawn(name)
    assert sorted(p for section in found.sections for p in section.depths) == sorted(model.map.blocks)
    shown = [site for _, box in found.boxes() for site in box.sites]
    assert sorted(shown) == sorted(site.name for site in model.sites() if not site.on_request)
    table = boxes(name)
    reached, front = set(), ["output"]
    while front:
        box = front.pop()
        if box not in reached:
            reached.add(box)
            front += [*table[box].reads, *table[box].comes]
    left = {box.id for box in table.values()} - reached
    assert all(table[box].role == "choice" for box in left), left
    assert any(not table[box].reads and not table[box].comes for box in reached)
    of = {site: box for box in table.values() for site in box.sites}
    for step in (step for block in model.map.blocks.values() for step in block.steps):
        end = of[step.to]
        if step.norm is not None:  # the norm is the sum, and the stream is what leaves it
            end = of[f"{step.norm.scale.rpartition('.')[0]}.hook_normalized"]
        made = {site for read in (*end.reads, *end.comes) for site in table[read].sites}
        assert made >= set(step.writes), (step.to, step.writes, made)
        assert end.sums or len(step.writes) + (step.keep != 0.0) < 2, step.to


@pytest.mark.parametrize("name", ENTRIES)
def test_boxes_do_not_overlap_and_wires_lead_down(name):
    for section in drawn(name).sections:
        places = Layout(section)
        spots = sorted((places.row[box.id], places.x[box.id]) for box in section.boxes)
        assert all(b[0] > a[0] or b[1] - a[1] > 0.97 for a, b in zip(spots, spots[1:])), spots
        assert all(places.row[read] < places.row[box.id] for box in section.boxes for read in box.reads)
        assert min(places.x.values()) >= 0


def test_shared_weights_repeated_blocks_and_parallel_branches_are_said():
    assert [s.shared for s in drawn("looped").sections if s.depths] == ["blocks 0 to 3 are one block, visited 4 times"]
    assert "the same weights at every depth" in next(s.shared for s in drawn("widenet").sections if s.depths)
    assert [s.depths for s in drawn("ladder").sections if s.depths] == [("blocks.0",), ("blocks.1",)]
    assert boxes("parallel")["blocks.0.hook_resid_post"].reads == (
        "blocks.0.hook_resid_pre", "blocks.0.hook_attn_out", "blocks.0.hook_mlp_out")
    assert boxes("gtrxl")["blocks.0.hook_resid_mid"].sums == "gate × +"


def test_axes_carry_the_sizes_of_the_model_and_not_of_the_input():
    found = boxes("llama")
    assert found["blocks.0.attn.hook_k"].axes == ("pos", "kv_head 2", "d_head 16")
    assert found["blocks.0.attn.hook_pattern"].axes == ("head 4", "query", "key")
    assert found["output"].axes == ("pos", "value 128")


def test_what_differs_is_marked_and_an_entry_differs_in_nothing_from_itself():
    assert unlike(drawn("gpt"), drawn("gpt")) == set()
    assert {"blocks.0.attn.hook_rot_q", "blocks.0.mlp.hook_pre_linear"} <= unlike(drawn("llama"), drawn("gpt"))
    assert "hook_pos_embed" in unlike(drawn("gpt"), drawn("llama"))
    assert "blocks.0.attn.hook_q" not in unlike(drawn("llama"), drawn("gpt"))
