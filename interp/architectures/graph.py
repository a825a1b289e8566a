"""Classifiers of graphs: nodes attend to their neighbours, positions are eigenvectors of the graph's Laplacian.

    graph-transformer         x = bn(x + attn x);  x = bn(x + mlp x)
    graph-transformer-edges   the same, and scores times edges;  e = bn(e + what was scored);  e = bn(e + mlp e)

A graph is one matrix of integers [node, node]: kinds of nodes on its diagonal, kinds of edges beside it, 0 for none.
"""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.architectures.entry import Entry
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import Output, Tap
from interp.parts.describe import norm_equations
from interp.parts.graph import EdgeBlock, NodeBlock
from interp.parts.laplacian import laplacian_vectors
from interp.parts.model import built
from interp.results.errors import BadInput

_SIZES = dict(d_model=64, n_layers=2, n_heads=4, d_mlp=None, n_kinds=12, n_edge_kinds=3, n_vectors=4, n_classes=10)


class Kinds(nn.Embedding):
    """An embedding that starts with deviation 1, as torch's own."""

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Drawn from a standard normal."""
        self.weight.normal_(generator=generator)


class GraphTransformer(nn.Module):
    """Embeddings of nodes and pairs, blocks, the mean over nodes, a head."""

    def __init__(self, edges: bool, *, d_model: int, n_layers: int, n_heads: int, d_mlp: int | None, n_kinds: int,
                 n_edge_kinds: int, n_vectors: int, n_classes: int):
        super().__init__()
        if d_model % n_heads:
            raise BadInput(f"d_model {d_model} is no multiple of n_heads {n_heads}")
        self.n_kinds, self.n_edge_kinds, self.n_vectors = n_kinds, n_edge_kinds, n_vectors
        d_mlp = d_mlp or 2 * d_model
        self.embed, self.pos_embed = Kinds(n_kinds, d_model), nn.Linear(n_vectors, d_model)
        self.edge_embed = Kinds(n_edge_kinds + 1, d_model) if edges else None
        self.nodes = nn.ModuleList(NodeBlock(d_model, n_heads, d_mlp, edges) for _ in range(n_layers))
        self.edges = nn.ModuleList(EdgeBlock(d_model, d_mlp) for _ in range(n_layers - 1 if edges else 0))
        self.unembed = nn.Linear(d_model, n_classes)

    def forward(self, graph: Int[Tensor, "batch node node"]) -> Float[Tensor, "batch n_classes"]:
        """Logits of the classes. A batch is of graphs of one size. Raises BadInput for what is no such matrix."""
        self._check(graph)
        kinds = torch.diagonal(graph, dim1=1, dim2=2)
        pairs = graph - torch.diag_embed(kinds)
        vectors = laplacian_vectors(pairs > 0, self.n_vectors).to(self.pos_embed.weight)
        x = self.embed(kinds) + self.pos_embed(vectors)
        e = None if self.edge_embed is None else self.edge_embed(pairs.flatten(1))
        for depth, block in enumerate(self.nodes):
            x, product = block(x, e, pairs > 0)
            e = self.edges[depth](e, product, pairs > 0) if depth < len(self.edges) else e
        return self.unembed(x.mean(1))

    def _check(self, graph: Tensor) -> None:
        if graph.dim() != 3 or graph.shape[1] != graph.shape[2] or graph.is_floating_point():
            raise BadInput(f"a graph is a square matrix of integers, [batch, node, node], not {graph.dtype} "
                           f"{list(graph.shape)}")
        kinds = torch.diagonal(graph, dim1=1, dim2=2)
        pairs = graph - torch.diag_embed(kinds)
        if graph.min() < 0 or kinds.max() >= self.n_kinds or pairs.max() > self.n_edge_kinds:
            raise BadInput(f"kinds of nodes are 0 to {self.n_kinds - 1}, of edges 1 to {self.n_edge_kinds} (0: none); "
                           f"this graph has {int(kinds.max())} and {int(pairs.max())}, and {int(graph.min())} at least")


def site_map(model: GraphTransformer) -> SiteMap:
    """Two streams, `node.blocks.{d}` and `edge.blocks.{d}`; the last depth has nodes alone."""
    m = SiteMap(input_name="graph")
    m.add("hook_embed", Tap("embed"))
    m.add("hook_pos_embed", Tap("pos_embed"))
    m.stem = Add("", ("hook_embed", "hook_pos_embed"), "node.blocks.0.hook_resid_pre")
    if model.edge_embed is not None:
        m.add("edge.hook_embed", Tap("edge_embed"))
    for depth, block in enumerate(model.nodes):
        block.declare(Declare(m, f"node.blocks.{depth}", f"nodes.{depth}", depth))
        if depth < len(model.edges):
            model.edges[depth].declare(Declare(m, f"edge.blocks.{depth}", f"edges.{depth}", depth))
    m.add("output", Tap("", view=Output()))
    return m


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """The forward pass: (equation, sites)."""
    module = model.module
    edges = [] if module.edge_embed is None else [("e = E_e[edges]", "edge: hook_embed")]
    return [
        ("x = E[nodes] + u W_u + b_u, u: eigenvectors of the Laplacian", "hook_embed, hook_pos_embed"),
        *edges,
        (f"for d = 0 .. {len(module.nodes) - 1}:", ""),
        *((f"  {row}", sites) for row, sites in module.nodes[0].equations()),
        *((f"  {row}", sites) for block in module.edges[:1] for row, sites in block.equations()),
        ("logits = mean over nodes of x, W_U + b_U", "output"),
        *norm_equations(module),
    ]


def graphs(model: HookedModel, *, batch: int = 2, n_pos: int = 6, seed: int = 0) -> Tensor:
    """Random connected graphs: a ring of `n_pos` nodes and a third of the other pairs, edges alike in both ways."""
    module, generator = model.module, torch.Generator().manual_seed(seed)
    kinds = torch.randint(1, module.n_edge_kinds + 1, (batch, n_pos, n_pos), generator=generator)
    there = torch.rand(batch, n_pos, n_pos, generator=generator) < 1 / 3
    step = torch.arange(n_pos)
    there[:, step, (step + 1) % n_pos] = True
    pairs = (kinds * there.logical_or(there.transpose(1, 2))).triu(1)
    nodes = torch.randint(0, module.n_kinds, (batch, n_pos), generator=generator)
    return pairs + pairs.transpose(1, 2) + torch.diag_embed(nodes)


def _make(name: str, edges: bool, *, seed: int, **given: int | None) -> HookedModel:
    sizes = _SIZES | given
    module = built(lambda: GraphTransformer(edges, **sizes), seed, 2 * sizes["n_layers"])
    return HookedModel(module, site_map(module), name=name, recipe={"source": "catalog", "name": name, "sizes": sizes})


def _member(name: str, edges: bool, title: str) -> Entry:
    return Entry(name=name, title=title, family="graph", kind="graph", make=partial(_make, name, edges), sizes=_SIZES,
                 equations=equations, example=graphs, paper=133,
                 citation="Dwivedi & Bresson 2020, A generalization of transformers to graphs, arXiv 2012.09699")


MEMBERS: tuple[Entry, ...] = (
    _member("graph-transformer", False, "Attention to neighbours, Laplacian eigenvectors as positions"),
    _member("graph-transformer-edges", True, "The same with a stream of edges that multiply the scores"),
)
