"""Sites and equations of a model made of parts, read off its spec; and `hook`, which puts both together."""

from torch import nn

from interp.adapters.declare import Declare
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, NormRef, SiteMap
from interp.hooks.tap import Output, Plus, Tap, Whole
from interp.parts import norms
from interp.parts.block import Sublayer
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
        _block(d, model.blocks[index])
    if model.ln_final is not None:
        m.final_norm = _norm(m, model, "ln_final")
    m.unembed = "unembed"
    m.add("output", Tap("", view=Output()))
    return m


def _causal(model: Model) -> bool:
    return all(getattr(block.attn, "causal", False) for block in model.blocks)


def _norm(m: SiteMap, model: Model, path: str) -> NormRef:
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
    norm = None if model.embed_ln is None else _norm(m, model, "embed_ln")
    m.stem = Add("", tuple(writes), "blocks.0.hook_resid_pre", norm)


def _block(d: Declare, block: nn.Module) -> None:
    """The sites of one depth. Branches that read one point become one step of the equation."""
    d.resid_pre()
    start, waiting, steps = "resid_pre", [], []
    for sub in block.sublayers:
        sum_norm = _branch(d, block, sub)
        waiting.append(f"hook_{sub.name}_out")
        if sub.writes is None:
            continue
        if sub.writes == "resid_post":
            d.site("hook_resid_post", "")
        else:
            _point(d, sub, start, len(waiting))
        steps.append(d.add(f"hook_{start}", tuple(waiting), f"hook_{sub.writes}", sum_norm))
        start, waiting = sub.writes, []
    d.done(*steps)


def _branch(d: Declare, block: nn.Module, sub: Sublayer) -> NormRef | None:
    """Sites of one branch in execution order; the norm behind its addition, if there is one."""
    def norm(name: str | None) -> NormRef | None:
        return d.norm(name, name, norms.role(block.get_submodule(name))) if name else None

    norm(sub.norm_in)
    block.get_submodule(sub.name).declare(d, sub.name)
    norm(sub.norm_out)
    d.site(f"hook_{sub.name}_out", sub.last)
    return norm(sub.norm_sum)


def _point(d: Declare, sub: Sublayer, start: str, branches: int) -> None:
    """The stream between branches: what leaves its norm, or what the branch adds plus what it was added to."""
    if branches > 1 and not sub.norm_sum:
        raise BadInput(f"the stream point {sub.writes!r} ends parallel branches; only resid_post, or a norm, may")
    path = sub.norm_sum or sub.last
    d.site(f"hook_{sub.writes}", path, view=Whole() if sub.norm_sum else Plus(d.name(f"hook_{start}")))


def hook(model: Model, *, name: str = "", recipe: dict | None = None, tokenizer=None) -> HookedModel:
    """A model made of parts as a `HookedModel`."""
    return HookedModel(model, site_map(model), name=name, recipe=recipe, tokenizer=tokenizer)
