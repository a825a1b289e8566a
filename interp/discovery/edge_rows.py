"""Circuits of edges in any model: a run for every set of inputs that differs, earlier nodes held at what it sees."""

import torch
from torch import Tensor

from interp.discovery.graph import OUTPUT_READ, Component, Graph, Read
from interp.effects.reading import Reader
from interp.effects.sources import check_finite, fold
from interp.hooks import HookedModel, Site
from interp.hooks.firing import Stop

MOST_ROWS = 64  # of one forward: its batch is this many times the prompts


class Rows:
    """`run` gives the metric of circuits of edges. `cost` is in forwards a circuit, at most."""

    def __init__(self, model: HookedModel, part, graph: Graph, found: None = None):
        self.model, self.part, self.graph = model, part, graph
        self.batch = model.batch_of(part.clean)[0]
        sites = list(dict.fromkeys(node.site for node in graph.nodes))
        self.clean, self.corrupt = model.read(part.clean, sites), model.read(part.corrupt, sites)
        self.numbers = {node: i for i, node in enumerate(graph.nodes)}
        self.bytes = sum(value.numel() * value.element_size() for value in self.clean.values())
        self.cost = float(1 + sum(1 + sum(len(r.targets) for r in c.reads) for c in graph.components))

    def run(self, masks: Tensor) -> Tensor:
        """Metric [circuit, batch] with the edges intact where `masks` [circuit, edge] is True."""
        circuits = len(masks)
        kept = self.graph.by_read(masks)
        stem = {node.site: self._wide(self.clean[node.site]) for node in self.graph.stem}
        now = {name: value.expand(circuits, *value.shape) for name, value in stem.items()}
        before = len(self.graph.stem)
        for stage in self.graph.stages:
            found = [self._component(c, kept, now, before) for c in stage]
            for values in found:
                now |= values
            before += sum(len(c.nodes) for c in stage)
        reader = Reader(self.model, self.part.metric, self.batch)
        rows = torch.arange(circuits)
        handlers = self._mixed(kept[OUTPUT_READ][:, 0], rows, now, before)
        with torch.no_grad(), self.model.firing(handlers), reader.gathering(circuits):
            return check_finite(reader(self.model(fold(self.part.clean, circuits)), circuits), "a circuit's metric")

    def _component(self, c: Component, kept, now, before: int) -> dict[str, Tensor]:
        """The values of a component's nodes in every circuit: {site: [circuit, batch, ...]}."""
        circuits = len(kept[OUTPUT_READ])
        heads = [read for read in c.reads if read.heads]
        if not heads or [read.site for read in heads] == list(c.sites):
            seen = self._seen(c.reads[0], kept[c.reads[0]], now, before)
            return {c.sites[0]: self._assembled(c.reads[0], *seen)}
        inputs = {read.site: self._assembled(read, *self._seen(read, kept[read], now, before)) for read in heads}
        given = [(name, lambda old, site: inputs[site.name].flatten(0, 1).to(old)) for name in inputs]
        rows = torch.arange(circuits)
        everything = torch.ones(circuits, before, dtype=torch.bool)
        found = self._forward(c.sites, everything, rows, now, before, given)
        return {site: value.reshape(circuits, -1, *value.shape[1:]) for site, value in found.items()}

    def _seen(self, read: Read, kept: Tensor, now, before: int) -> tuple[Tensor, Tensor]:
        """(values of the read for every set of inputs that differs [set, ...], which is whose [circuit, target])."""
        circuits, targets, _ = kept.shape
        owner = torch.arange(circuits)[:, None, None].expand(circuits, targets, 1)
        sets, which = torch.unique(torch.cat([owner, kept.long()], -1).flatten(0, 1), dim=0, return_inverse=True)
        parts = []
        for chunk in sets.split(MOST_ROWS):
            value = self._forward([read.site], chunk[:, 1:].bool(), chunk[:, 0], now, before)[read.site]
            parts.append(value.reshape(len(chunk), -1, *value.shape[1:]))
        return torch.cat(parts), which.reshape(circuits, targets)

    def _assembled(self, read: Read, seen: Tensor, which: Tensor) -> Tensor:
        """[circuit, batch, ...]: every head as it is with its own inputs."""
        if not read.heads:
            return seen[which[:, 0]]
        axis = self.model.site(read.site).head_axis + 1
        heads = [seen[which[:, head]].select(axis, head) for head in range(which.shape[1])]
        return torch.stack(heads, axis)

    def _forward(self, sites, kept: Tensor, owner: Tensor, now, before: int, given=()) -> dict[str, Tensor]:
        """`sites` in a run of one row a set: earlier nodes as in its circuit where kept, else counterfactual."""
        found: dict[str, Tensor] = {}
        keep = [(name, lambda value, site: found.update({site.name: value.detach().clone()})) for name in sites]
        handlers = [*self._mixed(kept, owner, now, before), *given, *keep]
        with torch.no_grad(), self.model.firing(handlers, stop=True):
            try:
                self.model(fold(self.part.clean, len(owner)))
            except Stop:
                pass
        return found

    def _mixed(self, kept: Tensor, owner: Tensor, now, before: int) -> list:
        """Handlers that put every earlier node at its value in the row's circuit, or at its counterfactual."""
        of_site: dict[str, list] = {}
        for node in self.graph.nodes[:before]:
            of_site.setdefault(node.site, []).append(node)

        def handler(old: Tensor, site: Site) -> Tensor:
            corrupt, value = self._wide(self.corrupt[site.name]), now[site.name][owner]
            nodes = of_site[site.name]
            columns = kept[:, [self.numbers[node] for node in nodes]]
            if nodes[0].head is None:
                mask = columns.reshape(-1, *[1] * corrupt.dim())
            else:
                shape = [1] * corrupt.dim()
                shape[site.head_axis] = len(nodes)
                mask = columns.reshape(-1, *shape)
            return torch.where(mask, value, corrupt[None]).flatten(0, 1).to(old)

        return [(name, handler) for name in of_site]

    def _wide(self, value: Tensor) -> Tensor:
        """A value with a batch axis of its own."""
        return value.expand(self.batch, *value.shape[1:]) if value.shape[0] == 1 else value

