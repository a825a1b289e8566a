"""A sentence-similarity task for encoders without a head: real sentences, a cut version as the reference.

Clean: a sentence of the State of the Union addresses. Reference: the embedding of its first two thirds. Corrupt:
another sentence of as many tokens. Metric: projection of the mean-pooled output on the reference.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.tasks import Task
from interp.tasks.corpus import corpus


@dataclass(frozen=True, eq=False)
class Similarity:
    """Projection of the mean-pooled output [batch, pos, d] on the direction of `reference` [batch, d].

    The cosine but for the output's own length, and so linear in the output: a cosine is at its ceiling on similar
    sentences, and a square root of an irrelevant part has no value.
    """

    reference: Tensor
    unit = "projection"

    def __call__(self, output: Tensor) -> Tensor:
        reference = torch.nn.functional.normalize(self.reference.to(output.dtype), dim=-1)
        return (output.mean(1) * reference).sum(-1)

    def rows(self, index) -> "Similarity":
        """The metric of some of the prompts."""
        return Similarity(self.reference[torch.as_tensor(index)])


def similarity_task(model, n: int, seed: int, tokens: int = 16) -> Task:
    """n clean sentences of exactly `tokens` tokens with their references and counterfactuals."""
    generator = np.random.default_rng(seed)
    sentences = [s.strip() for s in corpus("test").replace("\n", " ").split(". ") if 50 < len(s) < 130]
    encoded = {s: model.tokenizer(s)["input_ids"] for s in dict.fromkeys(sentences)}
    fitting = [s for s, ids in encoded.items() if len(ids) == tokens]
    picked = [fitting[i] for i in generator.permutation(len(fitting))[: 2 * n]]
    clean, corrupt = picked[:n], picked[n : 2 * n]
    ids = [torch.tensor([encoded[s] for s in group]) for group in (clean, corrupt)]
    cut = [" ".join(s.split()[: max(3, 2 * len(s.split()) // 3)]) for s in clean]
    with torch.no_grad():
        reference = torch.stack([model(torch.tensor([model.tokenizer(c)["input_ids"]]))[0].mean(0) for c in cut])
    index = np.arange(n)
    split = {"discover": index[: n // 2], "select": index[n // 2 : 3 * n // 4], "test": index[3 * n // 4 :]}
    prompts = pd.DataFrame({"clean": clean, "corrupt": corrupt, "reference": cut})
    return Task(name="similarity", clean=ids[0], corrupt=ids[1], metric=Similarity(reference), prompts=prompts,
                clusters=index, split=split)
