"""Wrong answers to notebook 07: checking function -> arguments that it must reject."""

import numpy as np

import interp


def _removing_only(model, task, sources):
    return interp.effects(model, task.clean, sources, task.metric, baseline=interp.Counterfactual(task.corrupt)).mean


def _signed(cheap, exact, k):
    return float(np.abs(exact[np.argsort(-cheap)[k:]]).max(initial=0.0))


WRONG = {
    "precision_recall": [
        (lambda found, truth: (len(found & truth) / len(truth), len(found & truth) / max(1, len(found))),),  # exchanged
        (lambda found, truth: (1.0, 1.0),),
    ],
    "both_ways": [(_removing_only,), (lambda model, task, sources: [0.0] * len(sources),)],
    "largest_missed": [(_signed,), (lambda cheap, exact, k: float(np.abs(exact).max()),)],
}
