"""Weights of every operation, in the program's own coordinates: `here`, `bos`, then a block for every variable.

`here` is 1 at every position of the sequence and 0 at BOS and at padding, `bos` the reverse at BOS. All operations are
built so that their value at BOS is known beforehand, and whoever reads a variable takes it off: no garbage at position
0. Facts behind the constructions: Lindner et al. 2023 (Tracr), arXiv 2301.05062, appendix.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from interp.programs.compile.graph import Attend, Embed, Graph, Lookup, Steps, Sum, Times
from interp.programs.compile.simulate import preference

HERE, BOS, FIRST = 0, 1, 2
COLDNESS = 100.0
"""Score of a match; BOS has half of it. exp(-50) is far below rounding in any precision."""
STEP = 40.0
"""Scores between one distance and the next in select_closest."""


@dataclass(frozen=True)
class Sharpness:
    """How the soft parts are made hard. `slope` None: every threshold of a numerical map has the slope that its own
    gap needs; a number: one slope for all (what the reference does, wrongly for small gaps). `restore`: tables cut
    off noise above and below, for streams in which variables leak into each other."""

    coldness: float = COLDNESS
    slope: float | None = None
    restore: bool = False


@dataclass(frozen=True)
class Head:
    """W_Q, W_K [d_qk, d], W_V [d_v, d] and W_O [d, d_v]; scores are (W_Q x) . (W_K y), not divided by anything."""

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor


@dataclass(frozen=True)
class Units:
    """Hidden units of an MLP without biases: up [units, d], down [d, units]."""

    up: Tensor
    down: Tensor


class Craft:
    """The coordinates of a graph's variables, and the weights of its operations in them (float64)."""

    def __init__(self, graph: Graph, sharpness: Sharpness):
        self.graph, self.sharpness = graph, sharpness
        self.starts, self.size = [], FIRST
        for variable in graph.variables:
            self.starts.append(self.size)
            self.size += variable.width

    def span(self, i: int) -> slice:
        """The coordinates of variable `i`."""
        return slice(self.starts[i], self.starts[i] + self.graph.variables[i].width)

    def axis(self, *where: int) -> Tensor:
        """One row [1, d] that reads the sum of some coordinates."""
        row = torch.zeros(1, self.size, dtype=torch.float64)
        row[0, list(where)] = 1.0
        return row

    def at_bos(self, i: int) -> Tensor:
        """What variable `i` is at BOS, [width]."""
        value = torch.zeros(self.graph.variables[i].width, dtype=torch.float64)
        op = self.graph.ops[i]
        if isinstance(op, Attend) and op.kind == "width":
            value[0] = 1.0
        elif isinstance(op, Attend) and op.default is not None:
            value += self.vector(i, op.default)
        return value

    def vector(self, i: int, value: "int | Fraction | None") -> Tensor:
        """A table's value in the coordinates of variable `i`, [width]: one-hot, a number, or zero for None."""
        out = torch.zeros(self.graph.variables[i].width, dtype=torch.float64)
        if value is not None and self.graph.variables[i].encoding == "categorical":
            out[value] = 1.0
        elif value is not None:
            out[0] = float(value)
        return out

    def read(self, i: int | None) -> Tensor:
        """Rows [width, d] that read variable `i`, zero at BOS; None reads `here`."""
        if i is None:
            return self.axis(HERE)
        rows = torch.zeros(self.graph.variables[i].width, self.size, dtype=torch.float64)
        rows[:, self.span(i)] = torch.eye(len(rows), dtype=torch.float64)
        rows[:, BOS] -= self.at_bos(i)
        return rows

    def write(self, i: int, columns: Tensor) -> Tensor:
        """[width, m] put at the coordinates of variable `i`: [d, m]."""
        out = torch.zeros(self.size, columns.shape[1], dtype=torch.float64)
        out[self.span(i)] = columns
        return out

    # -- attention -----------------------------------------------------------------------------------------------

    def head(self, i: int) -> Head:
        """The weights of attention operation `i`."""
        op: Attend = self.graph.ops[i]
        q, k = self._closest_scores(op) if op.kind == "closest" else self._scores(op)
        if op.kind == "width":
            v = self.axis(BOS)
        else:
            v = self._moved(op.value, i)
            if op.default is not None:
                v[:, BOS] += self.vector(i, op.default)
        return Head(q, k, v, self.write(i, torch.eye(len(v), dtype=torch.float64)))

    def _moved(self, value: int, i: int) -> Tensor:
        """Rows that read `value` in the order of the values of variable `i`, which may have more of them."""
        source, target = self.graph.variables[value], self.graph.variables[i]
        rows = self.read(value)
        if source.encoding == "numerical":
            return rows
        moved = torch.zeros(target.width, self.size, dtype=torch.float64)
        moved[[target.values.index(v) for v in source.values]] = rows
        return moved

    def _scores(self, op: Attend) -> tuple[Tensor, Tensor]:
        """Coldness for a match; for BOS half of it, all of it where BOS is to be counted along."""
        cold = self.sharpness.coldness
        q, k = self._matched(op, cold * self.read(op.keys))
        always = cold if op.kind in ("width", "share") else cold / 2
        return torch.cat([q, always * self.axis(HERE, BOS)]), torch.cat([k, self.axis(BOS)])

    def _matched(self, op: Attend, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys whose product is the row of `keys` that matches; as few dimensions as one side has."""
        q = self.read(op.queries)
        table = torch.zeros(len(q), len(keys), dtype=torch.float64)
        for pair in op.pairs:
            table[pair] = 1.0
        return (table.T @ q, keys) if len(keys) <= len(q) else (q, table @ keys)

    def _closest_scores(self, op: Attend) -> tuple[Tensor, Tensor]:
        """A match counts more than any distance, position 0 more than any distance but less than a match; where
        position 0 matches itself that is taken off again, so that it ranks by its distance."""
        n = self.graph.length
        nearness = torch.from_numpy(preference(n)).double() + 1  # 1 to 2n
        fallback = STEP * (2 * n + 1)
        keys = 2 * fallback * self.read(op.keys)
        if op.first is not None:
            names, every = self.graph.variables[op.first].values, self.graph.variables[op.keys].values
            keys[[every.index(value) for value in names]] -= fallback * self.read(op.first)
        q, k = self._matched(op, keys)
        place = self.read(op.index)
        wanted = STEP * nearness.T @ place
        wanted[0] += fallback * self.axis(HERE)[0]
        bos = STEP * self.axis(BOS)
        return torch.cat([q, wanted, bos]), torch.cat([k, place, self.axis(BOS)])

    # -- MLPs ----------------------------------------------------------------------------------------------------

    def units(self, i: int) -> Units:
        """The hidden units of MLP operation `i`."""
        op = self.graph.ops[i]
        build = {Lookup: self._lookup, Steps: self._steps, Sum: self._sum, Times: self._times}[type(op)]
        up, columns = build(i, op)
        return Units(up, self.write(i, columns))

    def _lookup(self, i: int, op: Lookup) -> tuple[Tensor, Tensor]:
        """One unit a row of the table, on when all its values are there."""
        here, sides = self.axis(HERE)[0], [self.read(r) for r in op.reads]
        rows = [(key, self.vector(i, value)) for key, value in op.table]
        rows = [(key, out) for key, out in rows if out.any()] or rows[:1]  # a unit that writes the number 0 is none
        sums = torch.stack([sum(side[v] for side, v in zip(sides, key)) for key, _ in rows])
        out = torch.stack([out for _, out in rows], 1)
        missing = len(sides) - 0.5
        if self.sharpness.restore:  # 0 below, 1 above, for sums within a quarter of whole
            return torch.cat([2 * (sums - missing * here) + 0.5 * here, 2 * (sums - missing * here) - 0.5 * here]), \
                torch.cat([out, -out], 1)
        return 2 * (sums - missing * here), out

    def _steps(self, i: int, op: Steps) -> tuple[Tensor, Tensor]:
        """A ramp of height 1 in the middle half of every gap over which the output changes."""
        x, here = self.read(op.reads[0])[0], self.axis(HERE)[0]
        first = self.vector(i, None if self._above_zero(op) else op.outs[0])
        ups, outs = ([here], [first]) if first.any() else ([], [])
        for (below, above), old, new in self.thresholds(i):
            slope = self.sharpness.slope or 2 / float(above - below)
            centre = slope * (x - float(above + below) / 2 * here)
            change = self.vector(i, new) - self.vector(i, old)
            ups += [centre + 0.5 * here, centre - 0.5 * here]
            outs += [change, -change]
        return torch.stack(ups), torch.stack(outs, 1)

    def thresholds(self, i: int) -> list[tuple[tuple[Fraction, Fraction], "int | Fraction | None", object]]:
        """((number below, number above), output there, output here) wherever a numerical map changes."""
        op: Steps = self.graph.ops[i]
        numbers = self.graph.variables[op.reads[0]].numbers
        outs = op.outs
        if self._above_zero(op):  # 0 is then what nobody wrote (an ablated head), and no value
            numbers, outs = (Fraction(0), *numbers), (None, *outs)
        pairs = zip(zip(numbers, numbers[1:]), outs, outs[1:])
        return [(gap, old, new) for gap, old, new in pairs if old != new]

    def _above_zero(self, op: Steps) -> bool:
        return self.graph.variables[op.reads[0]].numbers[0] > 0

    def _sum(self, i: int, op: Sum) -> tuple[Tensor, Tensor]:
        total = float(op.constant) * self.axis(HERE)[0]
        for factor, read in zip(op.factors, op.reads):
            total = total + float(factor) * self.read(read)[0]
        return torch.stack([total, -total]), torch.tensor([[1.0, -1.0]], dtype=torch.float64)

    def _times(self, i: int, op: Times) -> tuple[Tensor, Tensor]:
        """Units for every factor that only the right one lets through, for either sign of the number."""
        gates, x, here = self.read(op.reads[0]), self.read(op.reads[1])[0], self.axis(HERE)[0]
        held = self.graph.variables[op.reads[1]]
        ups, outs = [], []
        for gate, factor in zip(gates, map(float, op.factors)):
            for sign in (1.0, -1.0):
                most = max(0.0, sign * factor * float(held.low), sign * factor * float(held.high))
                if most:
                    ups.append(sign * factor * x + 2 * most * (gate - here))
                    outs.append(sign)
        if not ups:  # zero whatever is read
            return here[None], torch.zeros(1, 1, dtype=torch.float64)
        return torch.stack(ups), torch.tensor([outs], dtype=torch.float64)

    # -- embeddings and output -----------------------------------------------------------------------------------

    def embeddings(self) -> tuple[Tensor, Tensor | None]:
        """Rows [vocab + BOS + PAD, d] and, where positions are read, [1 + length, d]; BOS is position 0."""
        n_vocab = len(self.graph.vocab)
        tokens = torch.zeros(n_vocab + 2, self.size, dtype=torch.float64)
        tokens[:n_vocab, HERE], tokens[n_vocab, BOS] = 1.0, 1.0
        positions = None
        for i, op in enumerate(self.graph.ops):
            if isinstance(op, Embed) and op.source == "indices":
                positions = torch.zeros(self.graph.length + 1, self.size, dtype=torch.float64)
                positions[1:, self.span(i)] = torch.eye(self.graph.length, dtype=torch.float64)
            elif isinstance(op, Embed) and op.source == "tokens":
                tokens[:n_vocab, self.span(i)] = torch.eye(n_vocab, dtype=torch.float64)
            elif isinstance(op, Embed):
                value = 0 if self.graph.variables[i].values else self.graph.variables[i].low
                tokens[:n_vocab, self.span(i)] = self.vector(i, value)
        return tokens, positions

    def unembedding(self) -> Tensor:
        """Rows [label, d]: a row a value, the number itself, or the scores of a readout."""
        out = self.graph.out
        if isinstance(out, int):
            return self.read(out)
        rows = torch.tensor(out.bias, dtype=torch.float64)[:, None] * self.axis(HERE)
        for read, table in out.tables:
            rows = rows + torch.tensor(table, dtype=torch.float64).T @ self.read(read)
        return rows
