"""Scores of edges by the linear rule sets: gradients along every edge times what its writer changes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from interp.discovery.edge_gradients import CutRun
from interp.discovery.entries import results
from interp.discovery.graph import Component, Graph, Read
from interp.effects.linearised import RULES, STEPS, between
from interp.hooks import HookedModel
from interp.results import BadInput

LINEAR = tuple(name for name in RULES if name != "direct")
NEAR = 1e-4  # heads whose parts sum to their component's write up to this share of it write linearly


def linear_edge_effects(model: HookedModel, x, corrupt, graph: Graph, metric, rules: str) -> tuple[Tensor, dict]:
    """(effects [edge, batch] in the order of `graph.edges`, facts): clean minus intervened, in the metric's unit.

    `corrupt` are the inputs whose activations replace a node's. `rules` is one of `LINEAR`. Facts: `forwards`, counted
    in plain forwards of the batch (a backward without weight gradients counts as one).
    Raises BadInput for a rule set that has no edges.
    """
    if rules not in LINEAR:
        raise BadInput(f"rule set {rules!r} does not score edges; there are: {', '.join(LINEAR)}")
    changes = Changes(model, x, corrupt, graph)
    found = Scores(graph, changes)
    for extra in between(model, x, corrupt) if rules == "integrated" else [()]:
        run = CutRun(model, x, graph, metric, RULES[rules], extra)
        if changes.later:
            changes.complete(run)
            found.forget()
        run.walk(found.add)
    steps = STEPS if rules == "integrated" else 1
    return found.tensor() / steps, {"forwards": 2.0 + 3.0 * steps}


def gradient_sizes(model: HookedModel, x, graph: Graph, metric) -> Tensor:
    """[edge, batch]: the norm of the metric's gradient along every edge, whatever its writer changes. A control."""
    run, found = CutRun(model, x, graph, metric, RULES["tangent"]), {}
    nodes = {c.write: len(c.nodes) for c in graph.components}

    def keep(read: Read, writes: list[str], gradient: Tensor) -> None:
        for write in writes:
            found[read, write] = gradient.flatten(2).norm(dim=-1)[:, None].expand(-1, nodes.get(write, 1), -1)

    run.walk(keep)
    rows = []
    for before, read in graph.readings:
        writes = dict.fromkeys([node.site for node in graph.stem if node in before])
        writes |= dict.fromkeys(c.write for c in graph.components if c.nodes[0] in before)
        none = torch.zeros(len(read.targets), 1, len(run.metric), dtype=run.metric.dtype)
        parts = [found.get((read, w), none.expand(-1, nodes.get(w, 1), -1)).cpu() for w in writes]
        rows.append(torch.cat(parts, 1).flatten(0, 1))
    return torch.cat(rows)


class Changes:
    """Clean minus corrupt of every node, as it arrives at the stream: {write: [node, batch, ...]}.

    A head's change is what it alone adds to its component's write; where that write is not linear in the heads (a norm
    behind them), its first-order change.
    """

    def __init__(self, model: HookedModel, x, corrupt, graph: Graph):
        self.of: dict[str, Tensor] = {}
        self.later: dict[str, tuple[Component, dict[str, Tensor]]] = {}
        heads = {c.write: results(model, c) for c in graph.components}
        wanted = [node.site for node in graph.stem] + [c.write for c in graph.components]
        wanted += [name for names in heads.values() for name in names]
        here, there = model.read(x, wanted), model.read(corrupt, wanted)
        batch = model.batch_of(x)[0]
        for node in graph.stem:
            change = (here[node.site] - there[node.site]).to(model.dtype)
            self.of[node.site] = change.expand(batch, *change.shape[1:])[None]
        for c in graph.components:
            change = here[c.write] - there[c.write]
            if c.sites == (c.write,):
                self.of[c.write] = change[None]
                continue
            parts = [(here[name] - there[name]).movedim(-2, 0) for name in heads[c.write]]
            if parts and _sums_to(parts, change):
                self.of[c.write] = torch.cat(parts)
            else:
                z = model.read(x, list(c.sites)), model.read(corrupt, list(c.sites))
                self.later[c.write] = c, {site: z[0][site] - z[1][site] for site in c.sites}

    def complete(self, run: CutRun) -> None:
        """Fill in the heads whose write is not linear in them, to first order at the run's own point."""
        for write, (component, change) in self.later.items():
            raw = run.raw[write]
            direction = torch.zeros_like(raw, requires_grad=True)
            sites = list(change)
            back = torch.autograd.grad(raw, [run.z[s] for s in sites], direction, create_graph=True, allow_unused=True)
            parts = []
            for node in component.nodes:
                pulled = back[sites.index(node.site)]
                axis = run.model.site(node.site).head_axis
                only = torch.zeros_like(pulled)
                only.select(axis, node.head).copy_(change[node.site].select(axis, node.head))
                parts.append(torch.autograd.grad(pulled, direction, only, retain_graph=True)[0])
            self.of[write] = torch.stack(parts)


