"""The boxes of a block diagram: one a value, with its role, its axes and what it is computed from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from interp.hooks.model import HookedModel
from interp.hooks.site import Site, split_name
from interp.hooks.sitemap import Add
from interp.hooks.wiring import Wiring

Role = Literal["stream", "norm", "write", "pattern", "part", "constant", "choice"]
"""stream: of the residual stream; write: added to it; pattern: attention; constant: of the weights alone; choice: made
without a gradient (an argmax, a bucket); part: everything else."""


@dataclass(frozen=True)
class Box:
    """One value: `label` with the sizes of its `axes`, the `sites` that hold it, where it stands.

    `group` is the branch it belongs to (attn, mlp ...; "" on the stream). `reads` are the boxes of its block that it is
    computed from, `comes` those of other sections, or of another depth of its own. `sums` says how the stream is kept
    where this box is a sum ("+", "0.9 × +"), else it is empty.
    """

    id: str
    label: str
    role: Role
    group: str
    axes: tuple[str, ...]
    sites: tuple[str, ...]
    reads: tuple[str, ...]
    comes: tuple[str, ...] = ()
    sums: str = ""


def boxes_of(model: HookedModel, found: Wiring) -> tuple[list[Box], dict[str, str]]:
    """(every box in order of computation, {its id: the prefix of its block, "" outside})."""
    sites = {name: model.site(name) for name in found.order}
    merged = {name: _merged(name, sites) for name in found.order}
    order = list(dict.fromkeys(merged.values()))
    members = {box: tuple(name for name in found.order if merged[name] == box) for box in order}
    reads: dict[str, list[str]] = {box: [] for box in order}
    for start, end in found.wires:
        if merged[start] != merged[end] and merged[start] not in reads[merged[end]]:
            reads[merged[end]].append(merged[start])
    adds = {step.to: step for block in model.map.blocks.values() for step in block.steps}
    adds |= {model.map.stem.to: model.map.stem} if model.map.stem is not None else {}
    writes = set(model.map.writes)
    home = {box: _home(members[box][0], model) for box in order}
    batch = next(iter(found.shapes.values()))[0]
    made = []
    for at, box in enumerate(order):
        site = sites[members[box][-1]]
        role = _role(site, box, writes, found, batch)
        if role == "choice":  # no gradient passes a choice: it is made of what the next box of its block is made of
            later = (other for other in order[at + 1 :] if home[other] == home[box] and reads[other])
            reads[box] = [name for name in reads[next(later, box)] if name in order[:at]]
        group = "" if role in ("norm", "stream") else site.kind.rpartition("hook_")[0].rstrip(".")
        made.append(Box(box, _label(box, site, bool(home[box])), role, group, _axes(site, found.shapes[site.name]),
                        members[box], tuple(reads[box]), sums=_sums(box, adds, reads[box], writes, role)))
    return _grouped(made), home


def _label(box: str, site: Site, inside: bool) -> str:
    """What the box is called: the site without what its section or branch says already."""
    if box != site.name:
        return box.rpartition(".")[2]
    stream, _, kind = split_name(box)
    stage = f"stage {site.name.split('.')[1]} " if site.kind.startswith("stage.") else ""
    return f"{stream} {kind.rpartition('hook_')[2]}" if stream and not inside else stage + kind.rpartition("hook_")[2]


def _merged(name: str, sites: Mapping[str, Site]) -> str:
    """The box of a site: of a norm, its module; else the site itself."""
    stem, _, point = name.rpartition(".hook_")
    pair = {f"{stem}.hook_scale", f"{stem}.hook_normalized"}
    return stem if point in ("scale", "normalized") and pair <= set(sites) else name


def _home(name: str, model: HookedModel) -> str:
    return next((prefix for prefix in model.map.blocks if name.startswith(f"{prefix}.")), "")


def _role(site: Site, box: str, writes: set[str], found: Wiring, batch: int) -> Role:
    if box != site.name:
        return "norm"
    if site.name in writes:
        return "write"
    if "resid" in site.kind or site.kind.startswith("stage."):
        return "stream"
    if site.name in found.loose and split_name(site.name)[1] is not None:
        return "choice" if "batch" in site.axes and found.shapes[site.name][0] == batch else "constant"
    return "pattern" if site.pattern is not None else "part"


def _axes(site: Site, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the axes with the sizes that belong to the model; batch and what depends on the input have none."""
    names = site.axes
    if "..." in names or len(names) != len(shape):
        names = ("batch", *("pos",) * (len(shape) - 2), "value" if len(shape) > 1 else "")
    own = [f"{name} {size}".strip() if name not in ("pos", "query", "key", "one") else name
           for name, size in zip(names, shape) if name != "batch"]
    return tuple(own)


def _sums(box: str, adds: Mapping[str, Add], reads: list[str], writes: set[str], role: Role) -> str:
    if box in adds and len(reads) + (role == "norm") > 1:
        keep = adds[box].keep
        return "gate × +" if callable(keep) else "+" if keep == 1.0 else f"{keep:g} × +"
    return "+" if role == "norm" and len(reads) > 1 and writes & set(reads) else ""


def _grouped(boxes: list[Box]) -> list[Box]:
    """Norms and writes join the branch they serve: that of what reads them, else of what they read."""
    table = {box.id: box for box in boxes}
    into: dict[str, list[str]] = {}
    for box in boxes:
        for name in box.reads:
            into.setdefault(name, []).append(box.id)
    for box in boxes:
        if box.role == "write":
            near = [table[name].group for name in box.reads if table[name].group]
            table[box.id] = replace(box, group=near[-1] if near else "")
    for box in boxes:
        if box.role == "norm" and not box.sums:
            near = [table[name].group for name in (*into.get(box.id, ()), *reversed(box.reads)) if table[name].group]
            table[box.id] = replace(box, group=near[0] if near else "")
    return list(table.values())
