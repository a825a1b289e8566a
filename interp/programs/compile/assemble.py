"""Weights put together: heads and units of every depth packed side by side and turned into the stream's basis."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interp.programs.compile.basis import Basis, Compression, basis, rank
from interp.programs.compile.craft import BOS, FIRST, HERE, Craft, Head, Sharpness, Units
from interp.programs.compile.graph import Attend, Embed, Graph, Steps
from interp.programs.compile.module import CompiledModule, NormName, Sizes
from interp.programs.compile.schedule import Schedule, schedule
from interp.programs.compile.simulate import Arrays, simulate
from interp.results.errors import BadInput


@dataclass(frozen=True)
class Options:
    """How a program becomes weights; see `compile` for what each means."""

    norm: NormName = None
    rotate: int | None = None
    compress: int | None = None
    compression: Compression = "learned"
    d_head: int | None = None
    sharpness: float | None = None
    coldness: float = 100.0
    dtype: str = "float32"
    seed: int = 0

    @property
    def exact(self) -> bool:
        """Whether variables lie on axes of their own, untouched by anything else."""
        return self.norm is None and self.rotate is None and self.compress is None


@dataclass(frozen=True)
class Assembled:
    """The module, where everything is in it, and the basis of its stream."""

    module: CompiledModule
    craft: Craft
    schedule: Schedule
    basis: Basis


@dataclass(frozen=True)
class Crafted:
    """The weights of every operation in the program's coordinates, and where each goes."""

    graph: Graph
    craft: Craft
    schedule: Schedule
    heads: dict[int, Head]
    units: dict[int, Units]


def crafted(graph: Graph, options: Options) -> Crafted:
    """The weights and places of a graph. Raises: BadInput for a program that computes nothing."""
    restore = options.norm is not None or options.compress is not None
    craft = Craft(graph, Sharpness(options.coldness, options.sharpness, restore))
    heads = {i: craft.head(i) for i, op in enumerate(graph.ops) if isinstance(op, Attend)}
    units = {i: craft.units(i) for i, op in enumerate(graph.ops) if not isinstance(op, Attend | Embed)}
    if not heads and not units:
        raise BadInput("the program only reads its input: there is nothing to compile")
    return Crafted(graph, craft, schedule(graph, {i: len(made.up) for i, made in units.items()}), heads, units)


def assemble(graph: Graph, options: Options, samples: list[np.ndarray]) -> Assembled:
    """The module of a graph. `samples` are token indices [batch, pos] on which norms and compression are fitted."""
    made = crafted(graph, options)
    streams = _streams(made, samples) if options.norm or options.compress else {}
    whole = torch.cat(list(streams.values())) if streams else torch.zeros(1, made.craft.size, dtype=torch.float64)
    where = basis(
        whole, _weights(graph, made.craft), norm=options.norm, rotate=options.rotate, compress=options.compress,
        compression=options.compression, seed=options.seed, dtype=getattr(torch, options.dtype),
    )
    parts = empty(made, options, where)
    with torch.no_grad():
        _fill(parts.module, made, where)
        if options.norm is not None:
            _gains(parts.module, where, streams)
    return parts


def spanned(graph: Graph, options: Options, samples: list[np.ndarray]) -> int:
    """Dimensions that the stream spans on these samples, wherever it is read."""
    made = crafted(graph, options)
    return rank(torch.cat(list(_streams(made, samples).values())), _weights(graph, made.craft))


def empty(made: Crafted, options: Options, where: Basis) -> Assembled:
    """The module with all weights zero."""
    module = CompiledModule(_sizes(made, where, options)).to(getattr(torch, options.dtype))
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    return Assembled(module.eval(), made.craft, made.schedule, where)


def _sizes(made: Crafted, where: Basis, options: Options) -> Sizes:
    graph, plan = made.graph, made.schedule
    needed = max((max(len(h.q), len(h.v)) for h in made.heads.values()), default=1)
    if options.d_head is not None and options.d_head < needed:
        raise BadInput(f"d_head is {options.d_head}; the heads of this program need {needed}")
    return Sizes(
        d_model=where.d_model, d_head=options.d_head or needed, d_vocab=len(graph.vocab) + 2,
        d_out=len(made.craft.unembedding()), n_ctx=graph.length + 1, heads=plan.heads, units=plan.units,
        positions=Embed("indices") in graph.ops, causal=graph.causal, norm=options.norm, pad=len(graph.vocab) + 1,
    )


