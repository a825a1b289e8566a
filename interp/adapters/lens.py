"""TransformerLens' `TransformerBridge` as a `HookedModel`: its hook points are modules, read under their own names.

TransformerLens is met here and imported nowhere else. Which of its hook points fire, with which shape, and
which equation its blocks obey is not declared by the bridge, so one short forward asks it.
"""

import re
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interp.hooks.model import HookedModel
from interp.hooks.site import split_name
from interp.hooks.sitemap import Add, Block, SiteMap
from interp.hooks.tap import Heads, Output, Plus, Tap, Whole
from interp.hooks.vocabulary import KINDS
from interp.results.errors import BadInput

_BLOCK = re.compile(r"(?:(?:encoder|decoder)\.)?blocks\.\d+")
_SHOWN = "the bridge shows it and computes with another: attention is left to the wrapped model's own code"
_COPIED = "the bridge computes with its copies of it for q, k and v"
_SILENT = "its hook point is there and did not fire: TransformerLens computes it on request, or not in this model"
_ORDER = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")


@dataclass(frozen=True)
class Point:
    """One hook point: its module path, and the value it had in the short forward (None: it did not fire)."""

    path: str
    value: Tensor | None


@dataclass(frozen=True)
class Swapped:
    """[batch, head, pos, d_head] as [batch, pos, head, d_head], the order of every other head site."""

    needs: str | None = None

    def read(self, raw, call):
        return raw.transpose(1, 2)

    def write(self, raw, new, call):
        return new.transpose(1, 2)


def hook(bridge: nn.Module, *, example: Any = None, name: str = "", tokenizer=None) -> HookedModel:
    """Wrap a TransformerBridge: its hook points that are words of our vocabulary are sites of the same name.

    `example` is a small input for the forwards that find out what fires and what can be edited; token ids are
    made up where it is not given. Hook points that stay silent are no sites, and asking for one says so.
    Patterns and scores that the bridge only shows, because the wrapped model computes attention itself, are
    declared inert. `hook_resid_mid` is the stream itself (in the bridge it is what the second norm reads, so
    that patching it there leaves the stream). Blocks whose sum holds in that forward have an equation.
    Raises BadInput where the bridge needs an `example`.
    """
    example = _example(bridge) if example is None else example
    points = _points(bridge, example)
    m = SiteMap(d_vocab=getattr(bridge.cfg, "d_vocab", None), n_ctx=getattr(bridge.cfg, "n_ctx", None))
    prefixes = list(dict.fromkeys(match.group() for name in points if (match := _BLOCK.match(name))))
    equations = {prefix: _equation(points, prefix) for prefix in prefixes}
    for site in sorted(points, key=_execution):
        prefix = match.group() if (match := _BLOCK.match(site)) else None
        _add(m, bridge.cfg, site, points, equations.get(prefix) or ())
    m.inert_sites = {site: _SHOWN for site in m.sites if "pattern" in site or "scores" in site
                     if _only_shown(bridge, example, m.sites[site][1].path)}
    for prefix, steps in equations.items():
        if f"{prefix}.hook_resid_pre" in m.sites:
            m.blocks[prefix] = Block(prefix, prefix, 0, steps)
    if "blocks.0.hook_resid_pre" in m.sites:
        m.stem = _stem(points)
    m.add("output", Tap("", view=Output()))
    names = {path for path, _ in bridge.named_parameters()}
    m.unused_parameters = {path: _COPIED for path in names if path.replace(".qkv.", ".q.") in names - {path}}
    own = name or getattr(bridge.cfg, "architecture", None) or type(bridge).__name__
    recipe = {"source": "transformer_lens"}
    return HookedModel(bridge, m, name=own, recipe=recipe, tokenizer=tokenizer or bridge.tokenizer)


def _execution(name: str) -> tuple:
    """Blocks in order, and within one block streams after what they are sums of."""
    _, depth, kind = split_name(name)
    return (-1 if depth is None else depth, _ORDER.index(kind) if kind in _ORDER else -1)


def _example(bridge: nn.Module) -> Tensor:
    vocabulary = getattr(bridge.cfg, "d_vocab", 0)
    if getattr(bridge.cfg, "is_visual_model", False) or not vocabulary or vocabulary < 0:
        raise BadInput("this TransformerBridge takes no token ids; give a small input: hook(bridge, example=x)")
    taken = {bridge.cfg.n_heads, getattr(bridge.cfg, "n_key_value_heads", None)}
    width = next(n for n in (5, 6, 7) if n not in taken)  # so that a position axis is no head axis
    return (torch.arange(2 * width).reshape(2, width) + 1) % vocabulary


