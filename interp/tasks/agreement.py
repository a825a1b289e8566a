"""Subject-verb agreement: "The keys near the cabinet" -> " are", with and without a noun in between.

Paper: Linzen, Dupoux and Goldberg 2016, "Assessing the ability of LSTMs to learn syntax-sensitive dependencies",
arXiv 1611.01368.
"""

from typing import Any, Literal

import numpy as np

from interp.results.errors import BadInput, nearest
from interp.tasks.corpus import words
from interp.tasks.splits import Draw, Pools, Row, check_pool, generate
from interp.tasks.task import Task
from interp.tasks.text import blank, needs_tokenizer, single

Attractor = Literal["none", "opposite", "same", "mixed"]

PLAIN = ("The {noun}", "I think that the {noun}", "Everyone knows that the {noun}")
WITH_ATTRACTOR = ("The {noun} near the {other}", "The {noun} behind the {other}", "The {noun} next to the {other}")
VERBS = (" is", " are")


def agreement(
    model: Any = None, n: int = 64, seed: int = 0, *, tokenizer: Any = None, attractor: Attractor = "mixed"
) -> Task:
    """Is or are: the verb in the number of its subject. Logit of the right form minus logit of the other.

    Each cluster is a template with a noun, once singular and once plural; corrupt has the subject in the other number.
    `attractor` is the number of a second noun before the verb, against the clean subject's: "none" (no such noun),
    "opposite", "same", or "mixed" (half none, half opposite). No part shares a noun with another.
    Raises BadInput for a tokenizer that writes too few nouns as single tokens.
    """
    tokenizer = tokenizer or needs_tokenizer(model, "agreement")
    choices = ("none", "opposite", "same", "mixed")
    if attractor not in choices:
        raise BadInput(f"agreement has the attractors {', '.join(choices)}, not {attractor!r}."
                       + nearest(str(attractor), choices))
    one, many = (set(single(tokenizer, forms)) for forms in zip(*words("nouns"), strict=True))
    nouns = [pair for pair in words("nouns") if pair[0] in one and pair[1] in many]
    check_pool("agreement", "nouns", nouns, 8)
    check_pool("agreement", "verbs", single(tokenizer, [verb.strip() for verb in VERBS]), 2)
    table = generate("agreement", n, seed, {"nouns": nouns}, _draw(attractor, blank(tokenizer)))
    return Task.from_pairs(table, tokenizer=tokenizer, name="agreement", content=("noun", "other"))


def _draw(attractor: str, end: str) -> Draw:
    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        kind = str(generator.choice(["none", "opposite"])) if attractor == "mixed" else attractor
        text = str(generator.choice(PLAIN if kind == "none" else WITH_ATTRACTOR))
        first, second = generator.choice(len(pools["nouns"]), 2, replace=False)
        noun, other = pools["nouns"][first], pools["nouns"][second]
        rows = []
        for number in (0, 1):
            between = other[number if kind == "same" else 1 - number]
            clean, corrupt = (text.format(noun=noun[i], other=between) + end for i in (number, 1 - number))
            rows.append({
                "clean": clean, "corrupt": corrupt, "answer": VERBS[number], "wrong": VERBS[1 - number],
                "template": text, "number": ("singular", "plural")[number], "attractor": kind, "noun": noun[0],
                "other": noun[0] if kind == "none" else other[0], "cluster": f"{text} {noun[0]}",
            })
        return rows

    return draw
