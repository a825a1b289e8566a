"""Reactions with a known atom map, made from templates and real substituents.

A template is the reaction written as SMILES in which `{pool}` stands for a substituent, and `{1}`, `{2}` ...
follow the atoms of the template that reappear in the product. A substituent is SMILES that begins with the
atom it is attached by; an amine `NCC` or an alcohol `OCC` is a whole molecule where nothing is attached. The
molecules are put together as graphs, so every product atom is known to come from one reactant atom, and are
then written out again as SMILES. No chemistry library is needed.

What counts as the origin of an atom follows the accepted mechanism: the alcohol keeps its oxygen in an ester,
the carbonyl oxygen of an acid stays and its hydroxyl leaves.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from interp.results.errors import BadInput
from interp.tasks.reactions import AtomMap, Graph, is_atom, model_tokens, parse, tokenize

Writing = Literal["tidy", "random"]

# Substituents by kind. An entry begins with the atom it is attached by. `primary` leaves out what would
# rather eliminate than be substituted; `poor_aryl` holds rings that are electron-poor enough to lose
# fluoride.
_POOL_TEXT = {
    "alkyl": (
        "C CC CCC CCCC CCCCCC CC(C)C C(C)C C1CCCCC1 C1CCCC1 CC1CCCCC1 C1CCOCC1 CCOC CCc1ccccc1 Cc1ccccc1 "
        "Cc1ccc(OC)cc1 Cc1ccc(Cl)cc1 Cc1cccnc1 CCC(F)(F)F"
    ),
    "primary": (
        "C CC CCC CCCC CCCCCC CC(C)C CC1CCCCC1 CCOC CCc1ccccc1 Cc1ccccc1 Cc1ccc(OC)cc1 Cc1ccc(Cl)cc1 "
        "Cc1cccnc1 CCC(F)(F)F"
    ),
    "aryl": (
        "c1ccccc1 c1ccc(C)cc1 c1ccc(OC)cc1 c1ccc(F)cc1 c1ccc(Cl)cc1 c1cccc(C)c1 c1cccc(OC)c1 c1cccc(F)c1 "
        "c1ccccc1C c1ccccc1F c1ccccc1OC c1ccc(C(F)(F)F)cc1 c1cccnc1 c1ccncc1 c1cccs1 c1ccsc1 c1ccco1 "
        "c1ccc2ccccc2c1 c1cccc2ccccc12 c1ccc(C(C)(C)C)cc1 c1cc(C)cc(C)c1 c1ccc2c(c1)OCO2"
    ),
    "poor_aryl": (
        "c1ccc([N+](=O)[O-])cc1 c1ccccc1[N+](=O)[O-] c1ccc(C#N)cc1 c1ccccc1C#N c1ncccn1 c1ccc(C(C)=O)cc1 "
        "c1ccc(C(F)(F)F)cn1 c1ccc([N+](=O)[O-])cn1"
    ),
    "amine": (
        "NCC NCCC NCCCC NC(C)C NC1CCCCC1 NC1CC1 NCCOC NCc1ccccc1 NCCc1ccccc1 NCc1ccc(F)cc1 NCc1ccco1 "
        "N(C)Cc1ccccc1 N(CC)CC N1CCCC1 N1CCCCC1 N1CCOCC1 N1CCN(C)CC1 N1CCc2ccccc2C1 N1CCC(C)CC1 NCC(C)C"
    ),
    "primary_amine": (
        "NCCC NC(C)C NC1CCCCC1 NCCOC NCc1ccccc1 NCCc1ccccc1 NCc1ccc(F)cc1 NCc1ccco1 NCC(C)C NCCCC"
    ),
    "alcohol": (
        "OC OCC OCCC OC(C)C OCCCC OCC(C)C OC1CCCCC1 OCc1ccccc1 OCCc1ccccc1 OCCOC OCC=C OCC(F)(F)F "
        "OCc1ccc(OC)cc1"
    ),
    "phenol": (
        "Oc1ccccc1 Oc1ccc(C)cc1 Oc1ccc(OC)cc1 Oc1ccc(F)cc1 Oc1ccc(Cl)cc1 Oc1cccc(C)c1 Oc1ccc(C=O)cc1 "
        "Oc1ccc2ccccc2c1 Oc1ccccc1Cl Oc1ccc(C#N)cc1 Oc1cccnc1 Oc1ccc([N+](=O)[O-])cc1"
    ),
    "thiol": ("SCC SCCCC SC(C)C SC1CCCCC1 Sc1ccccc1 Sc1ccc(C)cc1 Sc1ccc(F)cc1 Sc1ccccn1 SCc1ccccc1 SCCO"),
}
POOLS: Mapping[str, tuple[str, ...]] = {name: tuple(text.split()) for name, text in _POOL_TEXT.items()}
SPECTATORS = ("CCN(CC)CC", "ClCCl", "CN(C)C=O", "C1CCOC1", "CCO", "CCOC(C)=O", "CC#N", "Cc1ccccc1")


@dataclass(frozen=True)
class Reaction:
    """One reaction with its known atom map.

    `smiles` is reactants>>products, `atom_map` holds (product, reactant) positions in the model's input
    (`[CLS]` is 0) for every product atom, `substituents` names what was put in each slot of the template.
    """

    smiles: str
    template: str
    substituents: dict[str, str]
    atom_map: AtomMap

    @property
    def tokens(self) -> list[str]:
        """What stands at each position of the model's input."""
        return model_tokens(self.smiles)


