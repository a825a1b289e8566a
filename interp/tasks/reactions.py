"""Chemical reactions as text, and the atom map that the embedded reaction model holds in one attention head.

A reaction is a SMILES string `reactants>>products`. Its tokens are atoms, bonds, parentheses and ring digits;
the model (rxnmapper's ALBERT, `garden/rxnmapper`) reads `[CLS] tokens [SEP]`. Its authors found that one head
attends from each atom of the product to the atom of the reactants it came from.
Paper: Schwaller et al. 2021, "Extraction of organic chemistry grammar from unsupervised learning of chemical
reactions", Science Advances 7(15).

*Positions* in this module count the model's input, `[CLS]` being 0, so that they index its attention.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from interp.results.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

# The package's own setting, layer 10 and head 5 of a list it enumerates: both count from 0, so it is the
# eleventh of twelve layers and the sixth of eight heads. In our sites: blocks.10.attn.hook_pattern, head 5.
MAPPING_LAYER = 10
MAPPING_HEAD = 5
NEIGHBOUR_BONUS = 90.0  # the package's `attention_multiplier`
MAX_TOKENS = 512  # positions of the model, [CLS] and [SEP] included

_TOKEN = re.compile(r"\[[^\]]+\]|Br|Cl|%\d\d|>>|[BCNOSPFIbcnosp*0-9()=#$:~@?/\\.+>-]")
_SYMBOL = re.compile(r"\[\d*([A-Z][a-z]?|[a-z]{1,2}|\*)")
_BONDS = frozenset("-=#$:/\\")
_SPECIAL = frozenset(("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"))


def tokenize(smiles: str) -> list[str]:
    """The tokens of a molecule or reaction; joined they give `smiles` back.

    Raises BadInput naming the first character that belongs to no token.
    """
    tokens = _TOKEN.findall(smiles)
    if "".join(tokens) != smiles:
        read = 0
        for token in tokens:
            if not smiles.startswith(token, read):
                break
            read += len(token)
        raise BadInput(f"not SMILES: character '{smiles[read]}' at {read} of '{smiles}'")
    return tokens


def model_tokens(reaction: str) -> list[str]:
    """`[CLS]`, the tokens of one reaction, `[SEP]`: what stands at each position of the model's input.

    Raises BadInput if the text is not of the form reactants>>products or is too long for the model.
    """
    tokens = tokenize(reaction)
    if tokens.count(">>") != 1 or tokens[0] == ">>" or tokens[-1] == ">>":
        raise BadInput(f"not a reaction (reactants>>products): '{reaction}'")
    if len(tokens) + 2 > MAX_TOKENS:
        raise BadInput(f"reaction has {len(tokens) + 2} tokens, the model takes at most {MAX_TOKENS}")
    return ["[CLS]", *tokens, "[SEP]"]


@cache
def vocabulary() -> dict[str, int]:
    """Token -> id of the embedded model (591 entries; `[PAD]` is 0)."""
    lines = (files("interp.tasks") / "data" / "reaction_vocabulary.txt").read_text(encoding="utf-8").splitlines()
    return {token: i for i, token in enumerate(lines)}


def encode(reactions: Sequence[str]) -> "dict[str, Tensor]":
    """The model's input for a batch of reactions, padded on the right.

    Shapes: input_ids and attention_mask "batch pos" (int64). Atoms the model never saw become `[UNK]`.
    Raises BadInput for an empty batch and as `model_tokens` does.
    """
    import torch

    if isinstance(reactions, str) or not reactions:
        raise BadInput("encode takes a list of at least one reaction SMILES")
    ids = vocabulary()
    rows = [[ids.get(t, ids["[UNK]"]) for t in model_tokens(r)] for r in reactions]
    width = max(map(len, rows))
    padded = [row + [ids["[PAD]"]] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return {"input_ids": torch.tensor(padded), "attention_mask": torch.tensor(mask)}


@cache
def smiles_tokenizer() -> Any:
    """The tokens and ids of `encode` as a fast transformers tokenizer; what is not SMILES becomes `[UNK]`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    from interp.adapters.transformers import library

    PreTrainedTokenizerFast = library().PreTrainedTokenizerFast
    ids = vocabulary()
    backend = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN.pattern), behavior="isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, ids[t]) for t in ("[CLS]", "[SEP]")]
    )
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=MAX_TOKENS, **special)


