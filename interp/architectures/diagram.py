"""A model as a block diagram: boxes with labelled axes and the wires between them, read off a forward and its site map.

    blocks whose sites and wires are alike are one section; `depths` says which
    the two sites of a norm are one box; a box at which a block adds to its stream is a sum

Nothing is drawn by hand: the wires are those of `interp.hooks.wiring`, so an entry that is new has its diagram.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from interp.architectures.diagram_boxes import Box, boxes_of
from interp.architectures.entry import Entry
from interp.hooks.model import HookedModel, Inputs
from interp.hooks.site import split_name
from interp.hooks.wiring import wiring


@dataclass(frozen=True)
class Section:
    """What stands outside the blocks (no `depths`), or one kind of block with the prefixes of all that are like it.
    `shared` says in words which weights several of them have in common, "" where none."""

    title: str
    boxes: tuple[Box, ...]
    depths: tuple[str, ...] = ()
    shared: str = ""


@dataclass(frozen=True)
class Diagram:
    """The sections of a model in order of computation."""

    name: str
    sections: tuple[Section, ...]

    def boxes(self) -> list[tuple[Section, Box]]:
        """Every box with its section."""
        return [(section, box) for section in self.sections for box in section.boxes]


def of_entry(entry: Entry) -> Diagram:
    """The diagram of a member of the catalog at its default sizes.

    Weights that begin at zero (gates, last projections) hide their wires, so this copy has small random ones there.
    """
    model = entry.make(seed=0)
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.is_floating_point() and not weight.any():
                weight.normal_(0.0, 0.1, generator=drawn)
    return diagram(model, entry.example(model))


def diagram(model: HookedModel, x: Inputs) -> Diagram:
    """The diagram of `model` with the wires of one forward of `x`. Raises what a forward raises."""
    found = wiring(model, x)
    boxes, home = boxes_of(model, found)
    sections: list[tuple[str, list[Box]]] = []
    for box in boxes:
        prefix = home[box.id]
        mine = next((members for name, members in sections if name == prefix and prefix), None)
        if mine is None and (not sections or sections[-1][0] != prefix):
            sections.append((prefix, mine := []))
        (mine if mine is not None else sections[-1][1]).append(box)
    home |= {box.id: f"outside {at}" for at, (prefix, boxes) in enumerate(sections) if not prefix for box in boxes}
    return Diagram(model.name, tuple(_folded(model, sections, home)))


def unlike(one: Diagram, two: Diagram) -> set[str]:
    """Ids of the boxes of `one` that `two` has not, or makes of something else; sizes and depths are not compared."""
    there = set(_looks(two).values())
    return {name for name, look in _looks(one).items() if look not in there}


def _looks(shown: Diagram) -> dict[str, object]:
    """What each box is: its label, its role, and the labels of what it reads, in its block or of others."""
    label = {box.id: box.label for _, box in shown.boxes()}
    streams = {box.id for _, box in shown.boxes() if box.role == "stream"}
    return {box.id: (box.label, box.role, box.group, box.sums, frozenset(label[name] for name in box.reads),
                     frozenset(label[name] for name in box.comes if box.id not in streams))
            for _, box in shown.boxes()}


def _folded(model: HookedModel, found: list[tuple[str, list[Box]]], home: Mapping[str, str]) -> list[Section]:
    """Blocks that look alike as one section, at the place of the first."""
    made: dict[object, list[tuple[str, list[Box]]]] = {}
    for at, (prefix, boxes) in enumerate(found):
        made.setdefault(_look(prefix, boxes, home) if prefix else at, []).append((prefix, boxes))
    drawn = {box.id: shown.id for alike in made.values() for _, boxes in alike
             for box, shown in zip(boxes, alike[0][1], strict=True)}
    sections = []
    for alike in made.values():
        prefixes = tuple(prefix for prefix, _ in alike if prefix)
        boxes = tuple(_whole([boxes[i] for _, boxes in alike], home, drawn) for i in range(len(alike[0][1])))
        sections.append(Section(_title(prefixes), boxes, prefixes, _shared(model, prefixes)))
    return sections


def _look(prefix: str, boxes: list[Box], home: Mapping[str, str]) -> object:
    """What two blocks have in common that are drawn once: their stream, boxes and inner wires, not their sizes."""
    rows = ((_local(b.id, prefix), b.role, tuple(_local(r, prefix) for r in b.reads if home[r] == prefix))
            for b in boxes)
    return split_name(f"{prefix}.hook_x")[0], tuple(rows)


def _whole(same: list[Box], home: Mapping[str, str], drawn: Mapping[str, str]) -> Box:
    """The same box of blocks that look alike as one: all their sites, what any of them reads of elsewhere."""
    first = same[0]
    inside = tuple(name for name in first.reads if home[name] == home[first.id])
    outside = dict.fromkeys(drawn[name] for box in same for name in box.reads if home[name] != home[box.id])
    sizes = [dict.fromkeys(axes) for axes in zip(*(box.axes for box in same), strict=False)]
    axes = tuple(next(iter(a)).partition(" ")[0] + " " + "|".join(x.partition(" ")[2] for x in a) if len(a) > 1
                 else next(iter(a)) for a in sizes)
    return replace(first, axes=axes, sites=tuple(name for box in same for name in box.sites), reads=inside,
                   comes=tuple(outside), sums=first.sums or same[-1].sums)


def _local(name: str, prefix: str) -> str:
    return name.removeprefix(f"{prefix}.")


def _shared(model: HookedModel, prefixes: tuple[str, ...]) -> str:
    """Which blocks, or which of their branches, are visits of one module."""
    by_path: dict[str, list[str]] = {}
    for prefix in prefixes:
        by_path.setdefault(model.map.blocks[prefix].path, []).append(prefix)
    said = [f"blocks {_numbers(tuple(same))} are one block, visited {len(same)} times" for same in by_path.values()
            if len(same) > 1]
    if said or len(prefixes) < 2:
        return "; ".join(said)
    modules = [{split_name(s.name)[2]: s.module for s in model.sites() if s.name.startswith(f"{p}.")} for p in prefixes]
    same = {kind.partition(".")[0] for kind, module in modules[0].items() if "." in kind and module
            and all(other.get(kind) == module for other in modules[1:])}
    return f"{' and '.join(sorted(same))}: the same weights at every depth" if same else ""


def _title(prefixes: tuple[str, ...]) -> str:
    if not prefixes:
        return ""
    stream = split_name(f"{prefixes[0]}.hook_x")[0]
    return f"{stream + ' ' if stream else ''}block{'s' * (len(prefixes) > 1)} {_numbers(prefixes)}"


def _numbers(prefixes: tuple[str, ...]) -> str:
    numbers = [split_name(f"{prefix}.hook_x")[1] for prefix in prefixes]
    run = len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return f"{numbers[0]} to {numbers[-1]}" if run else ", ".join(map(str, numbers))
