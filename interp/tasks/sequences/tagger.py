"""tagger: names of people, places and firms in made-up sentences, from a word list and the word before.

A stand-in for named-entity recognition (arXiv 2306.01128, section 4.3), whose data are not free: here the rules that
make the labels are known.
"""

from functools import partial
from itertools import product

import numpy as np

from interp.results.errors import BadInput
from interp.tasks.sequences.build import assemble, distinct
from interp.tasks.sequences.dataset import Dataset

LINE = "IOB2 tags of names by word list and preceding word: met mr alda -> O O B-PER (score: F1 of whole spans)"
SIZES = {"vocab": 400, "length": 20, "n": 20_000}
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
TITLES, PREPOSITIONS, FORMS = ("mr", "mrs", "dr"), ("in", "at", "near"), ("inc", "bank", "union")


def lexicon(words: int) -> dict[str, tuple[str, ...]]:
    """The word list: "first" names, "last" names, "place"s, "either" (a last name and a place), "plain" words.

    Words are pairs of syllables, dealt out by their order so that spelling says nothing about the kind.
    """
    onsets, vowels = "bdfgklmnprstvz", "aeiou"
    syllables = [a + b for a, b in product(onsets, vowels)]
    made = [syllables[(7 * i) % 70] + syllables[(11 * i + i // 70) % 70] for i in range(words)]
    shares = {"first": 0.12, "last": 0.12, "place": 0.12, "either": 0.16}
    found, start = {}, 0
    for kind, share in shares.items():
        size = int(share * words)
        found[kind] = tuple(made[start : start + size])
        start += size
    return found | {"plain": tuple(made[start:])}


def oracle(sentence: tuple[str, ...], words: dict[str, tuple[str, ...]]) -> list[str]:
    """The tag of each word, by these rules, the first that fits:

    a word that stands before a form of firm ("bank") and is in any name list begins ORG, the form continues it; a last
    name or either-name behind a first name continues PER; a word behind a title begins PER, known or not; an
    either-name begins LOC behind a preposition and PER elsewhere; first and last names begin PER, places LOC.
    """
    kind = {word: name for name, listed in words.items() for word in listed}
    tags: list[str] = []
    for i, word in enumerate(sentence):
        before = sentence[i - 1] if i else ""
        after = sentence[i + 1] if i + 1 < len(sentence) else ""
        listed = kind.get(word, "plain") != "plain"
        if listed and after in FORMS:
            tags.append("B-ORG")
        elif word in FORMS and kind.get(before, "plain") != "plain":
            tags.append("I-ORG")
        elif kind.get(word) in ("last", "either") and kind.get(before) == "first" and tags[-1].endswith("PER"):
            tags.append("I-PER")
        elif before in TITLES and word in kind:
            tags.append("B-PER")
        elif kind.get(word) == "either":
            tags.append("B-LOC" if before in PREPOSITIONS else "B-PER")
        else:
            tags.append({"first": "B-PER", "last": "B-PER", "place": "B-LOC"}.get(kind.get(word, ""), "O"))
    return tags


def draw(generator: np.random.Generator, words: dict[str, tuple[str, ...]], longest: int) -> tuple[str, ...]:
    """Phrases one behind the other: a cue or none, then a name of some kind or plain words."""
    size = int(generator.integers(min(5, longest), longest + 1))
    sentence: list[str] = []

    def one(*kinds: str) -> str:
        listed = [word for kind in kinds for word in words[kind]]
        return listed[generator.integers(len(listed))]

    while len(sentence) < size:
        phrase = generator.integers(8)
        if phrase < 3:
            sentence += [one("plain"), one("plain")]
        elif phrase == 3:
            sentence += [TITLES[generator.integers(3)], one("plain", "last", "either")]
        elif phrase == 4:
            sentence += [PREPOSITIONS[generator.integers(3)], one("place", "either", "plain")]
        elif phrase == 5:
            sentence += [one("first"), one("last", "either", "plain")]
        elif phrase == 6:
            sentence += [one("place", "either", "last"), FORMS[generator.integers(3)]]
        else:
            sentence += [one("either", "last", "place")]
    return tuple(sentence[:size])


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """Sentences of 5 to length - 1 words behind "<s>", in words of which 11 are specials and cues."""
    cues = (*TITLES, *PREPOSITIONS, *FORMS)
    size = vocab - 2 - len(cues)
    if not 40 <= size <= 2000:
        raise BadInput(f"tagger takes a vocab of 51 to 2011 words, not {vocab}")
    words = lexicon(size)
    found = distinct(partial(draw, words=words, longest=length - 1), n, np.random.default_rng([seed, 0]), "tagger")
    symbols = (*cues, *(word for listed in words.values() for word in listed))
    drawn = f"{n:,} sentences of random phrases, repeats left out"
    return assemble("tagger", found, partial(oracle, words=words), symbols, LABELS, n_ctx=length, seed=seed,
                    sizes={"vocab": vocab, "length": length, "n": n}, drawn=drawn, spans=True, filler="O")
