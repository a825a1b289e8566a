"""Predictors of scikit-learn, fitted anew for every prompt and k: Lasso, logistic regression, trees, boosted trees.

They cost a fit each, so n times the number of prompts: use hundreds of prompts, not thousands.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.icl.layout import check_pairs
from interp.results.progress import progress


def lasso(xs: Tensor, ys: Tensor, penalty: float = 0.01) -> Tensor:
    """|y - X w|^2 / (2 k) + penalty |w|_1, no intercept (Tibshirani 1996)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Lasso

    with warnings.catch_warnings():  # with fewer examples than weights its stopping rule is met late, or never
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _fitted(xs, ys, lambda: Lasso(alpha=penalty, fit_intercept=False, max_iter=20_000), "lasso")


def logistic(xs: Tensor, ys: Tensor, penalty: float = 1.0) -> Tensor:
    """Logistic regression on labels -1 and +1: the probability of +1 minus that of -1; of one label alone, that."""
    from sklearn.linear_model import LogisticRegression

    return _fitted(xs, ys, lambda: _Labels(LogisticRegression(C=1 / penalty, fit_intercept=False)), "logistic")


def tree(xs: Tensor, ys: Tensor, depth: int | None = None, seed: int = 0) -> Tensor:
    """A regression tree grown greedily (CART), as deep as `depth` or as it goes."""
    from sklearn.tree import DecisionTreeRegressor

    return _fitted(xs, ys, lambda: DecisionTreeRegressor(max_depth=depth, random_state=seed), "tree")


def boosted_trees(xs: Tensor, ys: Tensor, trees: int = 50, depth: int = 4, rate: float = 0.1, seed: int = 0) -> Tensor:
    """Gradient-boosted regression trees (Friedman 2001)."""
    from sklearn.ensemble import GradientBoostingRegressor

    return _fitted(xs, ys, lambda: GradientBoostingRegressor(n_estimators=trees, max_depth=depth, learning_rate=rate,
                                                             random_state=seed), "boosted trees")


class _Labels:
    """A classifier as a predictor of numbers between -1 and +1."""

    def __init__(self, classifier: Any):
        self.classifier, self.only = classifier, None

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        if (y == y[0]).all():
            self.only = y[0]
        else:
            self.classifier.fit(x, y)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if self.only is not None:
            return np.full(len(x), self.only)
        return self.classifier.predict_proba(x) @ self.classifier.classes_


def _fitted(xs: Tensor, ys: Tensor, make: Callable[[], Any], title: str) -> Tensor:
    check_pairs(xs, ys)
    x, y = xs.double().numpy(), ys.double().numpy()
    said = np.zeros_like(y)
    for row in progress(range(len(x)), title):
        for k in range(1, x.shape[1]):
            model = make()
            model.fit(x[row, :k], y[row, :k])
            said[row, k] = model.predict(x[row, k: k + 1])[0]
    return torch.from_numpy(said)