def _points(bridge: nn.Module, example: Any) -> dict[str, Point]:
    """Hook points by our names, with their values in one forward of `example`."""
    paths: dict[int, str] = {}
    for path, part in bridge.named_modules():
        paths.setdefault(id(part), path)
    named = {n: p for n, p in bridge.hook_dict.items() if split_name(n)[2] in KINDS and id(p) in paths}
    seen: dict[int, Tensor] = {}
    handles = [
        part.register_forward_hook(lambda module, args, out: seen.__setitem__(id(module), out.detach()))
        for part in {id(p): p for p in named.values()}.values()
    ]
    try:
        _run(bridge, example)
    except Exception as error:
        raise BadInput(f"the bridge refused a first forward ({error}); give a small input of its own: "
                       "hook(bridge, example=x)") from error
    finally:
        for handle in handles:
            handle.remove()
    return {n: Point(paths[id(p)], seen.get(id(p))) for n, p in named.items()}


def _run(bridge: nn.Module, example: Any) -> Any:
    with torch.no_grad():
        return bridge(**example) if isinstance(example, dict) else bridge(example)


def _only_shown(bridge: nn.Module, example: Any, path: str) -> bool:
    """Whether another value at this hook point leaves the output as it was."""
    outputs = []
    for change in (False, True):
        hook = bridge.get_submodule(path).register_forward_hook(
            lambda module, args, out, change=change: out.roll(1, -1) + 0.1 if change else None
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the bridge says the same in its own words
                outputs.append(Output().read(_run(bridge, example), None))
        finally:
            hook.remove()
    return torch.equal(*outputs)


def _add(m: SiteMap, cfg: Any, site: str, points: dict[str, Point], steps: tuple[Add, ...]) -> None:
    """Declare one site, or say why it is none. Heads that the bridge keeps in one axis are split here."""
    kind, point = KINDS[split_name(site)[2]], points[site]
    view, facts = Whole(), {}
    if "head" in kind.axes or "kv_head" in kind.axes:
        keys = "kv_head" in kind.axes
        heads = (getattr(cfg, "n_key_value_heads", None) or cfg.n_heads) if keys else cfg.n_heads
        facts = {"heads": heads, "groups": cfg.n_heads // heads}
        if point.value is not None and point.value.dim() == len(kind.axes) - 1:
            view = Heads(heads)
        elif point.value is not None and kind.axes[2] in ("head", "kv_head"):
            swapped = point.value.shape[2] != heads and point.value.shape[1] == heads
            view = Swapped() if swapped else Whole()
    if point.value is None or point.value.dim() + isinstance(view, Heads) != len(kind.axes):
        m.absent[site] = _SILENT
        return
    if kind.axes[-1] == "one" or site.endswith("hook_normalized"):
        facts["on_request"] = True  # the bridge computes a touched norm anew, and gradients end there
    if site.endswith("attn.hook_pattern"):
        facts["pattern"] = "softmax"
    tap = Tap(point.path, view=view)
    if len(steps) == 2 and site == steps[0].to:  # the stream between: its start plus what the first step writes
        tap = Tap(points[steps[0].writes[0]].path, view=Plus(steps[0].start))
    m.add(site, tap, depth=split_name(site)[1], **facts)


def _equation(points: dict[str, Point], prefix: str) -> tuple[Add, ...]:
    """The steps that hold in the example: serial, parallel, or none."""
    pre, attn, mid, mlp, post = (f"{prefix}.{kind}" for kind in _ORDER)
    value = {n: points[n].value for n in (pre, attn, mid, mlp, post) if n in points}
    if any(value.get(n) is None for n in (pre, attn, mlp, post)):
        return ()
    if not _same(value[pre] + value[attn] + value[mlp], value[post]):
        return ()
    if value.get(mid) is not None and _same(value[pre] + value[attn], value[mid]):
        return Add(pre, (attn,), mid), Add(mid, (mlp,), post)
    return (Add(pre, (attn, mlp), post),)


def _stem(points: dict[str, Point]) -> Add | None:
    writes = [n for n in ("hook_embed", "hook_pos_embed") if n in points and points[n].value is not None]
    for chosen in (writes, writes[:1]):
        start = points["blocks.0.hook_resid_pre"].value
        if chosen and start is not None and _same(sum(points[n].value for n in chosen), start):
            return Add("", tuple(chosen), "blocks.0.hook_resid_pre")
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().amax()))
