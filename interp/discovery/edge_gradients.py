"""Linear effects of every edge at once: what a node's change does through one reader of it, to first order.

    effect(u -> v as role) = < clean_u - corrupt_u , d metric / d u along v's reading alone >

Every write to the stream is cut, so that what leads from it to a reader passes through no other component; the
components are walked backwards, each once, and the gradients of all query, key and value heads of one are carried to
all earlier writers in one batch. For the tangent this is edge attribution patching. Papers: Syed 2023 (2310.10348);
Hanna 2024 (2403.17806) for inputs between corrupt and clean. Oracle: one path at a time (tests/discovery).
"""

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from interp.discovery.graph import OUTPUT_READ, Component, Graph, Read
from interp.effects.linear_rules import TANGENT, LinearRules
from interp.effects.linearised import linear_run
from interp.effects.reading import Reader
from interp.effects.sources import check_clean
from interp.hooks import HookedModel, Site

Keep = Callable[[Read, list[str], Tensor], None]


class CutRun:
    """One forward whose components are joined by the streams alone.

    `raw` is what a component returned, `leaf` what the stream was given in its place (the same value); what heads read
    is cut in the same way. `z` is what heads returned, not cut.
    """

    def __init__(self, model: HookedModel, x, graph: Graph, metric, rules: LinearRules, extra=()):
        self.model, self.graph = model, graph
        self.raw: dict[str, Tensor] = {}
        self.leaf: dict[str, Tensor] = {}
        self.z: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}  # what head projections read
        batch = model.batch_of(x)[0]

        def cut(value: Tensor, site: Site) -> Tensor:
            if value.shape[0] == 1:  # computed once for all prompts: each gets its own gradient
                value = value.expand(batch, *value.shape[1:])
            self.raw[site.name] = value if value.requires_grad else value.detach()  # it may be a parameter itself
            self.leaf[site.name] = value.detach().requires_grad_()
            return self.leaf[site.name]

        def hold(value: Tensor, site: Site) -> Tensor:
            self.z[site.name] = value.view_as(value)
            return self.z[site.name]

        taps = [*extra, *((node.site, cut) for node in graph.stem)]
        for c in graph.components:
            taps += [(read.site, cut) for read in c.reads if read.heads and read.site not in c.sites]
            read = {read.site for read in c.reads}
            taps += [(site, cut if site in read else hold) for site in c.sites if site != c.write]
            taps.append((c.write, cut))
        reader = Reader(model, metric, batch)
        with linear_run(model, rules, taps), self._watched_projections(), reader.gathering():
            output = model(x)
        with torch.enable_grad():
            self.metric = check_clean(reader(output)[0], model, x)

    def _watched_projections(self) -> ExitStack:
        stack = ExitStack()
        for read in (read for c in self.graph.components for read in c.reads if read.heads):
            site, tap = self.model.map.sites[read.site]
            module = self.model.module.get_submodule(tap.path)
            if tap.point == "out" and projection(module) is not None:
                stack.callback(module.register_forward_hook(_Remember(self.inputs, site)).remove)
        return stack

    def walk(self, keep: Keep) -> None:
        """Carry the gradient from the metric back to the stem, giving every read's gradient at the writes before it:
        `keep(read, writes, gradient [head, *shape of a write])`, for all writes together that share one tensor."""
        total: dict[str, Tensor] = {}
        before = [*(node.site for node in self.graph.stem), *(c.write for c in self.graph.components)]
        self._carry(OUTPUT_READ, self.metric.sum(), None, before, total, keep)
        for stage in reversed(self.graph.stages):
            before = before[: len(before) - len(stage)]
            for component in stage:
                if component.write in total:
                    self._through(component, total.pop(component.write), before, total, keep)

    def _through(self, component: Component, gradient: Tensor, before, total, keep: Keep) -> None:
        raw = self.raw[component.write]
        heads = [read for read in component.reads if read.heads]
        for read in component.reads:
            if not read.heads:
                self._carry(read, raw, gradient[None], before, total, keep)
        if heads and raw.requires_grad:
            ends = [self.leaf[read.site] for read in heads]
            found = torch.autograd.grad(raw, ends, gradient, allow_unused=True, retain_graph=True)
            for read, grad in zip(heads, found):
                if grad is not None:
                    self._carry(read, *self._apart(read, grad), before, total, keep)

    def _apart(self, read: Read, grad: Tensor) -> tuple[Tensor, Tensor]:
        """(where to go on from, one gradient a head there): at the projection's input where its weight is known."""
        site, tap = self.model.map.sites[read.site]
        x = self.inputs.get(read.site)
        if x is not None and x.requires_grad and x.shape[:-1] == grad.shape[:2]:
            weight = projection(self.model.module.get_submodule(tap.path))
            numbers = torch.arange(weight.shape[0], device=weight.device).expand(1, 1, -1)
            rows = weight[tap.view.read(numbers, None)[0, 0]].detach()  # [head, d_head, d_in]
            return x, torch.matmul(grad.permute(2, 0, 1, 3), rows[:, None])
        raw = self.raw[read.site]
        apart = torch.zeros(len(read.targets), *raw.shape, dtype=raw.dtype, device=raw.device)
        for head, part in enumerate(apart):
            part.select(site.head_axis, head).copy_(grad.select(site.head_axis, head))
        return raw, apart

    def _carry(self, read: Read, start: Tensor, gradients: Tensor | None, before, total, keep: Keep) -> None:
        if not start.requires_grad or not before:
            return
        shared: dict[tuple, tuple[Tensor, list[str]]] = {}  # writers to one stream have one gradient
        for name, g in zip(before, _pull(start, [self.leaf[name] for name in before], gradients)):
            if g is not None:
                shared.setdefault((g.data_ptr(), g.shape), (g, []))[1].append(name)
        for g, names in shared.values():
            summed = g.sum(0)
            for name in names:
                total[name] = total[name] + summed if name in total else summed
            keep(read, names, g)


