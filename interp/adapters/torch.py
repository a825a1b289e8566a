"""Any `nn.Module` as a `HookedModel`, with a site map that its user writes down.

    interp.hook(
        module,
        sites={
            "hook_embed": "embed",
            "blocks.{d}.hook_resid_pre": "layers.{d}:in",
            "blocks.{d}.attn.hook_z": At("layers.{d}.attn.proj", "in", heads=4),
            "blocks.{d}.hook_mlp_out": "layers.{d}.mlp",
            "blocks.{d}.hook_resid_post": "layers.{d}",
        },
        equations={"blocks.{d}": "resid_post = resid_pre + attn_out + mlp_out"},
    )

A place is a module path with `:in` or `:out` behind it (out where nothing is said), or an `At` where more
is to say. `{d}` stands for every number that the module has there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from torch import nn

from interp.adapters.equations import parse
from interp.hooks.model import HookedModel
from interp.hooks.roles import Norm
from interp.hooks.site import split_name
from interp.hooks.sitemap import NormRef, SiteMap
from interp.hooks.tap import IN, OUT, Columns, Heads, Image, Output, Plus, Tap, View, Whole
from interp.results.errors import BadInput, nearest


@dataclass(frozen=True)
class At:
    """Where a site is read and written, and through which view.

    `point` is "in", "out" or a point that the module marks with `interp.hooks.tap.mark`; `arg` the argument
    that "in" means (a position or a keyword), `key` the entry of an output that is a tuple or mapping.
    `heads` splits the last axis into heads; `part` of `parts` picks one of a fused projection, fused as
    (part, head, d) or, with `interleaved`, as (head, part, d); `groups` is the number of query heads that
    share a key/value head. `columns` picks a slice of the last axis, `image` reads channels-first maps as
    tokens. `plus` adds another site: a branch's output read as the stream behind it. `visits` > 1 says that
    the module is applied that often and `{d}` of the name counts its visits. `axes` is needed for a name
    outside the vocabulary ("batch pos d_state"). `pattern` is "softmax" where rows sum to one.
    """

    path: str
    point: str = OUT
    heads: int | None = None
    groups: int = 1
    part: int = 0
    parts: int = 1
    interleaved: bool = False
    columns: tuple[int, int] | None = None
    image: bool = False
    plus: str | None = None
    key: str | int | None = None
    arg: int | str = 0
    visit: int = 0
    visits: int = 1
    axes: str | None = None
    pattern: str | None = None
    on_request: bool = False

    @classmethod
    def of(cls, place: "str | At") -> "At":
        """`layers.0:in` as an `At`. Raises BadInput for anything that is neither text nor an `At`."""
        if isinstance(place, At):
            return place
        if not isinstance(place, str):
            raise BadInput(f"a site's place is a {type(place).__name__}; give 'path', 'path:in' or an At(...)")
        path, _, point = place.partition(":")
        return cls(path, point or OUT)

    def view(self) -> View:
        if self.columns is not None:
            inner: View = Columns(*self.columns)
        elif self.image:
            inner = Image()
        elif self.heads is not None and self.point in (IN, OUT):
            inner = Heads(self.heads, self.part, self.parts, self.interleaved)
        else:
            inner = Whole(self.key)
        return Plus(self.plus, inner) if self.plus else inner

    def tap(self) -> Tap:
        return Tap(self.path, self.point, self.view(), self.arg)

    def facts(self) -> dict[str, Any]:
        """What the site is told beyond its name and place."""
        facts: dict[str, Any] = {"heads": self.heads, "groups": self.groups, "pattern": self.pattern}
        if self.axes is not None:
            facts |= {"axes": tuple(self.axes.split()), "on_request": self.on_request}
        return facts


Place = str | At
NORMS = ("ln1", "ln2", "ln1_post", "ln2_post", "ln_cross", "ln_final", "embed_ln")


def hook(
    module: nn.Module,
    sites: Mapping[str, Place],
    *,
    equations: Mapping[str, str | Iterable[str]] | None = None,
    output: Place | None = None,
    input_name: str | None = None,
    causal: bool = False,
    d_vocab: int | None = None,
    n_ctx: int | None = None,
    unembed: str | None = None,
    unused_parameters: Mapping[str, str] | None = None,
    inert_sites: Mapping[str, str] | None = None,
    random_sites: Mapping[str, str] | None = None,
    name: str = "",
    tokenizer=None,
    recipe: dict | None = None,
) -> HookedModel:
    """Wrap a module with the sites its user names; the module stays as it is.

    A name that ends in a norm (`blocks.{d}.ln1`, `ln_final`) declares the norm's scale and normalised value.
    `equations` say how the stream of a block adds up, see `interp.adapters.equations`. `output` is the main
    tensor of the model's own output, found by itself where it is a tensor, `logits` or `last_hidden_state`.
    `input_name` is the argument that a bare tensor is passed as; with "input_ids" ids are checked against
    `d_vocab` and `n_ctx`. The rest is what `SiteMap` declares; `check_model` tests all of it.
    Raises BadInput for a path that the module does not have (naming the nearest), a name that is neither in
    the vocabulary nor given axes, or an equation that names no site.
    """
    m = SiteMap(
        input_name=input_name, causal=causal, d_vocab=d_vocab, n_ctx=n_ctx, unembed=unembed,
        unused_parameters=dict(unused_parameters or {}), inert_sites=dict(inert_sites or {}),
        random_sites=dict(random_sites or {}),
    )  # fmt: skip
    norms: dict[str, NormRef] = {}
    for site, place in _expanded(module, sites):
        if split_name(site)[2] in NORMS:
            norms[site] = _norm(m, module, site, place)
        else:
            _site(m, module, site, place)
    if "output" not in m.sites:
        m.add("output", At.of(output).tap() if output else Tap("", view=Output()))
    for prefix, text in (equations or {}).items():
        parse(m, prefix, [text] if isinstance(text, str) else list(text), norms)
    m.final_norm = norms.get("ln_final")
    return HookedModel(
        module, m, name=name or type(module).__name__, recipe=recipe or {"source": "torch"}, tokenizer=tokenizer
    )


def _site(m: SiteMap, module: nn.Module, site: str, at: At) -> None:
    _require(module, at.path, site)
    if at.plus is not None and at.plus not in m.sites:
        raise BadInput(f"{site!r} is read as {at.plus!r} plus a branch; declare {at.plus!r} before it")
    m.add(site, at.tap(), visit=at.visit, depth=split_name(site)[1], foreign=True, **at.facts())


def _norm(m: SiteMap, module: nn.Module, site: str, at: At) -> NormRef:
    part = _require(module, at.path, site)
    if not isinstance(part, nn.LayerNorm | nn.RMSNorm):
        raise BadInput(f"{site!r} is said to be the norm {at.path!r}, which is a {type(part).__name__}; "
                       "nn.LayerNorm and nn.RMSNorm can be read by name, others by sites of their own")
    role = m.roles[at.path] = Norm(center=isinstance(part, nn.LayerNorm))
    for point in ("scale", "normalized"):
        m.add(f"{site}.hook_{point}", Tap(at.path, point), visit=at.visit, depth=split_name(site)[1])
    return NormRef(at.path, role, f"{site}.hook_scale")


def _expanded(module: nn.Module, sites: Mapping[str, Place]) -> Iterable[tuple[str, At]]:
    """Every declared site with `{d}` filled in, in the order of declaration within one depth."""
    paths = dict(module.named_modules())
    for name, place in sites.items():
        at = At.of(place)
        if "{d}" not in name:
            yield name, at
            continue
        if "{d}" not in at.path:
            if at.visits == 1:
                raise BadInput(f"{name!r} stands for several sites and {at.path!r} for one module; "
                               "say At(path, visits=n) where the module is applied n times")
            depths: Iterable[int] = range(at.visits)
            places = [replace(at, visit=d) for d in depths]
        else:
            depths = range(next(d for d in count() if at.path.replace("{d}", str(d)) not in paths))
            if not depths:
                _require(module, at.path.replace("{d}", "0"), name)
            places = [replace(at, path=at.path.replace("{d}", str(d))) for d in depths]
        for d, one in zip(depths, places):
            plus = one.plus and one.plus.replace("{d}", str(d))
            yield name.replace("{d}", str(d)), replace(one, plus=plus)


def _require(module: nn.Module, path: str, site: str) -> nn.Module:
    paths = dict(module.named_modules())
    if path not in paths:
        raise BadInput(f"site {site!r} is put at {path!r}, and {type(module).__name__} has no such module."
                       f"{nearest(path, paths)} List them with dict(module.named_modules()).")
    return paths[path]
