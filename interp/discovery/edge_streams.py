"""Circuits of edges in one forward, where every component reads a stream of plain sums through one module.

The stream that a reader sees is the run's own stream less (now - counterfactual) of every writer whose edge is cut. A
head reads it through its component's norm and its own rows of the projection. Blocks before the first cut are those of
the clean run and are not computed again.
"""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from interp.discovery.edge_gradients import projection
from interp.discovery.entries import Entry, results
from interp.discovery.graph import OUTPUT_READ, Component, Graph, Read
from interp.effects.reading import Reader
from interp.effects.skip import CleanRun
from interp.effects.sources import check_finite, fold
from interp.hooks import HookedModel, Site


class Streams:
    """`run` gives the metric of circuits of edges. `cost` is in forwards a circuit, about; `bytes` what one holds."""

    cost = 2.0

    def __init__(self, model: HookedModel, part, graph: Graph, found: dict[str, Entry]):
        self.model, self.part, self.graph, self.entries = model, part, graph, found
        self.batch = model.batch_of(part.clean)[0]
        self.components = {c.write: c for c in graph.components}
        of_block = {name: c.block for c in graph.components for name in results(model, c)}
        self.blocks = dict.fromkeys((node.site for node in graph.stem), -1) | of_block
        n_blocks = len(model.map.blocks)
        self.clean = CleanRun(model, set(range(n_blocks + 1)))
        seen: dict[str, Tensor] = {}
        keep = [(name, lambda value, site: seen.update({site.name: value.detach().clone()})) for name in self.blocks]
        with torch.no_grad(), model.firing(keep), self.clean.recording():
            model(part.clean)
        there = model.read(part.corrupt, list(self.blocks))
        self.corrupt = {name: self._nodes_first(name, there[name]) for name in self.blocks}
        parts = [self._nodes_first(name, seen[name]) - self.corrupt[name] for name in self.blocks]
        self.change = torch.cat(parts).flatten(1)  # [node, batch * pos * d]: clean - counterfactual
        counts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0).tolist()
        self.place = {name: slice(a, b) for name, a, b in zip(self.blocks, counts, counts[1:])}
        self.bytes = self.change.numel() * self.change.element_size()

    def run(self, masks: Tensor) -> Tensor:
        """Metric [circuit, batch] with the edges intact where `masks` [circuit, edge] is True."""
        cut = self.graph.by_read(~masks)
        starts = self._starts(cut, len(masks))
        values = None
        for start in starts.unique().tolist():
            chosen = (starts == start).nonzero()[:, 0]
            found = _Run(self, {read: rows[chosen] for read, rows in cut.items()}, len(chosen), start).metric()
            values = found.new_zeros(len(masks), self.batch) if values is None else values
            values[chosen] = found
        return values

    def _starts(self, cut: dict[Read, Tensor], circuits: int) -> Tensor:
        """The first block of every circuit that reads a cut edge [circuit]; the number of blocks where none does."""
        starts = torch.full((circuits,), len(self.model.map.blocks))
        for component in reversed(self.graph.components):
            for read in component.reads:
                starts[cut[read].flatten(1).any(1)] = component.block
        return starts

    def _nodes_first(self, name: str, value: Tensor) -> Tensor:
        """[node, batch, pos, d] of a write (one node) or of the writes of heads."""
        value = value.expand(self.batch, *value.shape[1:]) if value.shape[0] == 1 else value
        return value.movedim(-2, 0) if self.model.site(name).head_axis is not None else value[None]