def is_atom(token: str) -> bool:
    """Whether a token is an atom (special tokens of the model are not)."""
    return token not in ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]") and (
        token[0].isalpha() or token[0] in "[*"
    )


def element(token: str) -> str:
    """The element of an atom token, aromatic or charged or not: 'n', '[nH]', '[NH4+]' are all "N"."""
    symbol = _SYMBOL.match(token)
    return (symbol[1] if symbol else token).capitalize()


@dataclass(frozen=True)
class Graph:
    """The atoms and bonds of one or more molecules.

    `atoms` are tokens in the order written, `positions` says where each was in the tokens, `bonds` maps a
    pair of atom numbers (smaller first) to its symbol ("" for single or aromatic, as SMILES leaves it out).
    """

    atoms: tuple[str, ...]
    positions: tuple[int, ...]
    bonds: dict[tuple[int, int], str]

    def neighbours(self) -> list[list[int]]:
        """For each atom, the numbers of the atoms it is bonded to."""
        lists: list[list[int]] = [[] for _ in self.atoms]
        for a, b in self.bonds:
            lists[a].append(b)
            lists[b].append(a)
        return lists


def parse(tokens: Sequence[str]) -> Graph:
    """Atoms and bonds of tokenised SMILES; `.`, `~`, `>>` and special tokens separate molecules.

    Covers the grammar that `tokenize` accepts; stereo marks are read as plain bonds.
    Raises BadInput for a branch or ring that is not closed.
    """
    atoms: list[str] = []
    positions: list[int] = []
    bonds: dict[tuple[int, int], str] = {}
    branches: list[int | None] = []
    rings: dict[str, tuple[int, str]] = {}
    previous: int | None = None
    bond = ""
    for position, token in enumerate(tokens):
        if is_atom(token):
            atoms.append(token)
            positions.append(position)
            if previous is not None:
                bonds[(previous, len(atoms) - 1)] = bond
            previous, bond = len(atoms) - 1, ""
        elif token == "(":
            branches.append(previous)
        elif token == ")" and branches:
            previous = branches.pop()
        elif token in _BONDS:
            bond = "" if token in "/\\" else token
        elif token[0] in "%0123456789" and previous is not None:
            if token in rings:
                opener, symbol = rings.pop(token)
                bonds[(min(opener, previous), max(opener, previous))] = bond or symbol
            else:
                rings[token] = (previous, bond)
            bond = ""
        elif token in (".", "~", ">>", "[CLS]", "[SEP]", "[PAD]"):
            previous = None
        else:
            raise BadInput(f"cannot read token '{token}' at {position} of '{''.join(tokens)}'")
    if rings or branches:
        raise BadInput(f"a ring or branch is not closed in '{''.join(tokens)}'")
    return Graph(tuple(atoms), tuple(positions), bonds)


def symmetry_classes(graph: Graph) -> list[int]:
    """One number per atom; atoms with equal numbers cannot be told apart by the bonds around them.

    Colour refinement started from the tokens. It equals the true symmetry of the molecules here; graphs that
    refinement cannot tell apart (say two unsubstituted rings of different size) would be merged.
    """
    neighbours = graph.neighbours()
    colours: list[Any] = list(graph.atoms)
    count = 0
    while len(set(colours)) > count:
        count = len(set(colours))
        seen = [
            (colours[a], tuple(sorted((graph.bonds[min(a, b), max(a, b)], colours[b]) for b in near)))
            for a, near in enumerate(neighbours)
        ]
        names = {colour: i for i, colour in enumerate(sorted(set(seen)))}
        colours = [names[colour] for colour in seen]
    return colours


@dataclass(frozen=True)
class AtomMap:
    """Which reactant atom each product atom came from.

    `pairs` are (product position, reactant position), sorted; `confidence` gives for each pair the share of
    its attention that went there when it was chosen (1.0 for a known map).
    """

    pairs: tuple[tuple[int, int], ...]
    confidence: tuple[float, ...]


