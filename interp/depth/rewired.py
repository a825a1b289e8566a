"""A model with some of its blocks or branches replaced: the one tool behind drop, flatten, fuse and surrogates.

The copy shares every tensor with the model, so that it costs its modules and no memory; what is replaced is replaced in
the copy alone. Depths keep their numbers: a block that was taken out is still there and hands on what it gets.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, Block, SiteMap
from interp.hooks.tap import OUT, Image, Whole
from interp.results.errors import BadInput


class Through(nn.Module):
    """A block that hands on its first argument, whatever else it is called with."""

    def forward(self, x, *args, **kwargs):
        return x


class Silent(nn.Module):
    """A branch that writes zeros. Its first call runs the branch once to see what it returns, and forgets it."""

    def __init__(self, branch: nn.Module):
        super().__init__()
        self._branch = [branch]  # in a list: no submodule, so its parameters are gone at once
        self._like: tuple | None = None

    def forward(self, *args, **kwargs):
        if self._branch:
            with torch.no_grad():
                out = self._branch.pop()(*args, **kwargs)
            kind = None if isinstance(out, Tensor) else type(out)
            main = out if kind is None else out[0]
            self._like = (kind, main.shape[-1] if main.dim() < 4 else None, 0 if kind is None else len(out))
        kind, width, length = self._like
        first = next(v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.is_floating_point())
        zeros = torch.zeros_like(first) if width in (None, first.shape[-1]) else first.new_zeros(
            *first.shape[:-1], width)
        return zeros if kind is None else kind((zeros, *[None] * (length - 1)))


def shared_copy(model: HookedModel) -> HookedModel:
    """A copy with modules and a map of its own, and the same tensors. It has no recipe: it can be run, not saved."""
    tensors = [*model.module.parameters(), *model.module.buffers()]
    module = deepcopy(model.module, {id(t): t for t in tensors})
    m = model.map
    own = replace(m, sites=dict(m.sites), blocks=dict(m.blocks), roles=dict(m.roles),
                  unused_parameters=dict(m.unused_parameters), inert_sites=dict(m.inert_sites),
                  random_sites=dict(m.random_sites), absent=dict(m.absent))
    return HookedModel(module, own, name=model.name, tokenizer=model.tokenizer)


def put(model: HookedModel, path: str, module: nn.Module) -> None:
    """Put `module` at `path` of a copy."""
    parent, _, name = path.rpartition(".")
    model.module.get_submodule(parent)._modules[name] = module


def parameter_count(model: HookedModel) -> int:
    """Number of parameters, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def without(model: HookedModel, names: Iterable[str]) -> HookedModel:
    """`model` without blocks (`blocks.3`) or branches, by the site of what they write (`blocks.3.hook_attn_out`).

    A block then hands on its stream, a branch adds zeros. Without any names, a copy that computes the same.
    Raises BadInput for a name that is neither, for a block that is visited more than once (weights shared by depths),
    and for a branch that is no module of its own.
    """
    names = list(dict.fromkeys(names))
    copy = shared_copy(model)
    for name in names:
        if name in model.map.blocks:
            _take_block(copy, model.map.blocks[name])
        elif name in model.map.writes:
            _take_branch(copy, name)
        else:
            raise BadInput(f"{model.name} has no block or branch {name!r}; blocks are {list(model.map.blocks)[0]!r} "
                           f"to {list(model.map.blocks)[-1]!r}, branches such as {model.map.writes[:2]}")
    return copy


def _take_block(model: HookedModel, block: Block) -> None:
    _refuse_shared(model.map, block.path, block.prefix, model.name)
    put(model, block.path, Through())
    forget(model.map, block.path, f"{block.prefix} was taken out", keep=(block.resid_pre, block.resid_post))
    model.map.blocks[block.prefix] = replace(
        block, steps=(Add(block.resid_pre, (), block.resid_post),), mixing=None, mixes=None)


def _take_branch(model: HookedModel, name: str) -> None:
    if name not in model.map.sites:  # its block went before it
        return
    site, tap = model.map.sites[name]
    _refuse_shared(model.map, tap.path, name, model.name)
    if tap.point != OUT or not isinstance(tap.view, Whole | Image):
        raise BadInput(f"{name} of {model.name} is not what a module of its own returns, so there is none to replace; "
                       "use interp.surgery.drop.dropped, which holds the write at zero for the length of a with")
    shown = {n for n, (_, t) in model.map.sites.items() if t.path == tap.path and t.point == OUT}
    kind = "mlp" if "mlp_out" in name else "attn"
    _take_norm(model, site.prefix, kind, name)
    paths = [tap.path, *_machinery(model.map, site.prefix, kind)]
    for path in sorted(paths, key=len):
        if not any(path.startswith(f"{above}.") for above in paths):
            put(model, path, Silent(model.module.get_submodule(path)))
            forget(model.map, path, f"{name} was taken out", keep=shown)
    block = model.map.blocks[site.prefix[:-1]]
    model.map.blocks[block.prefix] = replace(block, steps=tuple(
        step if step.norm else replace(step, writes=tuple(write for write in step.writes if write != name))
        for step in block.steps))  # what is normed behind the sum stays a term, of zeros


def _take_norm(model: HookedModel, prefix: str, kind: str, name: str) -> None:
    """The norm in front of the branch, where nothing else reads it."""
    table, block = model.map.sites, model.map.blocks[prefix[:-1]]
    paths = {norm: table[site][1].path for norm in ("ln1", "ln2") if (site := f"{prefix}{norm}.hook_scale") in table}
    path = paths.get({"attn": "ln1", "mlp": "ln2"}[kind])
    alone = len(set(paths.values())) == 2 or sum(len(step.writes) for step in block.steps) == 1
    if path is not None and alone and all(step.norm is None or step.norm.path != path for step in block.steps):
        put(model, path, Through())
        forget(model.map, path, f"{name}, which alone read it, was taken out")


def _machinery(m: SiteMap, prefix: str, kind: str) -> list[str]:
    """Where the inner modules of a branch are: those that hold no norm of the stream, which must go on."""
    inner = {"attn": ("pattern", "q", "k", "v", "z"), "mlp": ("pre", "pre_linear", "post")}[kind]
    names = [f"{prefix}{kind}.hook_{name}" for name in inner]
    norms = [step.norm.path for step in m.blocks[prefix[:-1]].steps if step.norm is not None]
    paths = dict.fromkeys(m.sites[name][1].path for name in names if name in m.sites)
    return [p for p in paths if not any(norm.startswith(f"{p}.") for norm in norms)]


def _refuse_shared(m: SiteMap, path: str, what: str, name: str) -> None:
    visits = len({site.visit for site, tap in m.sites.values() if tap.path == path and tap.point == OUT})
    if visits > 1:
        raise BadInput(f"the module behind {what} of {name} is visited {visits} times by one forward and cannot be "
                       "taken out of one of them; use interp.surgery.drop.dropped, which edits single visits")


def forget(m: SiteMap, path: str, why: str, keep: Iterable[str] = ()) -> None:
    """Take the sites and roles at and below a module path off a map, except `keep`; `absent` says why."""
    below = f"{path}."
    for name in [n for n, (_, tap) in m.sites.items() if tap.path == path or tap.path.startswith(below)]:
        if name not in keep:
            del m.sites[name]
            m.absent[name] = why
    for table in (m.roles, m.unused_parameters):
        for at in [p for p in table if p == path or p.startswith(below)]:
            del table[at]
    for table in (m.inert_sites, m.random_sites):
        for name in [n for n in table if n in m.absent]:
            del table[name]
