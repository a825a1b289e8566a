"""Capitals of countries, those that the model knows: "The capital of France is" -> " Paris"."""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.tasks.splits import Draw, Pools, Row, generate
from interp.tasks.task import Task
from interp.tasks.text import batch, blank, continuation, encode, mask_token, needs_tokenizer

TEMPLATES = ("The capital of {country} is", "The capital city of {country} is called",
             "I live in the capital of {country},")
ASKED = "Q: What is the capital of {country}? A: The capital is"
_CHUNK = 32  # questions asked at once
_LEAST = 12  # pairs of countries that three parts can be made of


def capitals(model: Any = None, n: int = 64, seed: int = 0, *, tokenizer: Any = None, known: bool = True) -> Task:
    """The capital of a country. Logit of its first token minus logit of the first token of the corrupt country's.

    `known` keeps the countries that the model answers in another wording than any prompt of the task has ("Q: What is
    the capital of ...? A:"): there, its capital must come before every other capital of the list. So what is tested was
    not chosen by how it fares in the test. Countries are put in pairs of as many tokens, each country in one pair, and
    a cluster is a pair, in both roles and all wordings; no part shares a country with another.
    Raises BadInput where fewer than 12 pairs are left, and for `known` without a model.
    """
    tokenizer = tokenizer or needs_tokenizer(model, "capitals")
    if known and model is None:
        raise BadInput("capitals keeps what a model knows: give a model, or known=False for all countries")
    firsts = _first_tokens(tokenizer)
    names = _known(model, tokenizer, firsts) if known else list(firsts)
    pairs = _pairs(tokenizer, {name: firsts[name] for name in names}, np.random.default_rng(seed))
    if len(pairs) < _LEAST:
        raise BadInput(f"task 'capitals' needs {_LEAST} pairs of countries with as many tokens; of the {len(firsts)} "
                       f"that this tokenizer writes, {len(names)} are known, which make {len(pairs)} pairs")
    table = generate("capitals", n, seed, {"pairs": pairs}, _draw(firsts, blank(tokenizer)))
    return Task.from_pairs(table, tokenizer=tokenizer, name="capitals", content=("country", "other"))


@cache
def countries() -> dict[str, str]:
    """Country -> capital: 146 states with one capital, in the spelling of English texts and without accents."""
    lines = (files("interp.tasks") / "data" / "capitals.txt").read_text("utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


def _first_tokens(tokenizer: Any) -> dict[str, str]:
    """Country -> the first token of its capital as text, where it is again one token that follows a prompt."""
    found = {}
    for country, capital in countries().items():
        prompt = TEMPLATES[0].format(country=country)
        ids = continuation(tokenizer, prompt, f" {capital}")
        # decoding drops the space where a token does not hold it
        text = f" {tokenizer.decode(ids[:1]).strip()}" if ids else ""
        if ids and continuation(tokenizer, prompt, text) == ids[:1]:
            found[country] = text
    return found


def _known(model: Any, tokenizer: Any, firsts: dict[str, str]) -> list[str]:
    """The countries whose capital is the likeliest of all capitals, asked as in `ASKED`."""
    answers = torch.tensor([continuation(tokenizer, ASKED.format(country=name), firsts[name])[0] for name in firsts])
    mask, rows = mask_token(tokenizer), []
    for country in firsts:
        rows.append(encode(tokenizer, ASKED.format(country=country) + blank(tokenizer), special=True))
    kept: list[str] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        inputs, first = batch(chunk, tokenizer)
        at = first + torch.tensor([len(ids) - 1 if mask is None else ids.index(mask[0]) for ids in chunk])
        with torch.no_grad():
            logits = model(inputs)[torch.arange(len(chunk)), at]
        own = answers[start : start + _CHUNK]
        best = logits.gather(1, own[:, None])[:, 0] >= logits[:, answers].amax(1)
        kept += [country for country, right in zip(list(firsts)[start : start + _CHUNK], best.tolist()) if right]
    return kept


def _pairs(tokenizer: Any, firsts: dict[str, str], generator: np.random.Generator) -> list[tuple[str, str]]:
    """The countries in pairs with as many tokens in every wording and different answers, no country in two."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for country in generator.permutation(sorted(firsts)).tolist():
        lengths = tuple(len(encode(tokenizer, template.format(country=country))) for template in TEMPLATES)
        alike.setdefault(lengths, []).append(country)
    found = []
    for group in alike.values():
        while len(group) > 1:
            first = group.pop()
            other = next((name for name in group if firsts[name] != firsts[first]), None)
            if other is not None:
                group.remove(other)
                found.append((first, other))
    return sorted(found)


def _draw(firsts: dict[str, str], end: str) -> Draw:
    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        pair = pools["pairs"][generator.integers(len(pools["pairs"]))]
        template = str(generator.choice(TEMPLATES)) + end
        return [
            {"clean": template.format(country=a), "corrupt": template.format(country=b), "answer": firsts[a],
             "wrong": firsts[b], "template": template, "country": a, "other": b, "cluster": " / ".join(pair)}
            for a, b in (pair, pair[::-1])
        ]

    return draw
