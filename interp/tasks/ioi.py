"""Indirect object identification: "When Mary and John went to the store, John gave a drink to" -> " Mary".

Paper: Wang et al. 2022, "Interpretability in the wild", arXiv 2211.00593.
"""

from typing import Any, Literal

import numpy as np

from interp.results.errors import BadInput, nearest
from interp.tasks.corpus import words
from interp.tasks.splits import Draw, Pools, Row, check_pool, generate
from interp.tasks.task import Task
from interp.tasks.text import blank, needs_tokenizer, single

TEMPLATES = (
    "When {a} and {b} went to the {place}, {s} gave a {object} to",
    "Then, {a} and {b} went to the {place}. {s} gave a {object} to",
    "After {a} and {b} arrived at the {place}, {s} handed a {object} to",
    "While {a} and {b} were working at the {place}, {s} gave a {object} to",
    "One day {a} and {b} met at the {place}, and {s} brought a {object} to",
)
Counterfactual = Literal["abc", "swap"]


def ioi(
    model: Any = None,
    n: int = 64,
    seed: int = 0,
    *,
    tokenizer: Any = None,
    counterfactual: Counterfactual = "abc",
    template: int | None = None,
) -> Task:
    """Who received it: the name said once, not the one said twice. Logit of the one minus logit of the other.

    Each cluster is a template with two people, a place and an object, in both orders (ABBA and BABA); no part shares
    a name, place or object with another. `counterfactual` "abc" puts three other names in their places, which takes
    the answer away; "swap" makes the other person the giver, which turns it round. One `template` (its number) gives
    prompts of one length.
    Raises BadInput for a tokenizer that writes too few names as single tokens.
    """
    tokenizer = tokenizer or needs_tokenizer(model, "ioi")
    if counterfactual not in ("abc", "swap"):
        raise BadInput(f"ioi has the counterfactuals abc and swap, not {counterfactual!r}."
                       + nearest(str(counterfactual), ("abc", "swap")))
    if template is not None and template not in range(len(TEMPLATES)):
        raise BadInput(f"ioi has the templates 0 to {len(TEMPLATES) - 1}, not {template!r}")
    pools = {
        "names": single(tokenizer, sorted(words("female_names") + words("male_names"))),
        "places": single(tokenizer, words("places")),
        "objects": single(tokenizer, words("objects")),
        "templates": list(range(len(TEMPLATES))),
    }
    for pool, least in (("names", 20), ("places", 3), ("objects", 3)):
        check_pool("ioi", pool, pools[pool], least)
    chosen = pools.pop("templates") if template is None else [template]
    table = generate("ioi", n, seed, pools, _draw(chosen, counterfactual, blank(tokenizer)))
    return Task.from_pairs(table, tokenizer=tokenizer, name="ioi", content=("io", "s", "place", "object"))


def _draw(templates: list[int], counterfactual: str, end: str) -> Draw:
    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        io, s, *others = generator.choice(pools["names"], 5, replace=False).tolist()
        where = {"place": str(generator.choice(pools["places"])), "object": str(generator.choice(pools["objects"]))}
        template = int(generator.choice(templates))
        text, cluster = TEMPLATES[template] + end, f"{template} {' '.join(sorted((io, s)))}"
        rows = []
        for order, (a, b) in (("ABBA", (io, s)), ("BABA", (s, io))):
            if counterfactual == "swap":
                corrupt = text.format(a=a, b=b, s=io, **where)
            else:
                corrupt = text.format(a=others[0], b=others[1], s=others[2], **where)
            rows.append({
                "clean": text.format(a=a, b=b, s=s, **where), "corrupt": corrupt, "answer": f" {io}",
                "wrong": f" {s}", "template": template, "order": order, "io": io, "s": s, **where, "cluster": cluster,
            })
        return rows

    return draw
