"""`check_model`: the contract of DESIGN section 4, tested on one model and one input."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch

from interp.hooks.bench import Bench
from interp.hooks.fingerprint import fingerprint, unchanged
from interp.hooks.laws import caching, deterministic, equations, fires, mixing, patterns
from interp.hooks.laws_of_change import causal, gradients, patching
from interp.hooks.model import HookedModel, Inputs
from interp.hooks.tolerances import TOLERANCES, tolerance
from interp.results.errors import BadInput, InterpError

LAWS = (deterministic, fires, caching, equations, patterns, mixing, patching, causal, gradients)
AT_LEAST = {"changes", "gradient"}  # laws met by more than their number


class LawBroken(InterpError):
    """A model does not keep its declared contract."""


@dataclass(frozen=True)
class Row:
    """One law at one place. `error` is relative to the largest value there; `passed` compares it with `tolerance`."""

    law: str
    where: str
    error: float
    tolerance: float
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Check:
    """What `check_model` found: one row for every law and every site, block or parameter it was tested at."""

    model: str
    dtype: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.passed)

    def frame(self) -> pd.DataFrame:
        """One line a law: how many places, how many failed, the worst place and its error (the least change, for
        laws that want one)."""
        table = pd.DataFrame([vars(row) for row in self.rows])
        lines = []
        for law, part in table.groupby("law", sort=False):
            worst = part.loc[part.error.idxmin() if law in AT_LEAST else part.error.idxmax()]
            lines.append(
                {
                    "law": law,
                    "places": len(part),
                    "failed": int((~part.passed).sum()),
                    "worst": worst["where"],
                    "error": worst.error,
                    "tolerance": worst.tolerance,
                    "passed": bool(part.passed.all()),
                }
            )
        return pd.DataFrame(lines)

    def raise_if_failed(self) -> "Check":
        """The check itself. Raises LawBroken, naming the first broken laws, where there is one."""
        if self.ok:
            return self
        some = "; ".join(
            f"{row.law} at {row.where}: {row.note or ''} error {row.error:.2g}, tolerance {row.tolerance:.2g}"
            for row in self.failures[:5]
        )
        raise LawBroken(
            f"{self.model} ({self.dtype}) breaks {len(self.failures)} law(s): {some}. "
            "See check_model(model, x).frame() and the site map of this family."
        )


def check_model(
    model: HookedModel, x: Inputs, *, tolerance: float | Mapping[str, float] | None = None, seed: int = 0
) -> Check:
    """Test every law of the contract on the input `x`: one row for each law and place.

    `tolerance` replaces the table of `interp.hooks.tolerances`: one number for all numerical laws, or some by law.
    `seed` draws the noise and the weights of the scalar that gradients are taken of. The module runs in eval mode
    and is left in its own. Raises BadInput for an input that the model refuses or an unknown law.
    """
    if isinstance(tolerance, Mapping) and (unknown := set(tolerance) - set(TOLERANCES)):
        raise BadInput(f"no law is called {sorted(unknown)[0]!r}; there are: {', '.join(TOLERANCES)}")
    training = [part for part in model.module.modules() if part.training]
    before = fingerprint(model.module)
    model.module.eval()
    try:
        bench = Bench(model, x, seed)
        found = [finding for law in LAWS for finding in law(bench)]
    finally:
        for part in training:
            part.training = True
    found += unchanged(before, fingerprint(model.module))
    rows = tuple(_judge(*finding, model.dtype, tolerance) for finding in found)
    return Check(model.name, str(model.dtype).removeprefix("torch."), rows)


def _judge(law: str, where: str, error: float, note: str, dtype: torch.dtype, given) -> Row:
    limit = tolerance(law, dtype)
    if isinstance(given, Mapping):
        limit = given.get(law, limit)
    elif given is not None and limit > 0 and law not in AT_LEAST | {"inert"}:
        limit = given
    passed = error > limit if law in AT_LEAST else error <= limit
    return Row(law, where, error, limit, passed, note)
