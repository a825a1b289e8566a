"""`effects`: one number per source and prompt, whichever engine stands behind the rule set."""

from collections.abc import Sequence

from interp.effects.linearised import linear_effects
from interp.effects.patched import Done, patched_effects
from interp.effects.result import Effects
from interp.effects.rules import rule_set
from interp.effects.sources import Group, Groups
from interp.hooks import Baseline, Counterfactual, HookedModel
from interp.hooks.baselines import resolve
from interp.results.errors import BadInput


def effects(
    model: HookedModel,
    x,
    sources: Sequence[Group],
    metric,
    rules: str = "ablation",
    *,
    baseline: Baseline = "zero",
    clusters=None,
    rows: int | None = None,
    done: Done | None = None,
) -> Effects:
    """Effect of every source on a scalar metric: clean minus intervened, in the metric's unit.

    `sources` are `Source`s, or sequences of them that are removed together. `metric(output) -> [batch]`. `rules` is a
    name of `interp.effects.rules.RULE_SETS`; `baseline` what a removed source is put at ("zero", a mapping, `Mean`,
    `Counterfactual`, `Resample`). `rows` bounds the rows of one folded forward (default: by memory).
    Shapes: result.values [source, batch], result.clean [batch].
    Raises MissingSite or BadInput for sources the model does not have, a metric of the wrong shape, NaN or Inf, or
    inputs that are not aligned, before any long work.
    """
    chosen = rule_set(rules)
    if rows is not None and rows < 1:
        raise BadInput(f"rows is {rows}; a folded forward has at least 1 row (leave it out to choose by memory)")
    groups = Groups(model, sources)
    bases = resolve(model, list(groups.sites.values()), baseline, x)
    if chosen.engine == "patched":
        values, clean, cost = patched_effects(model, x, groups, metric, bases, rows=rows, done=done)
    elif chosen.engine == "linearised":
        corrupt = baseline.inputs if isinstance(baseline, Counterfactual) else None
        if rules == "integrated" and corrupt is None and baseline != "zero":
            raise BadInput('rule set "integrated" needs inputs to come from: baseline Counterfactual(inputs) or "zero"')
        values, clean, cost = linear_effects(model, x, groups, metric, bases, rules, corrupt=corrupt)
    else:
        from interp.effects.decomposed import decomposed_effects

        values, clean, cost = decomposed_effects(model, x, groups, metric, bases, rules, rows=rows)
    return Effects(
        values.float().cpu() if values.dtype != clean.dtype else values.cpu(), clean.cpu(), groups.groups, chosen,
        describe_baseline(baseline), getattr(metric, "unit", ""), clusters, cost,
    )


def describe_baseline(baseline: Baseline) -> str:
    """A short name of a baseline for results."""
    if isinstance(baseline, str):
        return baseline
    name = type(baseline).__name__.lower()
    given = vars(baseline) if hasattr(baseline, "__dict__") else {}
    details = {k: v for k, v in given.items() if isinstance(v, str | int)}
    return name + (f"({', '.join(f'{k}={v}' for k, v in details.items())})" if details else "")
