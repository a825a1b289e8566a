"""`HookedModel`: a module, its declared sites and equations, behind the calls TransformerLens users know."""

import fnmatch
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from interp.hooks import contributions as _contributions
from interp.hooks.cache import Cache
from interp.hooks.firing import Firing, Handler, Stop
from interp.hooks.index import Lengths
from interp.hooks.interventions import Intervention
from interp.hooks.site import Site
from interp.hooks.sitemap import SiteMap
from interp.hooks.tap import Hooks
from interp.results.errors import BadInput, MissingSite, nearest

Inputs = Tensor | Mapping[str, Any]
Names = str | Site | Sequence[str | Site] | Callable[[str], bool] | None


class HookedModel:
    """A module with named, patchable activations. It wraps and never changes what it wraps.

    `m(x)` gives the main output (logits, else features). `x` is a tensor (token ids, pixels, a series) or a mapping
    of the module's own arguments, whose `attention_mask` is respected. `name` is what the model is called in results,
    `recipe` what `save` needs to rebuild it, `tokenizer` whatever turns its text into ids.
    """

    def __init__(
        self, module: nn.Module, sitemap: SiteMap, *, name: str = "", recipe: dict | None = None, tokenizer=None
    ):
        self.module, self.map, self.name = module, sitemap, name or type(module).__name__
        self.recipe, self.tokenizer = recipe, tokenizer
        self.weights_before: dict[str, Tensor] | None = None  # a copy, once it was trained with codebooks
        self.lengths_now: Lengths | None = None
        self._hooked = 0  # depth of nested `firing` blocks
        self._lock = threading.RLock()
        self._arguments = frozenset(inspect.signature(module.forward).parameters)
        self._off = {"use_cache": False} if "use_cache" in self._arguments else {}

    # -- what is there -------------------------------------------------------------------------------------------

    def sites(self, names: Names = None) -> list[Site]:
        """The declared sites, or those that `names` selects: a name, a wildcard (`blocks.*.attn.hook_z`), a list
        of these, or a function of the name.

        Raises MissingSite, naming the nearest, where a name or wildcard selects nothing.
        """
        table = {name: site for name, (site, _) in self.map.sites.items()}
        if names is None:
            return list(table.values())
        if callable(names):
            return [site for name, site in table.items() if names(name)]
        chosen: dict[str, Site] = {}
        for name in [names] if isinstance(names, str | Site) else names:
            name = str(name)
            matches = [name] if name in table else fnmatch.filter(table, name) if set(name) & set("*?[") else []
            if not matches:
                raise MissingSite(f"{self.name} has no site {name!r}." + self._why_not(name, table))
            chosen |= {match: table[match] for match in matches}
        return list(chosen.values())

    def _why_not(self, name: str, table: dict[str, Site]) -> str:
        if name in self.map.absent:
            return f" {self.map.absent[name].capitalize()}."
        kinds = {site.kind for site in table.values()}
        if "hook_resid_mid" in name and "hook_resid_post" in kinds and "hook_resid_mid" not in kinds:
            return " Its block has one branch or parallel ones, so there is no stream in between: use hook_resid_pre."
        return nearest(name, table) + " List them with model.sites(), or interp show."

    def site(self, name: str | Site) -> Site:
        """The one site called `name`. Raises MissingSite, naming the nearest."""
        found = self.sites(str(name))
        if len(found) != 1:
            raise MissingSite(f"{name!r} selects {len(found)} sites of {self.name} where one is needed")
        return found[0]

    def tied(self, name: str | Site) -> list[Site]:
        """Every visit of the shared module behind a site, in order; one site where nothing is shared."""
        site, tap = self.map.sites[self.site(name).name]
        same = [s for s, t in self.map.sites.values() if t == tap and s.kind == site.kind]
        return sorted(same, key=lambda s: s.visit)

    @property
    def n_layers(self) -> int:
        """Number of execution depths (blocks of every stream)."""
        return len(self.map.blocks)

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    # -- running -------------------------------------------------------------------------------------------------

    def inputs(self, x: Inputs) -> tuple[tuple, dict]:
        """Positional and keyword arguments of the module for `x`, checked before anything runs, on its device.

        Raises BadInput for an empty prompt, ids out of range, a prompt longer than the context, NaN or Inf, or an
        explicit past (caches are off while hooks are set).
        """
        if isinstance(x, Mapping):
            if any(x.get(key) is not None for key in ("past_key_values", "cache_params")):
                raise BadInput("an explicit past was given; runs with hooks start from an empty cache: pass all tokens")
            arguments = dict(x)
            for key in ("input_ids", "decoder_input_ids"):
                if isinstance(arguments.get(key), Tensor):
                    self._check_ids(arguments[key])
            return (), {**self._off, **{key: self._here(value) for key, value in arguments.items()}}
        if not isinstance(x, Tensor):
            raise BadInput(f"x is a {type(x).__name__}; give a tensor or a mapping of the model's own arguments")
        if self.map.input_name == "input_ids":
            self._check_ids(x)
        elif x.is_floating_point() and not torch.isfinite(x).all():
            raise BadInput("the input holds NaN or Inf")
        x = self._here(x)
        return (((), {self.map.input_name: x, **self._off}) if self.map.input_name else ((x,), {}))

    def _here(self, value: Any) -> Any:
        return value.to(self.device) if isinstance(value, Tensor) else value

    def _check_ids(self, ids: Tensor) -> None:
        if ids.dim() != 2:
            raise BadInput(f"token ids have shape {list(ids.shape)}; [batch, pos] is needed")
        if ids.numel() == 0:
            raise BadInput(f"an empty prompt was given (token ids of shape {list(ids.shape)})")
        if ids.is_floating_point():
            raise BadInput(f"token ids are {ids.dtype}; integers are needed")
        if self.map.n_ctx is not None and ids.shape[1] > self.map.n_ctx:
            raise BadInput(f"the prompt has {ids.shape[1]} tokens, the context of {self.name} holds {self.map.n_ctx}")
        if self.map.d_vocab is not None:
            low, high = (int(v) for v in ids.aminmax())
            if low < 0 or high >= self.map.d_vocab:
                raise BadInput(f"token ids run from {low} to {high}; {self.name} knows 0 to {self.map.d_vocab - 1}")

    def batch_of(self, x: Inputs) -> tuple[int, int]:
        """Batch size and number of positions of the main input."""
        main = x if isinstance(x, Tensor) else next(
            (x[k] for k in ("decoder_input_ids", self.map.input_name) if k in x), next(iter(x.values()))
        )
        return main.shape[0], main.shape[1] if main.dim() > 1 else 1

    def lengths(self, x: Inputs) -> Lengths:
        """Where the real tokens of every row are, from its attention mask."""
        batch, n_pos = self.batch_of(x)
        mask = x.get("attention_mask") if isinstance(x, Mapping) else None
        if isinstance(x, Tensor) or "decoder_input_ids" not in x:
            return Lengths.of(batch, n_pos, mask)
        own = Lengths.of(batch, n_pos, x.get("decoder_attention_mask"))
        # a mask in one stream only: the other's sites are as long as themselves
        return replace(own, encoder=Lengths.of(batch, n_pos, mask))

    def __call__(self, x: Inputs) -> Tensor:
        args, kwargs = self.inputs(x)
        if self._hooked:  # interventions find the lengths of `x` here
            self.lengths_now = self.lengths(x)
        return self.main_output(self.module(*args, **kwargs))

    def step(self, ids: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """Main output at `ids` [batch, pos], which follow the tokens that `past` holds (None: none), and the new past.

        Only these tokens are computed, so sites have no other positions: interventions that name positions, or values
        for positions of the whole text, do not fit. Raises BadInput for a model that keeps no keys and values.
        """
        if not self.keeps_past:
            raise BadInput(f"{self.name} keeps no keys and values of earlier tokens: run it on all tokens")
        self._check_ids(ids)
        if self._hooked:
            self.lengths_now = self.lengths(ids)
        raw = self.module(input_ids=self._here(ids), past_key_values=past, use_cache=True)
        return self.main_output(raw), raw.past_key_values

    @property
    def keeps_past(self) -> bool:
        """Whether `step` goes on from keys and values: causal models of `transformers` with a cache of them."""
        return self.map.causal and {"input_ids", "past_key_values", "use_cache"} <= self._arguments

    def main_output(self, raw: Any) -> Tensor:
        """Logits where the module returns them, else features."""
        return self.map.sites["output"][1].view.read(raw, None)

    @contextmanager
    def firing(self, handlers: Iterable[tuple[str, Handler]], *, stop=False, open_roles=False) -> Iterator[Firing]:
        """Hooks set for every forward inside the block; a site that does not fire is an error.

        With `open_roles`, or in float64 (where some libraries compute norms and softmax in float32), every module
        with a role runs our form of it.
        """
        roles = self.map.roles if open_roles or self.dtype == torch.float64 else ()
        with self._lock, Firing(self.module, self.map, handlers, stop).active(roles) as firing:
            self._hooked += 1
            try:
                yield firing
            finally:
                self._hooked -= 1

    def run_with_hooks(self, x: Inputs, hooks: Hooks = (), *, fwd_hooks: Hooks = ()) -> Tensor:
        """Main output with `hooks`, pairs of a site selection and `fn(value, site) -> value or None`.

        `fwd_hooks` is TransformerLens' name for the same. Raises MissingSite where a hook did not fire, BadInput where
        one returns something else than a value of its site.
        """
        handlers = [(s.name, _checked(fn)) for names, fn in (*hooks, *fwd_hooks) for s in self.sites(names)]
        with self.firing(handlers):
            return self(x)

    def run_with_cache(
        self, x: Inputs, names: Names = None, *, names_filter: Names = None, grad: bool = False
    ) -> tuple[Tensor, Cache]:
        """Main output and a `Cache` of the sites that `names` selects (None: all but the ones marked on request).

        Detached, unless `grad`: then every cached tensor lies on the path to the output, so that
        `torch.autograd.grad(metric, cache[site])` is the gradient there. `names_filter` is TransformerLens' name.
        """
        values: dict[str, Tensor] = {}
        with self.firing(self._reader(names if names is not None else names_filter, values, grad)) as firing:
            with torch.set_grad_enabled(grad):
                out = self(x)
        return out, self._cache(values, firing, x)

    def read(self, x: Inputs, names: Names) -> Cache:
        """Like `run_with_cache`, without gradients, ending the forward as soon as the last site has fired."""
        values: dict[str, Tensor] = {}
        with self.firing(self._reader(names, values, False), stop=True) as firing, torch.no_grad():
            try:
                self(x)
            except Stop:
                pass
        return self._cache(values, firing, x)

    def _reader(self, names: Names, values: dict[str, Tensor], grad: bool) -> list[tuple[str, Handler]]:
        sites = [s for s in self.sites(names) if names is not None or not s.on_request]

        def keep(value: Tensor, site: Site) -> Tensor | None:
            if not grad:
                values[site.name] = value.detach() if value.requires_grad else value
                return None
            # a new tensor on the path, so that the view that was read is also what the rest of the model uses
            value = value.view_as(value) if value.requires_grad else value.detach().requires_grad_(
                value.is_floating_point()
            )
            values[site.name] = value
            return value

        return [(site.name, keep) for site in sites]

    def _cache(self, values: dict[str, Tensor], firing: Firing, x: Inputs) -> Cache:
        sites = {name: self.map.sites[name][0] for name in values}
        return Cache(values, sites, dict(firing.counts), self.lengths(x))

    @contextmanager
    def edit(self, *interventions: Intervention) -> Iterator["HookedModel"]:
        """Interventions on for the length of a `with`; they nest, and an exception restores everything.

        >>> with m.edit(Ablate("blocks.0.attn.hook_z", head=3)): m(x)
        """
        handlers = [pair for intervention in interventions for pair in intervention.handlers(self)]
        with self.firing(handlers):
            yield self

    # -- equations -----------------------------------------------------------------------------------------------

    def contributions(self, cache: Cache, depth: int | None = None, stream: str | None = None) -> dict[str, Tensor]:
        """What the block at `depth` adds to the stream, by name; without `depth`, every writer of the model
        carried to the final stream, constants as a term of their own. See `interp.hooks.contributions`."""
        return _contributions.contributions(self, cache, depth, stream)

    def mixing_matrix(self, cache: Cache, depth: int, stream: str | None = None) -> Tensor:
        """[batch, head or channel, query, key]: how the token mixer at `depth` mixed positions in this run."""
        return _contributions.mixing_matrix(self, cache, depth, stream)

    # -- the module's own affairs --------------------------------------------------------------------------------

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.module.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        return self.module.state_dict()

    def to(self, *args, **kwargs) -> "HookedModel":
        self.module.to(*args, **kwargs)
        return self

    def eval(self) -> "HookedModel":
        self.module.eval()
        return self

    def train(self, mode: bool = True) -> "HookedModel":
        self.module.train(mode)
        return self

    def save(self, path) -> None:
        """Write `model.safetensors` and `interp.json` to a directory; `interp.load(path)` brings it back.

        Raises BadInput for a foreign module, whose class interp could not rebuild without executing its code.
        """
        from interp.hooks.files import save_model

        save_model(self, path)

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.parameters())
        return f"HookedModel({self.name}: {self.n_layers} depths, {len(self.map.sites)} sites, {count:,} parameters)"


def _checked(function: Handler) -> Handler:
    def handler(value: Tensor, site: Site) -> Tensor | None:
        new = function(value, site)
        if new is None or isinstance(new, Tensor) and new.shape == value.shape and new.dtype == value.dtype:
            return new
        what = f"{new.dtype} of shape {list(new.shape)}" if isinstance(new, Tensor) else f"a {type(new).__name__}"
        raise BadInput(f"the hook at {site.name!r} returned {what}; a {value.dtype} of shape {list(value.shape)} "
                       f"({' '.join(site.axes)}), or None to leave it, is needed")

    return handler
