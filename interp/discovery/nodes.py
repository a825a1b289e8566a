"""The nodes of a circuit: attention heads, mixers and MLPs at every execution depth."""

from collections.abc import Sequence

from interp.hooks import HookedModel, Source
from interp.results import Node, RequiresResidualStream


def nodes(model: HookedModel, positions: Sequence[int] | None = None, *, qkv: bool = False) -> list[Node]:
    """Heads (their z), token mixers without heads, and MLPs (their write), in execution order.

    Built from declared sites, so that shared weights give a node a visit and grouped queries a node a query head. With
    `positions`, every node is split by position; with `qkv`, queries, keys and values stand beside what a head returns
    (key/value heads each once). Raises RequiresResidualStream where a model declares neither.
    """
    found: list[Node] = []
    for prefix in model.map.blocks:
        for kind in ("attn.hook_z", "cross_attn.hook_z"):
            if f"{prefix}.{kind}" in model.map.sites:
                site = model.site(f"{prefix}.{kind}")
                found += [Node(site.name, head=h) for h in range(site.heads)]
                found += _reads(model, site.name) if qkv else []
        for kind in ("hook_mixer_out", "hook_mlp_out"):
            if f"{prefix}.{kind}" in model.map.sites:
                found.append(Node(f"{prefix}.{kind}"))
    if not found:
        raise RequiresResidualStream(f"{model.name} declares neither heads nor MLPs; give discover() your own nodes")
    if positions is None:
        return found
    return [Node(n.site, n.head, int(p)) for n in found for p in positions]


def _reads(model: HookedModel, z: str) -> list[Node]:
    names = [name for role in "qkv" if (name := z.removesuffix("z") + role) in model.map.sites]
    return [Node(name, head=h) for name in names for h in range(model.site(name).heads)]


def source(node: Node) -> Source:
    """The source of effects that a node is."""
    return Source(node.site, head=node.head, pos=node.pos)