def read_atom_map(
    attention: "Tensor", tokens: Sequence[str], method: Literal["published", "argmax"] = "published"
) -> AtomMap:
    """The atom map that an attention pattern holds.

    `attention` is one head's pattern "query key" for one reaction without padding, `tokens` its
    `model_tokens`. "argmax" takes for every product atom the reactant atom it attends to most, nothing else.
    "published" is the package's procedure: attention of both directions summed, atoms of another element
    excluded, then the surest atom first, each reactant atom used once, and the neighbours of a mapped pair
    favoured `NEIGHBOUR_BONUS` times.
    Raises BadInput if the shape does not fit the tokens or the method is unknown.
    """
    if method not in ("published", "argmax"):
        raise BadInput(f"no method '{method}' to read an atom map; there are: published, argmax")
    if tuple(attention.shape) != (len(tokens), len(tokens)):
        raise BadInput(f"attention is {tuple(attention.shape)} but the reaction has {len(tokens)} tokens")
    arrow = list(tokens).index(">>")
    graph = parse(tokens)
    reactants = [a for a, p in enumerate(graph.positions) if p < arrow]
    products = [a for a, p in enumerate(graph.positions) if p > arrow]
    rows = [graph.positions[a] for a in products]
    columns = [graph.positions[a] for a in reactants]
    forward = attention.detach().double()[rows][:, columns]
    if method == "argmax":
        share, best = (forward / forward.sum(1, keepdim=True)).max(dim=1)
        found = {i: (int(j), float(s)) for i, (j, s) in enumerate(zip(best, share, strict=True))}
    else:
        both = forward + attention.detach().double()[columns][:, rows].T
        found = _greedy(both, graph, products, reactants)
    chosen = sorted((rows[i], columns[j], share) for i, (j, share) in found.items())
    return AtomMap(tuple((p, r) for p, r, _ in chosen), tuple(share for _, _, share in chosen))


def _greedy(
    weight: "Tensor", graph: Graph, products: list[int], reactants: list[int]
) -> dict[int, tuple[int, float]]:
    """Row -> (column, share), the surest first; rows without a candidate left are not mapped."""
    for i, a in enumerate(products):
        for j, b in enumerate(reactants):
            if element(graph.atoms[a]) != element(graph.atoms[b]):
                weight[i, j] = 0.0
    neighbours = graph.neighbours()
    row_of = {a: i for i, a in enumerate(products)}
    column_of = {b: j for j, b in enumerate(reactants)}
    found: dict[int, tuple[int, float]] = {}
    for _ in products:
        share = weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-300)
        i, j = divmod(int(share.argmax()), len(reactants))
        if share[i, j] <= 1e-8:
            break
        found[i] = (j, float(share[i, j]))
        for a in neighbours[products[i]]:
            for b in neighbours[reactants[j]]:
                weight[row_of[a], column_of[b]] *= NEIGHBOUR_BONUS
        weight[i, :] = 0.0
        weight[:, j] = 0.0
    return found


def map_atoms(
    reactions: Sequence[str], model: Any, method: Literal["published", "argmax"] = "published"
) -> list[AtomMap]:
    """The atom maps of some reactions, read from the published head of `model`, a transformers module."""
    import torch

    inputs = encode(reactions)
    with torch.no_grad():
        pattern = model(**inputs, output_attentions=True).attentions[MAPPING_LAYER][:, MAPPING_HEAD]
    maps = []
    for reaction, rows in zip(reactions, pattern, strict=True):
        tokens = model_tokens(reaction)
        maps.append(read_atom_map(rows[: len(tokens), : len(tokens)], tokens, method))
    return maps


def correct_atoms(found: AtomMap, truth: AtomMap, tokens: Sequence[str]) -> list[bool]:
    """For each pair of `truth`, whether `found` maps that product atom to the right reactant atom.

    An atom that symmetry makes equivalent to the right one is right too (the two ortho carbons of a phenyl,
    either half of an anhydride, one of two equal molecules), on the reactant and on the product side. Atoms
    are judged one by one: that both ortho carbons go to the same one is not noticed. A product atom left out
    is wrong.
    """
    arrow = list(tokens).index(">>")
    graph = parse(tokens)
    colour = dict(zip(graph.positions, symmetry_classes(graph), strict=True))
    came_from: dict[int, set[int]] = {}
    for product, reactant in truth.pairs:
        came_from.setdefault(colour[product], set()).add(colour[reactant])
    mapped = dict(found.pairs)
    return [
        product in mapped
        and mapped[product] < arrow
        and colour[mapped[product]] in came_from[colour[product]]
        for product, _ in truth.pairs
    ]
