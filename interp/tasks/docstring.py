"""Docstrings of Python functions: behind ":param" comes the next argument of the definition.

Paper: Heimersheim and Janiak 2023, "A circuit for Python docstrings in a 4-layer attention-only transformer", Alignment
Forum (there in attn-only-4l).
"""

from typing import Any, Literal

import numpy as np

from interp.results.errors import BadInput, nearest
from interp.tasks.corpus import words
from interp.tasks.splits import Draw, Pools, Row, check_pool, generate
from interp.tasks.task import Task
from interp.tasks.text import needs_causal, needs_tokenizer, single

Counterfactual = Literal["random", "answer"]

TEMPLATE = '''
def {name}(self, {a}, {b}, {c}, {d}):
    """the {title}

    :param {e}: {about_e}
    :param {f}: {about_f}
    :param'''


def docstring(
    model: Any = None, n: int = 64, seed: int = 0, *, tokenizer: Any = None, counterfactual: Counterfactual = "random"
) -> Task:
    """The argument whose turn it is. Logit of the third argument minus logit of another one of the definition.

    A method with four arguments, of which the docstring describes the first two in order; the third is next. Names and
    descriptions are nouns, all different. `counterfactual` "random" has six other nouns as the arguments of definition
    and docstring, those of the one not those of the other, which takes the answer away (the paper's); "answer" has
    another noun in the place of the third argument alone, whose logit is then the one to compare with. Each row is its
    own cluster, and no part shares a noun with another.
    Raises BadInput for a tokenizer that writes too few nouns as single tokens, and for a masked language model.
    """
    tokenizer = tokenizer or needs_tokenizer(model, "docstring")
    needs_causal(model, "docstring", tokenizer)
    if counterfactual not in ("random", "answer"):
        raise BadInput(f"docstring has the counterfactuals random and answer, not {counterfactual!r}."
                       + nearest(str(counterfactual), ("random", "answer")))
    known = single(tokenizer, sorted({noun for noun, _ in words("nouns")} | {*words("objects"), *words("places")}))
    check_pool("docstring", "nouns", known, 80)
    table = generate("docstring", n, seed, {"nouns": known}, _draw(counterfactual))
    return Task.from_pairs(table, tokenizer=tokenizer, name="docstring", content=("answer", "wrong", "name"))


def _draw(counterfactual: str) -> Draw:
    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        name, title, about_e, about_f, *drawn = generator.choice(pools["nouns"], 14, replace=False).tolist()
        same = {"name": name, "title": title, "about_e": about_e, "about_f": about_f}
        a, b, c, d = drawn[:4]
        clean = same | {"a": a, "b": b, "c": c, "d": d, "e": a, "f": b}
        if counterfactual == "random":
            corrupt = same | dict(zip("abcdef", drawn[4:], strict=True))
            wrong = str(generator.choice([a, b, d]))
        else:
            wrong = drawn[4]
            corrupt = clean | {"c": wrong}
        text = TEMPLATE.format(**clean)
        return [{"clean": text, "corrupt": TEMPLATE.format(**corrupt), "answer": f" {c}", "wrong": f" {wrong}",
                 "name": name, "cluster": text}]

    return draw