@dataclass(frozen=True)
class Template:
    """One kind of reaction; `formed` is the number of bonds between heavy atoms that it makes."""

    name: str
    text: str
    formed: int = 1

    @property
    def slots(self) -> tuple[str, ...]:
        """The substituents it takes, such as ("acyl", "amine"); a final digit tells two of one pool apart."""
        return tuple(dict.fromkeys(re.findall(r"\{([a-z]\w*)\}", self.text)))

    def choices(self) -> list[dict[str, str]]:
        """Every way to fill the slots."""
        pools = [_pool(slot) for slot in self.slots]
        return [dict(zip(self.slots, chosen, strict=True)) for chosen in product(*pools)]

    def react(
        self,
        substituents: Mapping[str, str],
        spectators: Sequence[str] = (),
        seed: int = 0,
        writing: Writing = "tidy",
    ) -> Reaction:
        """The reaction with these substituents, its molecules in an order drawn from `seed`.

        `spectators` are molecules added to the reactants that nothing in the product comes from. `writing`
        "tidy" writes each molecule much as canonical SMILES would, "random" starts and branches anywhere.
        Raises BadInput if a slot is not filled or a substituent is not SMILES.
        """
        missing = [slot for slot in self.slots if slot not in substituents]
        if missing:
            raise BadInput(f"template '{self.name}' needs a substituent for: {', '.join(missing)}")
        rng = random.Random(seed)
        left, right = (_assemble(side, substituents) for side in self.text.split(">>"))
        for molecule in spectators:
            left = _merge(left, parse(tokenize(molecule)), [None] * len(parse(tokenize(molecule)).atoms))
        text_left, origins = _write(left, rng, writing)
        text_right, goals = _write(right, rng, writing)
        position = {name: p + 1 for p, name in origins}  # [CLS] comes first
        shift = len(tokenize(text_left)) + 2  # [CLS] and >>
        pairs = sorted((p + shift, position[name]) for p, name in goals)
        known = AtomMap(tuple(pairs), (1.0,) * len(pairs))
        return Reaction(f"{text_left}>>{text_right}", self.name, dict(substituents), known)


TEMPLATES = (
    Template("fischer esterification", "O{1}=C{2}({acyl})O.{alcohol}>>O{1}=C{2}({acyl}){alcohol}"),
    Template("amide coupling", "O{1}=C{2}({acyl})O.{amine}>>O{1}=C{2}({acyl}){amine}"),
    Template("amide from acid chloride", "O{1}=C{2}({acyl})Cl.{amine}>>O{1}=C{2}({acyl}){amine}"),
    Template("ester from acid chloride", "O{1}=C{2}({acyl})Cl.{alcohol}>>O{1}=C{2}({acyl}){alcohol}"),
    Template("sulfonamide", "O{1}=S{2}(=O{3})({aryl})Cl.{amine}>>O{1}=S{2}(=O{3})({aryl}){amine}"),
    Template("amine alkylation", "Br{primary}.{amine}>>{amine}{primary}"),
    Template("williamson ether", "Br{primary}.{phenol}>>{phenol}{primary}"),
    Template("thioether", "Br{primary}.{thiol}>>{thiol}{primary}"),
    Template("reductive amination", "O=C{1}{aryl}.{primary_amine}>>{primary_amine}C{1}{aryl}"),
    Template("suzuki coupling", "OB(O){aryl}.Br{aryl2}>>{aryl}-{aryl2}"),
    Template("sonogashira coupling", "C{1}#C{2}{alkyl}.I{aryl}>>{alkyl}C{2}#C{1}{aryl}"),
    Template("nucleophilic aromatic substitution", "F{poor_aryl}.{amine}>>{amine}{poor_aryl}"),
    Template("nitrile hydration", "N{1}#C{2}{acyl}.O{3}>>N{1}C{2}({acyl})=O{3}"),
    Template("ketone reduction", "O{1}=C{2}({alkyl}){aryl}.[Na+].[BH4-]>>O{1}C{2}({alkyl}){aryl}", formed=0),
    Template("nitro reduction", "[O-][N+]{1}(=O){aryl}.[H][H]>>N{1}{aryl}", formed=0),
    Template(
        "boc protection",
        "C{1}C{2}(C{3})(C{4})O{5}C{6}(=O{7})OC(=O)OC(C)(C)C.{amine}"
        ">>C{1}C{2}(C{3})(C{4})O{5}C{6}(=O{7}){amine}",
    ),
    Template("boc deprotection", "CC(C)(C)OC(=O){amine}.Cl>>{amine}", formed=0),
    Template("urea from isocyanate", "O{1}=C{2}=N{3}{aryl}.{amine}>>O{1}=C{2}(N{3}{aryl}){amine}"),
    Template(
        "azide alkyne cycloaddition",
        "[N-]{1}=[N+]{2}=N{3}{primary}.C{4}#C{5}{aryl}>>c{4}1c{5}(-{aryl})n{1}n{2}n{3}1{primary}",
        formed=2,
    ),
)


