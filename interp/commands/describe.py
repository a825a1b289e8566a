"""A loaded model in words: its size, its stream as equations, and its sites, blocks that look alike written once."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interp.hooks import HookedModel
    from interp.hooks.sitemap import Add, Block, NormRef


def describe_model(model: "HookedModel") -> str:
    """What `interp show` prints of a model that is there with its weights."""
    map_ = model.map
    facts = [f"{sum(p.numel() for p in model.parameters()):,} parameters", f"{model.n_layers} depths"]
    facts += [f"{what} {value}" for what, value in (("vocabulary", map_.d_vocab), ("context", map_.n_ctx)) if value]
    facts += ["causal"] if map_.causal else []
    lines = [f"{model.name}: {', '.join(facts)}", "", "the stream"]
    lines += [f"  {line}" for line in _stream(model)]
    lines += ["", "sites (d: execution depth)"]
    return "\n".join([*lines, *(f"  {line}" for line in _sites(model))])


def _stream(model: "HookedModel") -> list[str]:
    map_ = model.map
    lines = [_equation(map_.stem, "")] if map_.stem else []
    alike: dict[tuple[str, ...], list[Block]] = {}
    for block in map_.blocks.values():
        alike.setdefault(tuple(_equation(step, f"{block.prefix}.") for step in block.steps), []).append(block)
    order = list(map_.blocks.values())
    for equations, blocks in alike.items():
        shared = len({block.path for block in blocks}) < len(blocks)
        where = f"depth {_runs(order.index(block) for block in blocks)}"
        lines.append(f"{where}{' (one module, visited every time)' if shared else ''}: {blocks[0].path}")
        lines += [f"  {equation}" for equation in equations]
    if map_.final_norm:
        lines.append(f"{_norm(map_.final_norm)}: {map_.final_norm.path}")
    lines.append(f"output = {map_.unembed}(...)" if map_.unembed else "output: features")
    return lines


def _equation(step: "Add", prefix: str) -> str:
    """`resid_mid = resid_pre + attn_out`, with the norm and the scale it has."""
    start = step.start.removeprefix(prefix).replace("hook_", "")
    kept = f"carry({start})" if callable(step.keep) else start if step.keep == 1 else f"{step.keep:g} * {start}"
    writes = [write.removeprefix(prefix).replace("hook_", "") for write in step.writes]
    inside = " + ".join([kept, *writes] if start else writes)
    normed = f"{_norm(step.norm)}({inside})" if step.norm else inside
    return f"{step.to.removeprefix(prefix).replace('hook_', '')} = {normed}"


def _norm(norm: "NormRef") -> str:
    return "LayerNorm" if norm.role.center else "RMSNorm"


def _sites(model: "HookedModel") -> list[str]:
    rows: dict[str, str] = {}
    depths: dict[str, list[int]] = {}
    for site in model.sites():
        key = site.name
        if site.depth is not None:
            key = site.name.replace(f".{site.depth}.", ".{d}.", 1)
            depths.setdefault(key, []).append(site.depth)
        heads = f"  {site.heads} heads" if site.heads else ""
        rows[key] = f"[{' '.join(site.axes)}]{heads}{'  on request' if site.on_request else ''}"
    width = max(map(len, rows))
    most = max(map(len, depths.values()), default=0)
    return [
        f"{key:<{width}}  {row}" + (f"  d = {_runs(depths[key])}" if 0 < len(depths.get(key, ())) < most else "")
        for key, row in rows.items()
    ]


def _runs(numbers: Iterable[int]) -> str:
    """0-3, 5: numbers with their runs drawn together."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)
