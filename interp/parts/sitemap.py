"""Sites and equations of a model made of parts, read off its spec; and `hook`, which puts both together."""

from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, NormRef, SiteMap
from interp.hooks.tap import Output, Plus, Tap, Whole
from interp.parts import norms
from interp.parts.block import OwnBlock, Sublayer
from interp.parts.model import Model
from interp.results.errors import BadInput


def site_map(model: Model) -> SiteMap:
    """Every site of `model`, and the equation of every block, in execution order."""
    spec = model.spec
    m = SiteMap(input_name="input_ids", d_vocab=spec.d_vocab, causal=_causal(model))
    # learned positions end with their table; the others go on
    m.n_ctx = spec.n_ctx if isinstance(model.pos_embed, nn.Embedding) else None
    _stem(m, model)
    for depth, (index, visit) in enumerate(model.schedule()):
        d = Declare(m, f"blocks.{depth}", f"blocks.{index}", depth, visit)
        if isinstance(model.blocks[index], OwnBlock):
            model.blocks[index].declare(d)
        else:
            shared = Declare(m, d.prefix, "blocks.0", depth, depth) if "branches" in spec.tied else d
            declare_block(d, model.blocks[index], shared)
    if model.ln_final is not None:
        m.final_norm = declare_norm(m, model, "ln_final")
    m.unembed = "unembed"
    m.add("output", Tap("", view=Output()))
    return m


def _causal(model: Model) -> bool:
    """Whether no part looks ahead. Parts that do not say so mix no positions."""
    return all(getattr(part, "causal", True) for block in model.blocks for part in block.modules())


def declare_norm(m: SiteMap, model: nn.Module, path: str) -> NormRef:
    """The sites of a norm outside blocks, and its term for equations."""
    role = norms.role(model.get_submodule(path))
    m.roles[path] = role
    m.add(f"{path}.hook_scale", Tap(path, "scale"))
    m.add(f"{path}.hook_normalized", Tap(path, "normalized"))
    return NormRef(path, role, f"{path}.hook_scale")


def _stem(m: SiteMap, model: Model) -> None:
    writes = ["hook_embed"]
    m.add("hook_embed", Tap("embed"))
    if model.pos_embed is not None:
        writes.append("hook_pos_embed")
        m.add("hook_pos_embed", Tap("pos_embed"))
    norm = None if model.embed_ln is None else declare_norm(m, model, "embed_ln")
    m.stem = Add("", tuple(writes), "blocks.0.hook_resid_pre", norm)


def declare_block(d: Declare, block: nn.Module, shared: Declare | None = None) -> None:
    """The sites of one depth. Branches that read one point become one step of the equation.

    `shared` declares the branches: at the block itself, or at the one whose branches all depths share.
    """
    shared = shared or d
    d.resid_pre()
    start, waiting, steps = "resid_pre", [], []
    for sub in block.sublayers:
        sum_norm = _branch(d, block, sub, shared)
        waiting.append(f"hook_{sub.name}_out")
        if sub.writes is None:
            continue
        if sub.writes == "resid_post":
            d.site("hook_resid_post", "")
        else:
            _point(d, sub, start, len(waiting), shared)
        steps.append(d.add(f"hook_{start}", tuple(waiting), f"hook_{sub.writes}", sum_norm))
        start, waiting = sub.writes, []
    mixes = getattr(block._modules.get("mixer"), "mixes", None)
    d.done(*steps, mixing=mixes and _mixing, mixes=mixes)


def _mixing(block: nn.Module, cache, prefix: str) -> Tensor:
    return block.mixer.mixing(cache, prefix)


def _branch(d: Declare, block: nn.Module, sub: Sublayer, shared: Declare) -> NormRef | None:
    """Sites of one branch in execution order; the norm behind its addition, if there is one."""
    def norm(name: str | None) -> NormRef | None:
        return d.norm(name, name, norms.role(block.get_submodule(name))) if name else None

    norm(sub.norm_in)
    block.get_submodule(sub.name).declare(shared, sub.name)
    norm(sub.norm_out)
    (shared if sub.last == sub.name else d).site(f"hook_{sub.name}_out", sub.last)
    return norm(sub.norm_sum)


def _point(d: Declare, sub: Sublayer, start: str, branches: int, shared: Declare) -> None:
    """The stream between branches: what leaves its norm, or what the branch adds plus what it was added to."""
    if branches > 1 and not sub.norm_sum:
        raise BadInput(f"the stream point {sub.writes!r} ends parallel branches; only resid_post, or a norm, may")
    path = sub.norm_sum or sub.last
    where = shared if path == sub.name else d
    where.site(f"hook_{sub.writes}", path, view=Whole() if sub.norm_sum else Plus(d.name(f"hook_{start}")))


def hook(model: Model, *, name: str = "", recipe: dict | None = None, tokenizer=None) -> HookedModel:
    """A model made of parts as a `HookedModel`."""
    return HookedModel(model, site_map(model), name=name, recipe=recipe, tokenizer=tokenizer)
