"""Where each component reads the stream: the module in front of it (a norm, mostly), found by looking and then proven.

Knowing it, one forward serves a whole circuit of edges (`edge_runs`); without it every reader takes a run of its own.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from interp.discovery.edge_gradients import CutRun, projection, reaches
from interp.discovery.graph import Component, Graph
from interp.effects.linear_rules import TANGENT
from interp.hooks import HookedModel
from interp.hooks.tap import IN, OUT


@dataclass(frozen=True)
class Entry:
    """A component reads the stream through the module `path`, at its call number `visit`.

    `norm` says that what its heads project is what that module returns; else it is the stream as it is given to it.
    """

    path: str
    visit: int
    norm: bool = True


def entries(model: HookedModel, x, graph: Graph) -> dict[str, Entry] | None:
    """The entry of every component by its write, and of "output"; None unless all of them have one.

    Proven on `x` (one prompt will do): streams are plain sums; each entry is given the stream's value; with every entry
    cut, no component depends on an earlier write; queries, keys and values are linear maps of what the entry returns.
    """
    last = model.map.final_norm.path if model.map.final_norm is not None else model.map.unembed
    if not _plain_sums(model) or last is None:
        return None
    steps = {write: step.start for block in model.map.blocks.values() for step in block.steps for write in step.writes}
    with torch.no_grad():
        final = list(model.map.blocks.values())[-1].resid_post
        streams = model.read(x, list(dict.fromkeys([*steps.values(), final])))
        calls = _calls(model, x)
    if (last, 0) not in calls or not _same(calls[last, 0][0], streams[final]):
        return None
    found: dict[str, Entry] = {"output": Entry(last, 0)}
    taken: set[tuple[str, int]] = set()
    for component in graph.components:
        block = list(model.map.blocks.values())[component.block]
        stream = streams[steps[component.write]]
        fits = [
            Entry(path, visit) for (path, visit), (given, _) in calls.items()
            if path.startswith(f"{block.path}.") and visit == block.visit and _same(given, stream)
        ]
        if any(read.heads for read in component.reads):
            both = [replace(entry, norm=norm) for entry in fits for norm in (True, False)]
            fits = [entry for entry in both if _feeds_heads(model, component, calls, entry)]
            fits = fits if _adds_up(model, x, component) else []
        # the outermost that nothing else enters through
        fits = sorted((e for e in fits if (e.path, e.visit) not in taken), key=lambda e: e.path.count("."))
        if not fits:
            return None
        found[component.write] = fits[0]
        taken.add((fits[0].path, fits[0].visit))
    return found if _complete(model, x, graph, found) else None


def _plain_sums(model: HookedModel) -> bool:
    """Whether every step adds its writes to the stream that the step before left, and nothing else."""
    at = model.map.stem.to
    if model.map.stem.norm is not None:
        return False
    for block in model.map.blocks.values():
        for step in block.steps:
            if step.start != at and step.start != block.resid_pre:
                return False
            if step.norm is not None or callable(step.keep) or step.keep != 1.0 or not block.continues:
                return False
            at = step.to
        if any(step.start == block.resid_pre for step in block.steps[1:]):
            return False
    return all(block.prefix.startswith("blocks.") for block in model.map.blocks.values())


def _calls(model: HookedModel, x) -> dict[tuple[str, int], tuple[Tensor, object]]:
    """{(module path, call): (first argument, output)} of every module in a plain forward."""
    found: dict[tuple[str, int], tuple[Tensor, object]] = {}
    counts: dict[str, int] = {}
    handles = []

    def watch(path: str):
        def hook(module, args, output):
            visit = counts[path] = counts.get(path, -1) + 1
            if args and isinstance(args[0], Tensor):
                found[path, visit] = args[0], output

        return hook

    try:
        for path, module in model.module.named_modules():
            handles.append(module.register_forward_hook(watch(path)))
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _same(a: Tensor, b: Tensor, size: Tensor | None = None) -> bool:
    """Equal but for rounding, of the `size` of a third tensor where there is one."""
    return a.shape == b.shape and bool((a - b).abs().max() <= 1e-5 * (b if size is None else size).abs().max())


def _feeds_heads(model: HookedModel, component: Component, calls, entry: Entry) -> bool:
    """Whether every query, key and value projection is a linear map of exactly what the entry returns, or is given."""
    source = calls[entry.path, entry.visit][entry.norm]
    if not isinstance(source, Tensor):
        return False
    for read in component.reads:
        site, tap = model.map.sites[read.site]
        module = model.module.get_submodule(tap.path)
        call = calls.get((tap.path, site.visit))
        if not read.heads or tap.point != OUT or projection(module) is None or call is None or call[0] is not source:
            return False
    return True


def results(model: HookedModel, component: Component) -> list[str]:
    """The sites of what a component's nodes write: its heads' results where an output projection makes them of `z`
    alone, its own write where it has no heads, else nothing."""
    if component.sites == (component.write,):
        return [component.write]
    names = [site.removesuffix("z") + "result" for site in component.sites]
    sites = model.map.sites
    if any(name not in sites for name in names):
        return []
    taps = [(sites[z][1], sites[name][1]) for z, name in zip(component.sites, names)]
    return names if all(z.path == result.path and z.point == IN for z, result in taps) else []


def _adds_up(model: HookedModel, x, component: Component) -> bool:
    """Whether the write is the sum of its heads' results, but for a constant."""
    names = results(model, component)
    if not names:
        return False
    cache = model.read(x, [component.write, *names])
    rest = cache[component.write] - sum(cache[name].sum(-2) for name in names)
    return _same(rest, rest[:1, :1].expand_as(rest), cache[component.write])


def _complete(model: HookedModel, x, graph: Graph, found: dict[str, Entry]) -> bool:
    """Whether no component depends on an earlier write with the stream cut at every entry."""
    handles = [_cut(model.module.get_submodule(path), {e.visit for e in found.values() if e.path == path})
               for path in {entry.path for entry in found.values()}]
    try:
        run = CutRun(model, x, graph, lambda output: output.flatten(1).sum(1), TANGENT)
    finally:
        for handle in handles:
            handle.remove()
    before = [node.site for node in graph.stem]
    for stage in graph.stages:
        for c in stage:
            starts = [run.leaf[name] for name in before]
            ends = [run.raw[c.write], *(run.raw[read.site] for read in c.reads if read.heads)]
            if any(reaches(end, starts) for end in ends):
                return False
        before += [c.write for c in stage]
    return True


def _cut(module: nn.Module, visits: set[int]):
    count = {"n": -1}

    def hook(module, args):
        count["n"] += 1
        return (args[0].detach(), *args[1:]) if count["n"] in visits else None

    return module.register_forward_pre_hook(hook)
