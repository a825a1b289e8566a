"""Atom mapping: which reactant atom each product atom came from, seen in two ways.

`atom_mapping` is causal: a masked atom of the product has to be filled in, and the counterfactual is a reaction of the
same form in which it is another atom. `pattern_agreement` is a reading: how often the attention of one head, whose
meaning is published, points at the atom that it came from.
Paper: Schwaller et al. 2021, "Extraction of organic chemistry grammar from unsupervised learning of chemical
reactions", Science Advances 7(15).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from interp.hooks.index import Index
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.tasks import reactions as chemistry
from interp.tasks.metrics import LogitDiff, LogProb
from interp.tasks.reaction_templates import SPECTATORS, TEMPLATES, Reaction, Template
from interp.tasks.reaction_templates import generate as generate_reactions
from interp.tasks.splits import Pools, Row, generate
from interp.tasks.task import Task

_CHUNK = 32


def atom_mapping(
    model: Any = None, n: int = 64, seed: int = 0, *, metric: Literal["log-prob", "logit-diff"] = "log-prob"
) -> Task:
    """A masked atom of a product: its log-probability, which rests on the atom of the reactants it came from.

    The reactions come from templates with known maps. Corrupt is the same reaction with one substituent exchanged for
    another of as many tokens, so that the masked atom is a different one. A cluster is a template with two such
    substituents, and no part has the same two as another. `prompts` gives the masked position and the position of its
    origin, counted in the model's input. `metric` "logit-diff" is the atom's logit minus that of the corrupt one, which
    is not saturated where the model is sure.
    Raises BadInput for a model with another vocabulary than the reaction model's, and an unknown metric.
    """
    if metric not in ("log-prob", "logit-diff"):
        raise BadInput(f"atom-mapping has the metrics log-prob and logit-diff, not {metric!r}")
    vocabulary = chemistry.vocabulary()
    known = getattr(getattr(model, "map", None), "d_vocab", None)
    if known is not None and known != len(vocabulary):
        raise BadInput(f"atom-mapping is for the reaction model 'rxnmapper', whose vocabulary has {len(vocabulary)} "
                       f"tokens; {model.name} has {known}")
    places = _exchanges()
    table = generate("atom-mapping", n, seed, {"pair": sorted(places)}, lambda p, g: _draw(p, g, places))
    at = torch.tensor(table["position"].to_numpy())
    row = torch.arange(len(table))
    inputs = {side: chemistry.encode(table[side].tolist()) for side in ("clean", "corrupt")}
    target, wrong = (inputs[side]["input_ids"][row, at] for side in ("clean", "corrupt"))
    for encoded in inputs.values():
        encoded["input_ids"][row, at] = vocabulary["[MASK]"]
    _, clusters = np.unique(table["cluster"], return_inverse=True)
    split = {part: np.flatnonzero(table["split"] == part) for part in table["split"].unique()}
    measured = LogProb(at, target) if metric == "log-prob" else LogitDiff(at, target, wrong)
    return Task("atom-mapping", inputs["clean"], inputs["corrupt"], measured, table, clusters, split,
                content=("pair",),
                readings=_readings(seed))


Pair = tuple[str, str]


def _exchanges() -> dict[Pair, list[tuple[Template, str]]]:
    """Two substituents with equally many tokens -> the templates and slots that take both."""
    found: dict[Pair, list[tuple[Template, str]]] = {}
    for template in TEMPLATES:
        for slot in template.slots:
            values = sorted({choice[slot] for choice in template.choices()})
            for a, b in combinations(values, 2):
                if len(chemistry.tokenize(a)) == len(chemistry.tokenize(b)):
                    found.setdefault((a, b), []).append((template, slot))
    return found


def _draw(pools: Pools, generator: np.random.Generator, places: dict[Pair, list[tuple[Template, str]]]) -> list[Row]:
    pair = pools["pair"][generator.integers(len(pools["pair"]))]
    template, slot = places[pair][generator.integers(len(places[pair]))]
    choices = template.choices()
    rest = choices[generator.integers(len(choices))]
    extra = [str(generator.choice(SPECTATORS))] if generator.random() < 0.5 else []
    seed = int(generator.integers(2**31))
    two = [template.react({**rest, slot: substituent}, extra, seed) for substituent in pair]
    where = _differing_atoms(*two)
    if not where:
        return []
    at = int(generator.choice(where))
    label = {"template": template.name, "pair": " ".join(pair), "cluster": f"{template.name} {' '.join(pair)}"}
    return [
        {"clean": a.smiles, "corrupt": b.smiles, "answer": a.tokens[at], "wrong": b.tokens[at], "position": at,
         "origin": dict(a.atom_map.pairs)[at], **label}
        for a, b in (two, two[::-1])
    ]


def _readings(seed: int) -> dict[str, Callable[[Any], Estimate]]:
    """The published reading on reactions of their own: what the pattern holds, not what the model uses."""
    name = "atoms mapped right by the pattern of depth {} head {}, {} reading"
    return {
        name.format(chemistry.MAPPING_LAYER, chemistry.MAPPING_HEAD, method):
            lambda model, method=method: pattern_agreement(model, n=100, seed=seed + 1, method=method).share
        for method in ("published", "argmax")
    }


def _differing_atoms(one: Reaction, other: Reaction) -> list[int]:
    """Positions where both products have a mapped atom, from one place, of different kinds.

    Empty where the reactions are not aligned.
    """
    if len(one.tokens) != len(other.tokens) or one.tokens.index(">>") != other.tokens.index(">>"):
        return []
    there = dict(other.atom_map.pairs)
    return [p for p, origin in one.atom_map.pairs if there.get(p) == origin and one.tokens[p] != other.tokens[p]]


@dataclass(frozen=True)
class PatternAgreement:
    """How well one head's attention agrees with the true atom maps.

    `reactions` has a row per reaction: reaction, template, atoms, correct, share (of its product atoms mapped right).
    `share` is the mean over reactions, `perfect` the share of reactions without a mistake. A reading: it says what the
    pattern holds, not that the model uses it.
    """

    reactions: pd.DataFrame
    share: Estimate
    perfect: Estimate
    site: str
    head: int

    def frame(self) -> pd.DataFrame:
        """The table of reactions."""
        return self.reactions


def pattern_agreement(
    model: Any,
    reactions: Sequence[Reaction] | None = None,
    *,
    n: int = 100,
    seed: int = 0,
    depth: int = chemistry.MAPPING_LAYER,
    head: int = chemistry.MAPPING_HEAD,
    method: Literal["published", "argmax"] = "published",
) -> PatternAgreement:
    """Agreement of the attention pattern of one head (the published one) with the true atom map of reactions.

    `reactions`, or n made from all templates by `seed`. `method` "published" is the authors' way to read a map from the
    pattern, which knows elements and bonds; "argmax" takes the pattern alone. Atoms that symmetry makes equal are not
    told apart.
    Raises MissingSite for a model without such a pattern, BadInput for an empty list or an unknown method.
    """
    chosen = generate_reactions(n, seed) if reactions is None else list(reactions)
    if not chosen:
        raise BadInput("pattern_agreement needs at least one reaction")
    if method not in ("published", "argmax"):
        raise BadInput(f'method is "published" or "argmax", not {method!r}')
    site = model.site(f"blocks.{depth}.attn.hook_pattern")
    Index(head=head).check(site)
    rows = []
    for start in range(0, len(chosen), _CHUNK):
        chunk = chosen[start : start + _CHUNK]
        patterns = model.read(chemistry.encode([r.smiles for r in chunk]), site.name)[site.name][:, head]
        rows += [_agreement(reaction, pattern, method) for reaction, pattern in zip(chunk, patterns, strict=True)]
    table = pd.DataFrame(rows)
    share, perfect = (bootstrap_mean(table[c], unit="reactions", seed=seed) for c in ("share", "perfect"))
    return PatternAgreement(table, share, perfect, site.name, head)


def _agreement(reaction: Reaction, pattern: torch.Tensor, method: Literal["published", "argmax"]) -> dict[str, Any]:
    tokens = reaction.tokens
    found = chemistry.read_atom_map(pattern[: len(tokens), : len(tokens)].cpu(), tokens, method)
    right = chemistry.correct_atoms(found, reaction.atom_map, tokens)
    return {"reaction": reaction.smiles, "template": reaction.template, "atoms": len(right), "correct": sum(right),
            "share": sum(right) / len(right), "perfect": float(all(right))}
