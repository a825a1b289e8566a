"""sotu: the decade in which a sentence was said, from State of the Union addresses (text and licence:
`interp/tasks/data/LICENSES.md`)."""

import re
from collections import Counter
from functools import cache

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.tasks.corpus import Document, documents
from interp.tasks.sequences.dataset import PARTS, Dataset, Examples

LINE = "real text: the decade of a sentence from a State of the Union address"
SIZES = {"vocab": 5_000, "length": 32, "n": 60_000}
_SENTENCE, _WORD = re.compile(r"(?<=[.?!;:])\s+"), re.compile(r"[a-z]+(?:'[a-z]+)?|\d")
_LEAST = 8  # words; below, a sentence hardly shows its time
_PART = {"train": "train", "val": "validation", "test": "test"}


def words(sentence: str) -> tuple[str, ...]:
    """Lower-case words; digits become "#", so that a year does not give itself away."""
    return tuple("#" if word.isdigit() else word for word in _WORD.findall(sentence.lower()))


def decade(document: Document) -> str:
    """"1860s" for an address of 1863: the label, from the year of delivery alone."""
    return f"{document.year // 10 * 10}s"


@cache
def sentences() -> dict[str, tuple[tuple[tuple[str, ...], str, int], ...]]:
    """By part: (words, decade, number of the address) of every sentence of 8 words or more.

    Parts share no address (years that end in 3 are val, in 7 test), and no sentence: what one has, a later one drops.
    The 2020s, of which only training years are there, are left out.
    """
    found: dict[str, tuple] = {}
    seen: set[tuple[str, ...]] = set()
    for part in ("test", "val", "train"):
        mine = []
        for number, document in enumerate(documents()):
            if not document.party or document.split != _PART[part] or document.year >= 2020:
                continue
            for sentence in map(words, _SENTENCE.split(document.text)):
                if len(sentence) >= _LEAST and sentence not in seen:
                    mine.append((sentence, decade(document), number))
        seen |= {sentence for sentence, _, _ in mine}
        found[part] = tuple(mine)
    return found


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """n sentences, cut to length - 1 words behind "<s>"; rare words are "<unk>".

    The words known are the most frequent ones of the training part. Clusters are addresses.
    """
    everything = sentences()
    generator = np.random.default_rng([seed, 0])
    total = sum(map(len, everything.values()))
    chosen = {}
    for part in PARTS:
        size = min(len(everything[part]), round(n * len(everything[part]) / total))
        rows = generator.permutation(len(everything[part]))[:size]
        cut = ((w[: length - 1], label, number) for w, label, number in (everything[part][i] for i in rows))
        chosen[part] = list(cut)
    # sentences that differ only behind the cut
    tested = {sentence for sentence, _, _ in chosen["test"]}
    chosen["val"] = [row for row in chosen["val"] if row[0] not in tested]
    held = tested | {sentence for sentence, _, _ in chosen["val"]}
    chosen["train"] = [row for row in chosen["train"] if row[0] not in held]
    if min(map(len, chosen.values())) < 1:
        raise BadInput(f"sotu with n={n} leaves a part empty; there are {total:,} sentences, ask for more")
    counts = Counter(word for sentence, _, _ in chosen["train"] for word in sentence)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: vocab - 3]
    known = ("<s>", "<unk>", *frequent, "<pad>")
    labels = tuple(sorted({label for _, label, _ in everything["test"]}))
    parts = {part: _examples(rows, known, labels, length) for part, rows in chosen.items()}
    return Dataset("sotu", known, labels, **parts, sizes={"vocab": vocab, "length": length, "n": n}, seed=seed,
                   drawn=f"{sum(map(len, chosen.values())):,} of {total:,} sentences, from each part its share",
                   pooled=True, unknown="<unk>", unit="addresses")


def _examples(rows: list, known: tuple[str, ...], labels: tuple[str, ...], length: int) -> Examples:
    index = {word: i for i, word in enumerate(known)}
    pad = len(known) - 1
    tokens = torch.full((len(rows), length), pad)
    for row, (sentence, _, _) in enumerate(rows):
        ids = [index["<s>"], *(index.get(word, index["<unk>"]) for word in sentence)]
        tokens[row, : len(ids)] = torch.tensor(ids)
    targets = torch.tensor([labels.index(label) for _, label, _ in rows])
    return Examples(tokens, targets, np.array([number for _, _, number in rows]), pad)
