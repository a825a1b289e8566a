"""The catalog: every architecture by name, built from a seed, and its forward pass as equations."""

from functools import cache

from interp.architectures import (
    activation,
    attention,
    dual_stream,
    elastic,
    gpt,
    graph,
    hierarchical,
    library_vision,
    linear_attention,
    looped,
    looped_vision,
    memory,
    metaformer,
    modality,
    norms,
    recurrent,
    reversed_attention,
    ssm,
    time_series,
    vit,
    white_box,
    window_attention,
    wiring,
)
from interp.architectures.entry import Entry
from interp.architectures.parents import differences, parent_of
from interp.hooks.model import HookedModel
from interp.results.errors import BadInput, nearest

_FAMILIES = (
    gpt, norms, attention, wiring, linear_attention, dual_stream, ssm, recurrent, looped, memory, activation,
    elastic, modality, hierarchical, vit, reversed_attention, white_box, looped_vision,
    library_vision, metaformer, window_attention, time_series, graph,
)
_registered: dict[str, Entry] = {}


@cache
def _own() -> dict[str, Entry]:
    return {entry.name: entry for family in _FAMILIES for entry in family.MEMBERS}


def register(entry: Entry) -> None:
    """Add a member that another package owns (`programs` brings its own model).

    Raises BadInput for a name that is taken.
    """
    if entry.name in _own() | _registered:
        raise BadInput(f"the catalog has a {entry.name!r} already")
    _registered[entry.name] = entry


def catalog() -> list[Entry]:
    """All entries, family by family: `.name .title .family .kind .paper .citation`."""
    return list((_own() | _registered).values())


def entry(name: str) -> Entry:
    """The entry called `name`. Raises BadInput, naming the nearest."""
    table = _own() | _registered
    if name not in table:
        raise BadInput(f"no architecture {name!r}.{nearest(name, table)} There are: {', '.join(table)}")
    return table[name]


def full_name(name: str) -> str:
    """The name of an entry, also from its beginning up to a hyphen where one entry has it. Raises as `entry`."""
    table = _own() | _registered
    longer = [other for other in table if other.startswith(f"{name}-")]
    return longer[0] if name not in table and len(longer) == 1 else entry(name).name


def build(name: str, *, seed: int = 0, **sizes: int | None) -> HookedModel:
    """A model of the catalog with random weights that depend on `seed` alone.

    `sizes` are those of its entry (for most: d_model, n_layers, n_heads, n_kv_heads, d_mlp, d_vocab, n_ctx).
    Raises BadInput for an unknown name or size, naming the nearest, and for sizes that do not fit together.
    """
    found = entry(name)
    for size in sizes:
        if size not in found.sizes:
            raise BadInput(f"{name} has no size {size!r}.{nearest(size, found.sizes)} "
                           f"It takes: {', '.join(found.sizes)}")
    return found.make(seed=seed, **sizes)


def describe(name: str, **sizes: int | None) -> str:
    """The whole forward pass of one architecture as equations beside their sites, what of them its parent has not, then
    all sites once.

    Blocks that look alike are written once, with {d} for the depth.
    """
    found = entry(name)
    model = build(name, seed=0, **sizes)
    given = ", ".join(f"{size} {value}" for size, value in (found.sizes | sizes).items() if value is not None)
    rows = found.equations(model)
    width = max(len(equation) for equation, _ in rows)
    count = sum(p.numel() for p in model.parameters())
    lines = [f"{name}: {found.title}", found.citation, f"{given}: {count:,} parameters", ""]
    lines += [f"{equation:<{width}}  {sites}".rstrip() for equation, sites in rows]
    if parent := parent_of(name):
        changed = differences(found, entry(parent)) or ["no equation; see the title"]
        lines += ["", f"against {parent}", *(f"  {line}" for line in changed)]
    return "\n".join([*lines, "", "sites", *(f"  {line}" for line in _tree(model))])


def _tree(model: HookedModel) -> list[str]:
    """Every kind of site with its axes, blocks folded into {d} with the depths that have it."""
    depths: dict[str, list[int]] = {}
    rows: dict[str, str] = {}
    for site in model.sites():
        key = site.name if site.depth is None else site.name.replace(f"blocks.{site.depth}.", "blocks.{d}.", 1)
        rows[key] = f"[{', '.join(site.axes)}]"
        if site.depth is not None:
            depths.setdefault(key, []).append(site.depth)
    width = max(map(len, rows))
    whole = model.n_layers
    return [
        f"{key:<{width}}  {axes}" + (f"  d = {_runs(depths[key])}" if 0 < len(depths.get(key, ())) < whole else "")
        for key, axes in rows.items()
    ]


def _runs(depths: list[int]) -> str:
    return ", ".join(map(str, depths))