def _sums_to(parts: Sequence[Tensor], change: Tensor) -> bool:
    summed = sum(part.sum(0) for part in parts)
    if summed.shape != change.shape:
        return False
    scale = float(change.abs().max())
    return float((summed - change).abs().max()) <= NEAR * max(scale, 1e-30)


class Scores:
    """Sums gradients times changes, edge by edge."""

    def __init__(self, graph: Graph, changes: Changes):
        self.graph, self.changes = graph, changes
        self.writes = [*(node.site for node in graph.stem), *(c.write for c in graph.components)]
        self.nodes = [1] * len(graph.stem) + [len(c.nodes) for c in graph.components]
        self.starts = dict(zip(self.writes, torch.tensor([0, *self.nodes]).cumsum(0).tolist()))
        self.found: dict[Read, Tensor] = {}
        self._flat: Tensor | None = None

    def forget(self) -> None:
        """The changes are new ones."""
        self._flat = None

    def add(self, read: Read, writes: list[str], gradient: Tensor) -> None:
        """`gradient` [head, batch, ...] of one read at several writes that share it."""
        of = self.changes.of
        batch = gradient.shape[1]
        if self._flat is None and len({value.shape[1:] for value in of.values()}) == 1:
            self._flat = torch.cat([of[name] for name in self.writes]).flatten(2).transpose(0, 1)  # [batch, node, ...]
        rows = [i for name in writes for i in self._rows(name)]
        if self._flat is None:
            change = torch.cat([of[name].expand(-1, batch, *of[name].shape[2:]) for name in writes])
            change = change.flatten(2).transpose(0, 1)
        elif rows == list(range(len(rows))):  # everything before it: no copy
            change = self._flat[:, : len(rows)]
        else:
            change = self._flat[:, rows]
        products = torch.matmul(change, gradient.to(change.dtype).flatten(2).permute(1, 2, 0))  # [batch, node, head]
        if read not in self.found:
            self.found[read] = torch.zeros(
                len(read.targets), sum(self.nodes), batch, dtype=products.dtype, device=products.device
            )
        self.found[read][:, rows] += products.permute(2, 1, 0)

    def _rows(self, write: str) -> range:
        start = self.starts[write]
        return range(start, start + self.nodes[self.writes.index(write)])

    def tensor(self) -> Tensor:
        """[edge, batch] in the order of the graph's edges; zero where no gradient arrives."""
        batch = next(iter(self.found.values())).shape[-1]
        rows = []
        for before, read in self.graph.readings:
            value = self.found.get(read)
            rows.append(torch.zeros(len(read.targets) * len(before), batch) if value is None
                        else value[:, : len(before)].flatten(0, 1).cpu())
        return torch.cat([row.to(rows[-1].dtype) for row in rows])