def generate(
    n: int,
    seed: int,
    templates: Sequence[Template] = TEMPLATES,
    writing: Writing = "tidy",
    spectators: bool = True,
) -> list[Reaction]:
    """`n` distinct reactions, the templates in turn, substituents and spectators drawn from `seed`.

    With `spectators` half of the reactions get one solvent or base among their reactants.
    Raises BadInput if the templates do not hold that many.
    """
    rng = random.Random(seed)
    decks = {t.name: t.choices() for t in templates}
    if n > sum(map(len, decks.values())):
        raise BadInput(
            f"asked for {n} reactions, the templates make {sum(map(len, decks.values()))} different ones"
        )
    for deck in decks.values():
        rng.shuffle(deck)
    reactions: list[Reaction] = []
    while len(reactions) < n:
        for template in templates:
            if decks[template.name] and len(reactions) < n:
                extra = [rng.choice(SPECTATORS)] if spectators and rng.random() < 0.5 else []
                chosen = decks[template.name].pop()
                reactions.append(template.react(chosen, extra, rng.randrange(2**32), writing))
    return reactions


def _pool(slot: str) -> Sequence[str]:
    if slot in ("acyl", "acyl2"):  # whatever can sit on a carbonyl or a nitrile
        return POOLS["alkyl"] + POOLS["aryl"]
    return POOLS[slot.rstrip("0123456789")]


Name = (
    tuple[str, int] | None
)  # an atom that appears on both sides: (slot or "", number); None for one that does not
Named = tuple[Graph, list[Name]]


def _assemble(side: str, substituents: Mapping[str, str]) -> Named:
    """One side of a template with its slots filled, and the name of every atom."""
    tokens: list[str] = []
    marks: list[tuple[int, str]] = []  # (index in tokens of the atom, label or slot)
    for piece in re.findall(r"\{\w+\}|[^{}]+", side):
        if not piece.startswith("{"):
            tokens += tokenize(piece)
        elif piece[1].isdigit():
            marks.append((len(tokens) - 1, piece[1:-1]))
        else:
            marks.append((len(tokens), piece[1:-1]))
            tokens.append("*")  # the place of the substituent while the template is read
    graph = parse(tokens)
    mark = dict(marks)
    labels = [mark.get(p) for p in graph.positions]
    named: Named = (graph, [("", int(label)) if label and label.isdigit() else None for label in labels])
    for place, label in enumerate(labels):
        if label and not label.isdigit():
            fragment = parse(tokenize(substituents[label]))
            named = _attach(named, place, fragment, label)
    kept = [a for a in range(len(named[0].atoms)) if named[0].atoms[a] != "*"]
    return _restrict(named, kept)


def _merge(named: Named, other: Graph, names: list[Name]) -> Named:
    """Both sets of molecules side by side."""
    graph, old = named
    shift = len(graph.atoms)
    bonds = graph.bonds | {(a + shift, b + shift): bond for (a, b), bond in other.bonds.items()}
    return Graph(graph.atoms + other.atoms, graph.positions + other.positions, bonds), old + names


def _attach(named: Named, place: int, fragment: Graph, slot: str) -> Named:
    """The fragment added, the bonds of the atom at `place` moved to its first atom."""
    first = len(named[0].atoms)
    graph, names = _merge(named, fragment, [(slot, i) for i in range(len(fragment.atoms))])
    moved = {}
    for (a, b), bond in graph.bonds.items():
        a, b = (first if x == place else x for x in (a, b))
        moved[min(a, b), max(a, b)] = bond
    return Graph(graph.atoms, graph.positions, moved), names


def _restrict(named: Named, kept: list[int]) -> Named:
    graph, names = named
    new = {a: i for i, a in enumerate(kept)}
    bonds = {(new[a], new[b]): bond for (a, b), bond in graph.bonds.items() if a in new and b in new}
    atoms, positions = tuple(graph.atoms[a] for a in kept), tuple(graph.positions[a] for a in kept)
    return Graph(atoms, positions, bonds), [names[a] for a in kept]


