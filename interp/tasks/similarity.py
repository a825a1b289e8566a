"""Sentence similarity: of two other sentences, which one says the same? For encoders of sentences.

Paper: Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084 (the embedding is the mean feature, and sentences
are compared by their cosine).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.results.errors import BadInput
from interp.results.rows import cluster_numbers
from interp.tasks.corpus import words
from interp.tasks.feature_metrics import Closeness, mean_pool
from interp.tasks.pairs import read_pairs
from interp.tasks.splits import PARTS, Pools, Row, check_pool, generate
from interp.tasks.task import Task
from interp.tasks.text import batch, encode, needs_tokenizer, single

TEMPLATES = (  # the sentence, and another one that says the same
    ("The {noun} was seen near the {place} this morning.", "This morning someone saw the {noun} by the {place}."),
    ("I would like to buy a new {noun}.", "My wish is to get another {noun}."),
    ("Nobody knows where the {noun} has gone.", "The whereabouts of the {noun} are unknown."),
    ("The {noun} in the {place} is very old.", "There is a really ancient {noun} in the {place}."),
    ("She wrote a long story about a {noun}.", "A {noun} is the subject of the tale that she wrote."),
)
_CHUNK = 32


def similarity(model: Any = None, n: int = 64, seed: int = 0, *, tokenizer: Any = None) -> Task:
    """Which paraphrase is nearer: cosine with the one about the same thing, minus cosine with that of the corrupt one.

    Clean and corrupt are one sentence about two things (nouns of one token). They are compared with paraphrases of
    both, in other words but for the noun, whose embeddings are computed here, by `model` without interventions. A
    cluster is a template with two nouns, in both roles; no part shares a noun or a place with another.
    Raises BadInput without a model, for one whose output is not features of tokens, and for a tokenizer that writes too
    few nouns as single tokens.
    """
    tokenizer = tokenizer or needs_tokenizer(model, "similarity")
    if model is None or getattr(model.map, "unembed", None) is not None:
        what = "no model was given" if model is None else f"{model.name} predicts tokens"
        raise BadInput(f"task 'similarity' compares features, but {what}: give an encoder, such as minilm-l6")
    nouns = single(tokenizer, sorted({noun for noun, _ in words("nouns")} | set(words("objects"))), after="the")
    pools = {"nouns": nouns, "places": single(tokenizer, words("places"), after="the")}
    nouns[:] = [noun for noun in nouns if noun not in pools["places"]]
    check_pool("similarity", "nouns", nouns, 24)
    check_pool("similarity", "places", pools["places"], 3)
    table, clean, corrupt, _ = read_pairs(generate("similarity", n, seed, pools, _draw), tokenizer, with_answers=False)
    right, wrong = (_embeddings(model, tokenizer, table[column]) for column in ("same", "other"))
    real = torch.ones_like(clean) if isinstance(clean, Tensor) else clean["attention_mask"]
    split = {part: np.flatnonzero(table["split"] == part) for part in PARTS}
    clusters = cluster_numbers(table["cluster"], len(table))
    return Task("similarity", clean, corrupt, Closeness(real, right, wrong), table, clusters, split,
                content=("noun", "against", "place"))


def _embeddings(model: Any, tokenizer: Any, sentences: pd.Series) -> Tensor:
    """The mean feature of each sentence, [sentence, d]."""
    rows: Sequence[list[int]] = [encode(tokenizer, text, special=True) for text in sentences]
    found = []
    for start in range(0, len(rows), _CHUNK):
        inputs, _ = batch(rows[start : start + _CHUNK], tokenizer)
        real = torch.ones_like(inputs) if isinstance(inputs, Tensor) else inputs["attention_mask"]
        with torch.no_grad():
            found.append(mean_pool(model(inputs), real))
    return torch.cat(found)


def _draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
    sentence, paraphrase = TEMPLATES[generator.integers(len(TEMPLATES))]
    two = generator.choice(pools["nouns"], 2, replace=False).tolist()
    place = str(generator.choice(pools["places"]))
    return [
        {"clean": sentence.format(noun=a, place=place), "corrupt": sentence.format(noun=b, place=place),
         "same": paraphrase.format(noun=a, place=place), "other": paraphrase.format(noun=b, place=place),
         "noun": a, "against": b, "place": place, "cluster": f"{sentence} {' / '.join(two)}"}
        for a, b in (two, two[::-1])
    ]