class _Run:
    """One forward of several circuits, circuit major, from the first block with a cut."""

    def __init__(self, of: Streams, cut: dict[Read, Tensor], circuits: int, start: int):
        self.of, self.model, self.cut, self.circuits, self.start = of, of.model, cut, circuits, start
        self.live = [name for name, block in of.blocks.items() if block >= start]
        self.shared = of.place[self.live[0]].start if self.live else len(of.change)
        own = len(of.change) - self.shared
        self.change = of.change.new_zeros(circuits, own, of.change.shape[1])  # now - counterfactual, from `start` on
        self.heads: dict[str, Tensor] = {}

    def metric(self) -> Tensor:
        of, model = self.of, self.model
        reader = Reader(model, of.part.metric, of.batch)
        watch = [(name, self._wrote) for name in self.live]
        running = [c for c in of.graph.components if c.block >= self.start]
        watch += [(read.site, self._read_heads) for c in running for read in c.reads if read.heads]
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            firing = stack.enter_context(model.firing(watch))
            stack.enter_context(of.clean.skipping(self.start, self.circuits, of.batch, firing))
            calls: dict[str, dict[int, Component | None]] = {}
            for write, entry in of.entries.items():
                component = of.components.get(write)
                if component is None or component.block >= self.start:
                    calls.setdefault(entry.path, {})[entry.visit] = component
            for path, visits in calls.items():
                module = model.module.get_submodule(path)
                first = min(visits)  # earlier calls belong to blocks that do not run
                hook = _Entered(self, module, {visit - first: component for visit, component in visits.items()})
                stack.callback(module.register_forward_pre_hook(hook).remove)
            stack.enter_context(reader.gathering(self.circuits))
            return check_finite(reader(model(fold(of.part.clean, self.circuits)), self.circuits), "a circuit's metric")

    def entered(self, module: nn.Module, component: Component | None, stream: Tensor) -> Tensor:
        """The stream as a component (None: the output) sees it through `module`; its heads get what they see later."""
        if component is None or not any(read.heads for read in component.reads):
            read = OUTPUT_READ if component is None else component.reads[0]
            return self._seen(read, stream)[0]
        for read in component.reads:
            if self.cut[read].any():
                norm = self.of.entries[component.write].norm
                self.heads[read.site] = self._projected(read, module, norm, self._seen(read, stream))
        return stream

    def _projected(self, read: Read, module: nn.Module, norm: bool, seen: Tensor) -> Tensor:
        """Queries, keys or values [batch, pos, head, d_head], each head's from the stream [head, ...] that it sees."""
        tap = self.model.map.sites[read.site][1]
        owner = self.model.module.get_submodule(tap.path)
        numbers = torch.arange(len(projection(owner)), device=seen.device).expand(1, 1, -1)
        rows = tap.view.read(numbers, None)[0, 0]  # [head, d_head]: the rows of the weight that make each head
        x = module.forward(seen.flatten(0, 1)) if norm else seen
        x = x.reshape(len(seen), -1, seen.shape[-1])
        heads = torch.matmul(x, projection(owner)[rows].transpose(1, 2))
        if getattr(owner, "bias", None) is not None:
            heads = heads + owner.bias[rows][:, None]
        return heads.permute(1, 0, 2).reshape(*seen.shape[1:3], len(rows), -1)

    def _seen(self, read: Read, stream: Tensor) -> Tensor:
        """[target, *stream] without what the cut edges bring."""
        cut = self.cut[read]
        if not cut.any():
            return stream.expand(cut.shape[1], *stream.shape)
        cut = cut.to(stream.dtype)
        own = self.change[:, : max(0, cut.shape[2] - self.shared)]
        change = torch.matmul(cut[..., : self.shared], self.of.change[: min(self.shared, cut.shape[2])])
        if own.shape[1]:
            change = change + torch.matmul(cut[..., self.shared :], own)
        change = change.reshape(self.circuits, cut.shape[1], -1, *stream.shape[1:]).transpose(0, 1).flatten(1, 2)
        return stream - change

    def _wrote(self, value: Tensor, site: Site) -> None:
        of = self.of
        if value.shape[0] == 1:
            value = value.expand(self.circuits * of.batch, *value.shape[1:])
        now = value.movedim(-2, 0) if site.head_axis is not None else value[None]
        now = now.reshape(len(now), self.circuits, of.batch, *now.shape[2:])
        difference = now - of.corrupt[site.name][:, None]
        place = of.place[site.name]
        self.change[:, place.start - self.shared : place.stop - self.shared] = difference.flatten(2).transpose(0, 1)

    def _read_heads(self, value: Tensor, site: Site) -> Tensor | None:
        return self.heads.pop(site.name).to(value) if site.name in self.heads else None


class _Entered:
    """A pre-hook that hands the stream to the run at the calls it is meant for."""

    def __init__(self, run: _Run, module: nn.Module, visits: dict[int, Component | None]):
        self.run, self.module, self.visits, self.visit = run, module, visits, -1

    def __call__(self, module, args):
        self.visit += 1
        if self.visit not in self.visits:
            return None
        return (self.run.entered(module, self.visits[self.visit], args[0]), *args[1:])
