"""What a task gives away without any model of the sequence: the commonest label, and each word by itself."""

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.results.estimate import Estimate
from interp.tasks.sequences.dataset import IGNORE, Dataset, Examples


def majority(data: Dataset) -> dict[str, Estimate]:
    """Scores on the test part of the commonest training label, everywhere."""
    labels = data.train.labels[data.train.labels != IGNORE]
    return data.score(torch.full_like(data.test.labels, int(labels.bincount().argmax())))


def unigram(data: Dataset) -> dict[str, Estimate]:
    """Scores on the test part of the commonest training label of each word (of all labels, for a new word).

    Raises BadInput for a task with one label a sequence.
    """
    if data.pooled:
        raise BadInput(f"{data.name} has one label a sequence; use bag_of_words")
    counts = torch.zeros(len(data.vocab), len(data.labels))
    asked = data.train.labels != IGNORE
    every = torch.ones(int(asked.sum()))
    counts.index_put_((data.train.tokens[asked], data.train.labels[asked]), every, accumulate=True)
    counts += 1e-6 * counts.sum(0)
    return data.score(counts.argmax(1)[data.test.tokens])


def bag_of_words(
    data: Dataset, strengths: tuple[float, ...] = (0.1, 0.3, 1.0), steps: int = 200
) -> dict[str, Estimate]:
    """Scores on the test part of logistic regression on word counts, its strength chosen on the val part.

    `strengths` are scikit-learn's C. Raises BadInput for a task with a label at every position.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if not data.pooled:
        raise BadInput(f"{data.name} has a label at every position; use unigram")
    counts = {part: _counts(data, data.part(part)) for part in ("train", "val", "test")}
    fitted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is regularisation too, and val decides
        for strength in strengths:
            model = LogisticRegression(C=strength, max_iter=steps).fit(counts["train"], data.train.labels.numpy())
            fitted.append((model.score(counts["val"], data.val.labels.numpy()), model))
    best = max(fitted, key=lambda pair: pair[0])[1]
    return data.score(torch.from_numpy(best.predict(counts["test"])))


def _counts(data: Dataset, examples: Examples):
    from scipy.sparse import csr_matrix

    rows, columns = np.nonzero(examples.mask.numpy())
    words = examples.tokens.numpy()[rows, columns]
    return csr_matrix((np.ones(len(rows)), (rows, words)), (len(examples), len(data.vocab)))
