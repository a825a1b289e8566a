"""Gendered pronoun: "So Mary is a really great friend, isn't" -> " she".

Paper: Mathwin et al. 2023, "Identifying a preliminary circuit for predicting gendered pronouns in GPT-2 small", Apart
Research alignment jam (there in GPT-2 small; its template is the first one here).
"""

from typing import Any

import numpy as np

from interp.tasks.corpus import words
from interp.tasks.splits import Draw, Pools, Row, check_pool, generate
from interp.tasks.task import Task
from interp.tasks.text import blank, needs_tokenizer, single

TEMPLATES = (
    "So {name} is a really great friend, isn't",
    "I think that {name} is happy, isn't",
    "The teacher said that {name} is late, isn't",
    "Everyone knows that {name} is a good cook, isn't",
    "When the bus with {name} arrived,",
)
PRONOUNS = {"female": " she", "male": " he"}


def pronoun(model: Any = None, n: int = 64, seed: int = 0, *, tokenizer: Any = None) -> Task:
    """She or he: the pronoun of a first name. Logit of the one that fits the name minus logit of the other.

    Each cluster is a template with a woman's and a man's name, once as the clean and once as the corrupt one. The names
    are frequent and in one gender's source list only; no part shares a name with another.
    Raises BadInput for a tokenizer that writes too few names as single tokens.
    """
    tokenizer = tokenizer or needs_tokenizer(model, "pronoun")
    pools: dict[str, list] = {gender: single(tokenizer, words(f"{gender}_names")) for gender in PRONOUNS}
    for gender, names in pools.items():
        check_pool("pronoun", f"{gender} names", names, 8)
    check_pool("pronoun", "pronouns", single(tokenizer, [word.strip() for word in PRONOUNS.values()]), 2)
    table = generate("pronoun", n, seed, pools, _draw(blank(tokenizer)))
    return Task.from_pairs(table, tokenizer=tokenizer, name="pronoun", content=("name", "other"))


def _draw(end: str) -> Draw:
    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        template = str(generator.choice(TEMPLATES))
        drawn = {gender: str(generator.choice(pools[gender])) for gender in PRONOUNS}
        rows = []
        for gender, other in (("female", "male"), ("male", "female")):
            clean, corrupt = (template.format(name=drawn[which]) + end for which in (gender, other))
            rows.append({
                "clean": clean, "corrupt": corrupt, "answer": PRONOUNS[gender], "wrong": PRONOUNS[other],
                "template": template, "gender": gender, "name": drawn[gender], "other": drawn[other],
                "cluster": f"{template} {drawn['female']} {drawn['male']}",
            })
        return rows

    return draw