def _fill(module: CompiledModule, made: Crafted, where: Basis) -> None:
    tokens, positions = made.craft.embeddings()
    module.embed.weight.copy_(tokens @ where.encode.T + where.hold)
    if positions is not None:
        module.pos_embed.weight.copy_(positions @ where.encode.T)
    d_head = module.sizes.d_head
    for i, head in made.heads.items():
        place = made.schedule.places[i]
        attn, start = module.blocks[place.depth].attn, place.head * d_head
        # the module divides scores by sqrt(d_head), so that padding the head would otherwise warm it up
        for linear, rows in ((attn.q, head.q * d_head**0.5), (attn.k, head.k), (attn.v, head.v)):
            linear.weight[start : start + len(rows)] = (rows @ where.decode).to(linear.weight)
        attn.o.weight[:, start : start + head.o.shape[1]] = (where.encode @ head.o).to(attn.o.weight)
    for i, units in made.units.items():
        place = made.schedule.places[i]
        mlp, at = module.blocks[place.depth].mlp, slice(*place.units)
        mlp.up.weight[at] = (units.up @ where.decode).to(mlp.up.weight)
        mlp.down.weight[:, at] = (where.encode @ units.down).to(mlp.down.weight)
    module.unembed.weight.copy_(made.craft.unembedding() @ where.decode)


def _gains(module: CompiledModule, where: Basis, streams: dict[int, Tensor]) -> None:
    """Every norm multiplies by what it divides by on average, so that what is read has the size it was written in."""
    last = max(streams)
    for depth, block in enumerate(module.blocks):
        for name, slot in (("ln1", 2 * depth), ("ln2", 2 * depth + 1)):
            if (norm := getattr(block, name)) is not None:
                norm.weight.fill_(_scale(where, streams[min(slot, last)], norm.eps))
    module.ln_final.weight.fill_(_scale(where, streams[last], module.ln_final.eps))


def _scale(where: Basis, stream: Tensor, eps: float) -> float:
    x = stream @ where.encode.T + where.hold
    return float((x.square().mean(-1) + eps).sqrt().mean())


def logical(graph: Graph, craft: Craft, found: Arrays) -> Tensor:
    """What the stream should be in the program's coordinates once everything is written, [batch, 1 + pos, d]."""
    batch, n = found[0].shape
    stream = torch.zeros(batch, n + 1, craft.size, dtype=torch.float64)
    stream[:, 1:, HERE], stream[:, 0, BOS] = 1.0, 1.0
    for i, values in enumerate(found):
        variable, span = graph.variables[i], craft.span(i)
        if variable.encoding == "numerical":
            stream[:, 1:, span.start] = torch.from_numpy(values.astype(float))
        else:
            rows = torch.cat([torch.eye(variable.width, dtype=torch.float64), torch.zeros(1, variable.width)])
            stream[:, 1:, span] = rows[torch.from_numpy(np.ascontiguousarray(values))]
        stream[:, 0, span] = craft.at_bos(i)
    return stream


def _streams(made: Crafted, samples: list[np.ndarray]) -> dict[int, Tensor]:
    """The stream in the program's coordinates as every slot reads it (attention of depth d: 2d, its MLP: 2d + 1; the
    last one as the output reads it): [positions of all samples, d]."""
    graph, craft, plan = made.graph, made.craft, made.schedule
    whole = torch.cat([logical(graph, craft, simulate(graph, ids)).flatten(0, 1) for ids in samples])
    streams = {}
    for slot in range(2 * len(plan.heads) + 1):
        there = torch.zeros(craft.size, dtype=torch.float64)
        there[:FIRST] = 1.0
        for i, op in enumerate(graph.ops):
            place = plan.places.get(i)
            written = -1 if isinstance(op, Embed) else 2 * place.depth + (place.head is None)
            there[craft.span(i)] = float(written < slot)
        streams[slot] = whole * there
    return streams


def _weights(graph: Graph, craft: Craft) -> Tensor:
    """How exactly every coordinate is read: 1, for a number one over the smallest gap that somebody has to see."""
    weights = torch.ones(craft.size, dtype=torch.float64)
    for i, op in enumerate(graph.ops):
        if isinstance(op, Steps):
            gaps = [float(above - below) for (below, above), _, _ in craft.thresholds(i)]
            at = craft.span(op.reads[0]).start
            weights[at] = max(float(weights[at]), 1 / min(gaps))
    return weights

