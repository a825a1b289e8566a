"""Circuits of edges in one forward, where every component reads a stream of plain sums through one module.

The stream that a reader sees is the run's own stream less (now - counterfactual) of every writer whose edge is cut. A
head reads it through its component's norm and its own rows of the projection.
"""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from interp.discovery.edge_gradients import projection
from interp.discovery.entries import Entry, results
from interp.discovery.graph import OUTPUT_READ, Component, Graph, Read
from interp.effects.reading import Reader
from interp.effects.sources import check_finite, fold
from interp.hooks import HookedModel, Site


class Streams:
    """`run` gives the metric of circuits of edges. `cost` is in forwards a circuit, about."""

    cost = 2.0

    def __init__(self, model: HookedModel, part, graph: Graph, found: dict[str, Entry]):
        self.model, self.part, self.graph, self.entries = model, part, graph, found
        self.batch = model.batch_of(part.clean)[0]
        self.readers = {c.write: c for c in graph.components}
        wanted = [*(node.site for node in graph.stem), *(name for c in graph.components for name in results(model, c))]
        there = model.read(part.corrupt, wanted)
        self.corrupt = {name: self._nodes_first(name, value) for name, value in there.items()}
        self.place, start = {}, 0
        for name, value in self.corrupt.items():
            self.place[name] = slice(start, start + len(value))
            start += len(value)
        self.n_nodes = start

    def run(self, masks: Tensor) -> Tensor:
        """Metric [circuit, batch] with the edges intact where `masks` [circuit, edge] is True."""
        return _Run(self, masks).metric()

    def _nodes_first(self, name: str, value: Tensor) -> Tensor:
        """[node, batch, pos, d] of a write (one node) or of the writes of heads."""
        value = value.expand(self.batch, *value.shape[1:]) if value.shape[0] == 1 else value
        return value.movedim(-2, 0) if self.model.site(name).head_axis is not None else value[None]


class _Run:
    """One forward of several circuits, circuit major."""

    def __init__(self, of: Streams, masks: Tensor):
        self.of, self.model, self.circuits = of, of.model, len(masks)
        self.cut: dict[Read, Tensor] = {}
        start = 0
        for earlier, read in of.graph.readings():
            size = len(read.targets) * len(earlier)
            kept = masks[:, start : start + size].reshape(self.circuits, len(read.targets), len(earlier))
            self.cut[read], start = ~kept, start + size
        self.change: Tensor | None = None  # [circuit, node, batch * pos * d]: now - counterfactual
        self.heads: dict[str, Tensor] = {}

    def metric(self) -> Tensor:
        of, model = self.of, self.model
        reader = Reader(model, of.part.metric, of.batch)
        watch = [(name, self._wrote) for name in of.place]
        watch += [(read.site, self._read_heads) for c in of.graph.components for read in c.reads if read.heads]
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(model.firing(watch))
            by_path: dict[str, dict[int, Component | None]] = {}
            for write, entry in of.entries.items():
                by_path.setdefault(entry.path, {})[entry.visit] = of.readers.get(write)
            for path, visits in by_path.items():
                module = model.module.get_submodule(path)
                stack.callback(module.register_forward_pre_hook(_Entered(self, module, visits)).remove)
            stack.enter_context(reader.gathering(self.circuits))
            return check_finite(reader(model(fold(of.part.clean, self.circuits)), self.circuits), "a circuit's metric")

    def entered(self, module: nn.Module, component: Component | None, stream: Tensor) -> Tensor:
        """The stream as a component (None: the output) sees it through `module`; its heads get what they see later."""
        if component is None or not any(read.heads for read in component.reads):
            read = OUTPUT_READ if component is None else component.reads[0]
            return self._seen(read, stream)[0]
        for read in component.reads:
            if self.cut[read].any():
                seen = self._seen(read, stream)
                site, tap = self.model.map.sites[read.site]
                owner = self.model.module.get_submodule(tap.path)
                numbers = torch.arange(len(projection(owner)), device=stream.device).expand(1, 1, -1)
                rows = tap.view.read(numbers, None)[0, 0]  # [head, d_head]
                x = module.forward(seen.flatten(0, 1)).reshape(len(seen), -1, stream.shape[-1])
                heads = torch.matmul(x, projection(owner)[rows].transpose(1, 2))
                if getattr(owner, "bias", None) is not None:
                    heads = heads + owner.bias[rows][:, None]
                self.heads[read.site] = heads.permute(1, 0, 2).reshape(*stream.shape[:2], len(rows), -1)
        return stream

    def _seen(self, read: Read, stream: Tensor) -> Tensor:
        """[target, *stream] without what the cut edges bring."""
        cut = self.cut[read]
        if not cut.any():
            return stream.expand(cut.shape[1], *stream.shape)
        change = torch.matmul(cut.to(self.change), self.change[:, : cut.shape[2]])
        change = change.reshape(self.circuits, cut.shape[1], -1, *stream.shape[1:]).transpose(0, 1).flatten(1, 2)
        return stream - change

    def _wrote(self, value: Tensor, site: Site) -> None:
        of = self.of
        if value.shape[0] == 1:
            value = value.expand(self.circuits * of.batch, *value.shape[1:])
        now = value.movedim(-2, 0) if site.head_axis is not None else value[None]
        now = now.reshape(len(now), self.circuits, of.batch, *now.shape[2:])
        if self.change is None:
            self.change = torch.zeros(self.circuits, of.n_nodes, now[0, 0].numel(), dtype=now.dtype, device=now.device)
        difference = now - of.corrupt[site.name][:, None]
        self.change[:, of.place[site.name]] = difference.flatten(2).transpose(0, 1)

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