def _write(
    named: Named, rng: random.Random, writing: Writing
) -> tuple[str, list[tuple[int, tuple[str, int]]]]:
    """SMILES with the molecules in random order, and (token index, name) of the atoms that have a name."""
    graph, names = named
    molecules = _Writer(graph, rng if writing == "random" else None).molecules()
    rng.shuffle(molecules)
    tokens: list[str] = []
    where: list[tuple[int, tuple[str, int]]] = []
    for written, order in molecules:
        tokens += ["."] if tokens else []
        atoms = (len(tokens) + i for i, token in enumerate(written) if is_atom(token))
        where += [(p, name) for p, a in zip(atoms, order, strict=True) if (name := names[a]) is not None]
        tokens += written
    return "".join(tokens), where


class _Writer:
    """Writes a graph as SMILES: a spanning tree per molecule, every other bond a pair of ring digits."""

    def __init__(self, graph: Graph, rng: random.Random | None) -> None:
        self.graph, self.rng = graph, rng
        self.neighbours = graph.neighbours()
        self.depth: dict[int, int] = {}
        self.children: dict[int, list[int]] = {}
        self.size: dict[int, int] = {}  # atoms in the subtree
        self.low: dict[int, int] = {}  # least depth that a ring bond of the subtree reaches
        self.closures: dict[int, list[tuple[int, int]]] = {a: [] for a in range(len(graph.atoms))}
        self.digits: dict[tuple[int, int], int] = {}

    def molecules(self) -> list[tuple[list[str], list[int]]]:
        """For each molecule its tokens and its atoms in the order written."""
        written = []
        for atom in range(len(self.graph.atoms)):
            if atom not in self.depth:
                component = self._component(atom)
                start = self.rng.choice(component) if self.rng else min(component, key=self._start_key)
                self._explore(start, None)
                tokens: list[str] = []
                order: list[int] = []
                self._emit(start, tokens, order)
                written.append((tokens, order))
        return written

    def _component(self, atom: int) -> list[int]:
        seen, waiting = {atom}, [atom]
        while waiting:
            new = set(self.neighbours[waiting.pop()]) - seen
            seen |= new
            waiting += new
        return sorted(seen)

    def _start_key(self, atom: int) -> tuple[bool, bool, bool, int]:
        # The habit of canonical SMILES: a chain end, carbon before others, then a doubly bonded oxygen.
        near = self.neighbours[atom]
        double = any(self._bond(atom, b) for b in near)
        return len(near) > 1, self.graph.atoms[atom] != "C", not double, atom

    def _bond(self, a: int, b: int) -> str:
        return self.graph.bonds[min(a, b), max(a, b)]

    def _explore(self, atom: int, parent: int | None) -> None:
        self.depth[atom] = 0 if parent is None else self.depth[parent] + 1
        self.children[atom], self.size[atom], self.low[atom] = [], 1, self.depth[atom]
        near = [b for b in self.neighbours[atom] if b != parent]
        if self.rng:
            self.rng.shuffle(near)
        for b in near:
            if b not in self.depth:
                self._explore(b, atom)
                self.children[atom].append(b)
                self.size[atom] += self.size[b]
                self.low[atom] = min(self.low[atom], self.low[b])
            elif self.depth[b] < self.depth[atom]:
                self.closures[atom].append((b, atom))
                self.closures[b].append((b, atom))
                self.low[atom] = min(self.low[atom], self.depth[b])
        if not self.rng:  # short branches first, the rest of a ring last
            ring = {b: self.low[b] <= self.depth[atom] for b in self.children[atom]}
            self.children[atom].sort(key=lambda b: (ring[b], self.size[b], not self._bond(atom, b)))

    def _emit(self, atom: int, tokens: list[str], order: list[int]) -> None:
        tokens.append(self.graph.atoms[atom])
        order.append(atom)
        finished = []
        for ring in self.closures[atom]:
            if ring in self.digits:
                finished.append(ring)
            else:
                self.digits[ring] = next(d for d in range(1, 100) if d not in self.digits.values())
                tokens += [self._bond(*ring)] if self._bond(*ring) else []
            digit = self.digits[ring]
            tokens.append(str(digit) if digit < 10 else f"%{digit}")
        for ring in finished:  # only now, so that no digit is closed and opened on one atom
            del self.digits[ring]
        for i, child in enumerate(self.children[atom]):
            last = i == len(self.children[atom]) - 1
            tokens += [] if last else ["("]
            tokens += [self._bond(atom, child)] if self._bond(atom, child) else []
            self._emit(child, tokens, order)
            tokens += [] if last else [")"]