def _pull(start: Tensor, ends: list[Tensor], gradients: Tensor | None) -> list[Tensor | None]:
    """Gradients at `ends` [head, ...] for every head's gradient at `start` (None: `start` is a number)."""
    if gradients is None or len(gradients) == 1:
        given = None if gradients is None else gradients[0]
        found = torch.autograd.grad(start, ends, given, allow_unused=True, retain_graph=True)
        return [None if g is None else g[None] for g in found]
    try:
        return list(torch.autograd.grad(
            start, ends, gradients, allow_unused=True, retain_graph=True, is_grads_batched=True
        ))
    except RuntimeError:  # an operation that torch cannot differentiate for several gradients at once
        each = [torch.autograd.grad(start, ends, g, allow_unused=True, retain_graph=True) for g in gradients]
        return [None if of_end[0] is None else torch.stack(of_end) for of_end in zip(*each)]


def past_the_edges(model: HookedModel, x, graph: Graph) -> tuple[frozenset[str], tuple[str, ...]]:
    """(writes of attentions that depend on the stream past queries, keys and values, those and all writes whose heads
    reach something later past their write) in a run on `x`: what `Graph.of` asks for."""
    run = CutRun(model, x, graph, lambda output: output.flatten(1).sum(1), TANGENT)
    gated, bypassed, before = [], [], [node.site for node in graph.stem]
    for stage in graph.stages:
        for c in stage:
            if any(read.heads for read in c.reads) and reaches(run.raw[c.write], [run.leaf[n] for n in before]):
                gated.append(c.write)
            others = [run.raw[o.write] for o in graph.components if o is not c] + [run.metric]
            held = [run.z[site] for site in c.sites if site in run.z and run.z[site].requires_grad]
            if held and any(reaches(other, held) for other in others):
                bypassed.append(c.write)
        before += [c.write for c in stage]
    return frozenset(gated), tuple(dict.fromkeys([*gated, *bypassed]))


def reaches(end: Tensor, starts: list[Tensor]) -> bool:
    """Whether `end` has a gradient at any of `starts`; parts of a fused projection are joined by one that is zero."""
    if not end.requires_grad:
        return False
    found = torch.autograd.grad(end.sum(), starts, allow_unused=True, retain_graph=True)
    return any(g is not None and bool(g.any()) for g in found)


class _Remember:
    """A forward hook that keeps a module's first argument at the visit of a site."""

    def __init__(self, kept: dict[str, Tensor], site: Site):
        self.kept, self.site, self.visit = kept, site, 0

    def __call__(self, module, args, output) -> None:
        if self.visit == self.site.visit and args:
            self.kept[self.site.name] = args[0]
        self.visit += 1


def projection(module: nn.Module) -> Tensor | None:
    """The weight [out, in] of a module that is one linear map, None for any other."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Linear):
        return weight
    if weight is not None and weight.dim() == 2 and getattr(module, "nf", None) == weight.shape[1]:
        return weight.T  # GPT-2's Conv1D
    return None
