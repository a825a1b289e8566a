"""The linearised engine: one backward pass gives the effect of all sources on one scalar a prompt.

effect(source) = < gradient at the source under the rule set, clean - baseline >.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from interp.effects.linear_rules import DIRECT, FROZEN, RELP, TANGENT, LinearMode, LinearRules
from interp.effects.reading import Reader
from interp.effects.sources import Groups, check_clean, check_finite, check_fit
from interp.hooks import HookedModel, Site
from interp.hooks.firing import Handler
from interp.hooks.semantic import use_rules
from interp.results.errors import BadInput

RULES = {"tangent": TANGENT, "integrated": TANGENT, "relp": RELP, "frozen": FROZEN, "direct": DIRECT}
STEPS = 5


@contextmanager
def constant_parameters(model: HookedModel) -> Iterator[None]:
    """Parameters without gradients for the length of a `with`: only activations are variables here."""
    live = [p for p in model.parameters() if p.requires_grad]
    for p in live:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in live:
            p.requires_grad_(True)


@contextmanager
def linear_run(model: HookedModel, rules: LinearRules, handlers, open_roles: bool = False) -> Iterator[None]:
    """Forwards inside obey `rules`, with `handlers` set and gradients on. The tangent needs no roles opened, unless
    second derivatives are taken: fused attention has none. Complete rules hold the gates of the stream."""
    if rules in (FROZEN, DIRECT):
        handlers = [*handlers, *((name, lambda value, site: value.detach()) for name in model.map.gates)]
    with ExitStack() as stack:
        stack.enter_context(constant_parameters(model))
        stack.enter_context(model.firing(handlers, open_roles=open_roles or rules != TANGENT))
        stack.enter_context(torch.enable_grad())
        if rules != TANGENT:
            stack.enter_context(use_rules(rules))
            stack.enter_context(LinearMode(rules))
        yield


def leaf(kept: dict[str, Tensor], batch: int):
    """A handler that puts a tensor on the path to the output and keeps it, so that it has a gradient.

    A value computed once for all prompts (a position embedding) is given a batch axis: a gradient for each.
    """

    def handler(value: Tensor, site: Site) -> Tensor:
        if not value.is_floating_point():
            raise BadInput(f"site {site.name!r} holds {value.dtype}; a gradient needs floating point")
        value = value.expand(batch, *value.shape[1:]) if value.shape[0] == 1 else value
        value = value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
        kept[site.name] = value
        return value

    return handler


@torch.enable_grad()
def gradients(model: HookedModel, x, sites: list[str], metric, rules: LinearRules, extra=()):
    """(metric [batch], {site: value}, {site: gradient of the summed metric}); `extra` handlers run first."""
    kept: dict[str, Tensor] = {}
    batch = model.batch_of(x)[0]
    reader = Reader(model, metric, batch, whole="output" in sites)
    with linear_run(model, rules, [*extra, *((name, leaf(kept, batch)) for name in sites)]), reader.gathering():
        output = model(x)
    value = _metric(reader, output, x)
    grads = torch.autograd.grad(value.sum(), [kept[s] for s in sites], allow_unused=True)
    found = {s: torch.zeros_like(kept[s]) if g is None else g for s, g in zip(sites, grads)}
    return value.detach(), {s: kept[s].detach() for s in sites}, found


def _metric(reader: Reader, output: Tensor, x) -> Tensor:
    """The metric of the clean run, [batch]. Raises BadInput where it is not finite or has lost the gradient.

    It is called where no rules hold: a softmax or a product of its own keeps its true derivative.
    """
    with torch.enable_grad():
        value = check_clean(reader(output)[0], reader.model, x)
    if output.requires_grad and not value.requires_grad:
        raise BadInput('the metric has no gradient (an argmax, a comparison); rules="ablation" needs none')
    return value if value.requires_grad else value.detach().requires_grad_()


@torch.enable_grad()
def direct_gradients(model: HookedModel, x, sites: list[str], metric):
    """Gradients through no other component: every write is cut from what its component read.

    Two backward passes over one graph: from the metric to the writes along the stream alone, and from each write into
    its own component.
    """
    writes = model.map.writes
    raw: dict[str, Tensor] = {}
    leaves: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}

    def cut(value: Tensor, site: Site) -> Tensor:
        raw[site.name] = value
        leaves[site.name] = value.detach().requires_grad_()
        return leaves[site.name]

    inside = [s for s in sites if s not in writes and not on_stream(model, s)]
    outside = [s for s in sites if s not in writes and s not in inside]
    batch = model.batch_of(x)[0]
    reader = Reader(model, metric, batch, whole="output" in sites)
    handlers = [(s, leaf(kept, batch)) for s in [*inside, *outside]] + [(w, cut) for w in writes]
    with linear_run(model, DIRECT, handlers), reader.gathering():
        output = model(x)
    value = _metric(reader, output, x)
    ends = [*(leaves[w] for w in writes), *(kept[s] for s in outside)]
    grads = list(torch.autograd.grad(value.sum(), ends, allow_unused=True, retain_graph=bool(inside)))
    of = dict(zip([*writes, *outside], grads))
    if inside:
        live = [w for w in writes if of[w] is not None and raw[w].requires_grad]
        back = torch.autograd.grad(
            [raw[w] for w in live], [kept[s] for s in inside], [of[w] for w in live], allow_unused=True
        )
        of |= dict(zip(inside, back))
    values = {s: (leaves[s] if s in leaves else kept[s]).detach() for s in sites}
    return value.detach(), values, {s: torch.zeros_like(values[s]) if of[s] is None else of[s] for s in sites}


def on_stream(model: HookedModel, name: str) -> bool:
    """Whether a site is the stream itself (a norm of a post-norm block too) or the stem, not inside a component."""
    site = model.site(name)
    norms = {step.norm.path for b in model.map.blocks.values() for step in b.steps if step.norm is not None}
    return site.depth is None or site.kind.startswith(("hook_resid", "stage.")) or site.module in norms


def effects_of(groups: Groups, masks, values, grads, base, batch: int) -> Tensor:
    """Inner products of gradient and difference over each group's part, [source, batch].

    A site whose rows are windows of an image has several rows a prompt, image major.
    """
    products = {}
    for name in groups.sites:
        new = base[name].to(values[name])
        difference = torch.where(values[name] == new, 0, values[name] - new)  # masked scores are -inf in both
        products[name] = (grads[name] * difference).to(torch.promote_types(grads[name].dtype, torch.float32))
    rows = [
        sum(torch.where(mask, products[name], 0).reshape(batch, -1).sum(1) for name, mask in removed.items())
        for removed in masks
    ]
    return torch.stack(rows)


def linear_effects(model: HookedModel, x, groups: Groups, metric, bases, rules: str, *, corrupt=None):
    """(effects [source, batch], clean metric [batch], cost) for a linear rule set.

    `bases` is one set of baseline tensors or several, averaged (a linear rule needs only their mean). `corrupt` are the
    inputs whose embeddings "integrated" starts from (None: from zero).
    """
    sites = list(groups.sites)
    base = {s: sum(b[s] for b in bases) / len(bases) for s in sites}
    if rules == "integrated":
        value, values, grads, forwards = _integrated(model, x, sites, metric, corrupt)
    elif rules == "direct":
        (value, values, grads), forwards = direct_gradients(model, x, sites, metric), 3
    else:
        (value, values, grads), forwards = gradients(model, x, sites, metric, RULES[rules]), 3
    if any(b.dim() for b in base.values()):
        # read as the baseline was: another kernel's rounding is no difference between the two runs
        values, forwards = model.read(x, sites), forwards + 1
    check_fit(base, values)
    masks = groups.masks(values, model.lengths(x))
    batch = model.batch_of(x)[0]
    found = check_finite(effects_of(groups, masks, values, grads, base, batch), "an effect")
    return found, value, {"forwards": forwards, "rows": forwards * batch}


def between(model: HookedModel, x, corrupt) -> Iterator[list[tuple[str, Handler]]]:
    """Handlers of STEPS runs whose input embeddings lie between `corrupt` (None: zero) and clean, at the midpoints of
    equal parts. Raises BadInput for a model without declared embeddings."""
    stem = model.map.stem
    if stem is None:
        raise BadInput(f"{model.name} declares no stem, so there are no input embeddings to integrate over")
    others = (s.name for s in model.sites() if s.kind == "hook_embed" and s.name not in stem.writes)
    names = [*stem.writes, *others]  # a decoder has embeddings of its own
    here = model.read(x, names)
    there = {n: torch.zeros_like(here[n]) for n in names} if corrupt is None else model.read(corrupt, names)
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        value = {n: there[n] + share * (here[n] - there[n]) for n in names}
        yield [(n, lambda old, site, value=value: value[site.name]) for n in names]


def _integrated(model: HookedModel, x, sites: list[str], metric, corrupt):
    """Mean gradient over runs whose embeddings lie between `corrupt` and clean (midpoints of STEPS equal parts)."""
    total: dict[str, Tensor] = {}
    for extra in between(model, x, corrupt):
        _, _, grads = gradients(model, x, sites, metric, TANGENT, extra)
        for s in sites:
            total[s] = total.get(s, 0) + grads[s] / STEPS
    reader = Reader(model, metric, model.batch_of(x)[0], whole="output" in sites)
    kept: dict[str, Tensor] = {}
    with torch.no_grad(), model.firing([(s, lambda v, site: kept.update({site.name: v.detach()})) for s in sites]):
        with reader.gathering():
            value = reader(model(x))[0]
    return value, kept, total, 3 * STEPS + 2
