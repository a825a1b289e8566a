"""Numbers with intervals: what every scalar shown to a user is made of."""

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from interp.results.errors import BadInput
from interp.results.rows import BLOCK, cluster_numbers, numbers, one_number_a_row, resampled_sums

_UNDEFINED = 0.05
"""Largest share of resamples on which a statistic may be undefined before its interval is refused."""


@dataclass(frozen=True)
class Estimate:
    """A number, its interval, and what was resampled to get the interval.

    `n` counts independent units, named in `unit`: "prompts", or "clusters" of them, where nothing else is said. One
    unit gives no interval: low and high are infinite.
    Raises: BadInput when the value is not finite or lies outside its interval.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str
    method: str

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not math.isfinite(self.value) or not self.low <= self.value <= self.high:
            raise BadInput(
                f"an estimate of {self.value} with the interval [{self.low}, {self.high}] means nothing"
            )

    def __str__(self) -> str:
        value, low, high = (
            _digits(number, self.high - self.low) for number in (self.value, self.low, self.high)
        )
        interval = f" [{low}, {high}]" if math.isfinite(self.high - self.low) else ", no interval"
        return f"{value}{interval} (n={self.n} {self.unit}, {self.method})"

    def excludes(self, number: float = 0.0) -> bool:
        """Whether the interval lies wholly to one side of `number`."""
        return not self.low <= number <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, ready for JSON; an infinite bound is None."""
        return {key: None if item in (math.inf, -math.inf) else item for key, item in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Estimate":
        """The Estimate that `to_dict` wrote.

        Raises: BadInput when a field is absent, unknown or of another type.
        """
        data = dict(data)
        try:
            data["low"] = -math.inf if data["low"] is None else data["low"]
            data["high"] = math.inf if data["high"] is None else data["high"]
            return cls(**data)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not an estimate: {error}") from error


def _digits(number: float, width: float) -> str:
    """A number with as many decimals as show two digits of the interval's width."""
    if not math.isfinite(width) or width == 0 or abs(number) >= 1e6:
        return f"{number:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(width)))
    return f"{number:.{decimals}f}" if decimals <= 6 else f"{number:.3g}"


def bootstrap_mean(
    values: Any,
    clusters: Sequence[Hashable] | None = None,
    *,
    unit: str | None = None,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """The mean with a percentile bootstrap interval that resamples whole clusters.

    Shapes: values [row]; clusters [row], labels of what is independent (template x content, image, seed). The
    percentiles are expanded for few clusters (Student's t and n/(n-1)), without which 10 clusters cover 90 %,
    not 95.
    Raises: BadInput for no rows, NaN or labels of another length.
    Paper: Davison and Hinkley 1997, section 3.8 (clusters); Hesterberg 2015, arXiv 1411.5279 (expanded
    percentiles).
    """
    rows = one_number_a_row(values, "values")
    groups = cluster_numbers(clusters, len(rows))
    # Deviations are resampled, so that constant data keep an interval without rounding noise.
    sums, counts = np.bincount(groups, weights=rows - rows.mean()), np.bincount(groups)
    means = resampled_sums(np.stack([sums, counts]), seed, draws)
    return _estimate(rows.mean(), rows.mean() + means[:, 0] / means[:, 1], len(sums), unit, clusters, level)


def bootstrap_ratio(
    numerator: Any,
    denominator: Any,
    clusters: Sequence[Hashable] | None = None,
    *,
    unit: str | None = None,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """mean(numerator) / mean(denominator), both resampled together; never a mean of ratios, never clipped.

    Shapes: numerator [row], denominator [row], clusters [row], rows paired.
    Raises: BadInput for a single row or cluster, and when the interval of the denominator contains 0: then the
    ratio has no meaning.
    """
    top, bottom = one_number_a_row(numerator, "numerator"), one_number_a_row(denominator, "denominator")
    if len(top) != len(bottom):
        raise BadInput(f"numerator has {len(top)} rows and denominator {len(bottom)}; they are paired")
    below = bootstrap_mean(bottom, clusters, unit=unit, seed=seed, draws=draws, level=level)
    if below.n == 1:
        raise BadInput(
            f"a ratio of one of the {below.unit} has no interval: one does not say whether its denominator, {below}, "
            "differs from 0. Give two or more."
        )
    if not below.excludes(0):
        raise BadInput(
            f"the ratio is undefined: its denominator is {below}, an interval that contains 0. "
            "Use more prompts, or a task and metric on which the model differs from the baseline."
        )
    groups = cluster_numbers(clusters, len(top))
    sums = np.stack([np.bincount(groups, weights=top), np.bincount(groups, weights=bottom)])
    drawn = resampled_sums(sums, seed, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = drawn[:, 0] / drawn[:, 1]
    return _estimate(top.mean() / bottom.mean(), ratios, sums.shape[1], unit, clusters, level)


def binomial(hits: int, n: int, unit: str, level: float = 0.95) -> Estimate:
    """hits / n with the exact interval, which has a width even where all are right.

    Paper: Clopper and Pearson 1934, Biometrika 26.
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = betaincinv(hits, n - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, n - hits, 1 - tail) if hits < n else 1.0
    return Estimate(hits / n, float(low), float(high), n, unit, "exact binomial")


def share(
    right: Any, clusters: Sequence[Hashable] | None = None, *, unit: str | None = None, seed: int = 0, draws: int = 2000
) -> Estimate:
    """The share of rows that are right, with an interval that has a width even where all are right, or none.

    Shapes: right [row], each 0 or 1; clusters [row]. Exact binomial where every row is its own unit; over whole
    clusters the bootstrap of `bootstrap_mean`, but where all rows agree, which leaves it nothing to resample, the exact
    binomial over as many units as there are clusters. Rows that are shares themselves always get the bootstrap.
    Raises: BadInput for no rows, NaN or labels of another length.
    """
    rows = one_number_a_row(right, "right")
    n = int(cluster_numbers(clusters, len(rows)).max()) + 1
    if np.isin(rows, (0, 1)).all():
        if n == len(rows):
            return binomial(int(rows.sum()), n, unit or "prompts")
        if rows.min() == rows.max():
            return binomial(int(rows[0]) * n, n, unit or "clusters")
    return bootstrap_mean(rows, clusters, unit=unit, seed=seed, draws=draws)


def bootstrap_statistic(
    fn: Callable[..., float],
    arrays: Sequence[Any],
    clusters: Sequence[Hashable] | None = None,
    *,
    unit: str | None = None,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Any statistic of paired arrays, `fn(*arrays) -> float`, with the interval of `bootstrap_mean`.

    Shapes: every array [row, ...]; fn receives the resampled rows of each. fn is called draws + 1 times.
    Raises: BadInput when fn is not finite on the data, or on more than 5 % of the resamples.
    """
    tables = [numbers(array) for array in arrays]
    if not tables or any(table.ndim == 0 or len(table) != len(tables[0]) for table in tables):
        raise BadInput("bootstrap_statistic needs arrays of one length, at least one")
    groups = cluster_numbers(clusters, len(tables[0]))
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    generator = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        rows = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        values[draw] = fn(*(table[rows] for table in tables))
    return _estimate(float(fn(*tables)), values, len(members), unit, clusters, level)


def _estimate(value: float, drawn: np.ndarray, n: int, unit: str | None, clusters: Any, level: float) -> Estimate:
    if not 0 < level < 1:
        raise BadInput(f"level is {level}; it is a share between 0 and 1, such as 0.95")
    unit = unit or ("prompts" if clusters is None or n == len(clusters) else "clusters")
    method = "bootstrap" if clusters is None else "cluster bootstrap"
    method += "" if level == 0.95 else f", {100 * level:g} % interval"
    if not math.isfinite(value):
        raise BadInput(f"the statistic is {value} on the data, so there is nothing to estimate")
    if n == 1:
        return Estimate(value, -math.inf, math.inf, n, unit, method)
    defined = drawn[np.isfinite(drawn)]
    undefined = len(drawn) - len(defined)
    if undefined > _UNDEFINED * len(drawn):
        raise BadInput(
            f"the statistic is undefined on {undefined} of {len(drawn)} resamples; use more {unit}"
        )
    method += f", undefined on {undefined} of {len(drawn)} resamples" if undefined else ""
    tail = _expanded_tail((1 - level) / 2, n)
    low, high = np.quantile(defined, [tail, 1 - tail])
    # Skew and rounding can push a percentile interval off its own estimate; it is widened to hold it.
    return Estimate(value, min(low, value), max(high, value), n, unit, method)


def _expanded_tail(tail: float, n: int) -> float:
    from scipy.special import ndtr, stdtrit

    return float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, tail)))


def max_t(
    values: Any,
    clusters: Sequence[Hashable] | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """p-values of "this node's mean is 0", adjusted so that the chance of any false alarm over all nodes is
    held.

    Shapes: values [node, prompt], clusters [prompt] -> [node]. Signs of whole clusters are flipped, the same
    for all nodes, which keeps their correlation; step-down. Assumes that effects are symmetric about 0 where
    there is none. With c clusters no p is below 2^(1-c); up to the number of draws all sign patterns are
    enumerated and the test is exact, above it p >= 1 / (draws + 1).
    Raises: BadInput for NaN or another shape.
    Paper: Westfall and Young 1993, algorithm 4.1; sign flips: Winkler et al. 2014, NeuroImage 92.
    """
    table = numbers(values)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise BadInput(f"max_t needs finite values [node, prompt]; these have shape {list(table.shape)}")
    groups = cluster_numbers(clusters, table.shape[1])
    sums = np.stack([np.bincount(groups, weights=row) for row in table])
    # |sum| / sqrt(sum of squares) grows with |t|, and its denominator does not change under sign flips.
    scale = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    units = np.divide(sums, scale, out=np.zeros_like(sums), where=scale > 0)
    observed = np.abs(units.sum(axis=1))
    order = np.argsort(-observed, kind="stable")
    signs = _sign_flips(sums.shape[1], draws, seed)
    reached = np.zeros(len(order))
    block = max(1, BLOCK // len(order))
    for start in range(0, len(signs), block):
        flipped = np.abs(units[order] @ signs[start : start + block].T)
        # Row j becomes the largest over node j and all nodes weaker than it: the step-down.
        largest = np.maximum.accumulate(flipped[::-1], axis=0)[::-1]
        reached += (largest >= observed[order, None] * (1 - 1e-9)).sum(axis=1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(reached / len(signs))
    return adjusted


def _sign_flips(n: int, draws: int, seed: int) -> np.ndarray:
    """Sign patterns [pattern, cluster], the data's own (all plus) first.

    All of them where they are few enough.
    """
    if n - 1 < 40 and 2 ** (n - 1) <= draws:
        # A pattern and its negative give the same |t|, so the first sign stays plus.
        return np.array([(1.0, *rest) for rest in itertools.product((1.0, -1.0), repeat=n - 1)])
    flips = np.random.default_rng(seed).choice((1.0, -1.0), size=(draws, n))
    return np.concatenate([np.ones((1, n)), flips])


def benjamini_hochberg(p: Any) -> np.ndarray:
    """p-values [...] adjusted so that calling all below q gives a share of at most q of false ones, on
    average.

    Holds for independent or positively dependent tests. Shape is kept; the family is the whole array.
    Raises: BadInput for a p that is NaN or outside [0, 1].
    Paper: Benjamini and Hochberg 1995.
    """
    table = numbers(p)
    if not table.size:
        return table
    if not ((table >= 0) & (table <= 1)).all():
        raise BadInput("p-values must lie between 0 and 1")
    from scipy.stats import false_discovery_control  # a second to import, so only when used

    return np.asarray(false_discovery_control(table, axis=None)).reshape(table.shape)
