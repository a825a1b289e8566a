"""Reaction text, the known atom maps of the templates, and what the embedded model recovers of them."""

import math
import random
from collections import Counter

import pytest
import torch

from interp.garden.fetch import load_real
from interp.tasks.reaction_templates import TEMPLATES, generate
from interp.tasks.reactions import (
    MAPPING_HEAD,
    MAPPING_LAYER,
    AtomMap,
    correct_atoms,
    element,
    encode,
    is_atom,
    map_atoms,
    model_tokens,
    parse,
    read_atom_map,
    smiles_tokenizer,
    symmetry_classes,
    tokenize,
    vocabulary,
)

ESTER = "CC(=O)Cl.OCc1ccccc1>>CC(=O)OCc1ccccc1"


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return load_real("rxnmapper")[0]


def test_tokenize_keeps_every_character():
    smiles = "C[C@@H](Br)c1cc[nH]c1.[Na+].Cl%10>>O=C([O-])/C=C/C"
    tokens = tokenize(smiles)
    assert "".join(tokens) == smiles
    assert {"[C@@H]", "Br", "[nH]", "Cl", "%10", ">>"} <= set(tokens)


def test_tokenize_names_what_it_cannot_read():
    with pytest.raises(ValueError, match="character 'X' at 2"):
        tokenize("CCXC")


@pytest.mark.parametrize("text", ["CCO", "CCO>>", ">>CCO", "C>>C>>C", ""])
def test_model_tokens_wants_reactants_and_products(text):
    with pytest.raises(ValueError, match="not a reaction"):
        model_tokens(text)


def test_encode_refuses_what_the_model_cannot_take():
    with pytest.raises(ValueError, match="514 tokens, the model takes at most 512"):
        encode(["C" * 510 + ">>C"])
    with pytest.raises(ValueError, match="list of at least one"):
        encode([])
    with pytest.raises(ValueError, match="list of at least one"):
        encode(ESTER)


def test_encode_pads_on_the_right_and_agrees_with_the_fast_tokenizer():
    batch = encode([ESTER, "C>>C"])
    ids = vocabulary()
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, len(model_tokens(ESTER)))
    assert batch["input_ids"][1, :6].tolist() == [ids[t] for t in ("[CLS]", "C", ">>", "C", "[SEP]", "[PAD]")]
    assert batch["attention_mask"].sum(1).tolist() == [len(model_tokens(ESTER)), 5]
    fast = smiles_tokenizer()([ESTER, "C>>C"], padding=True)
    assert fast["input_ids"] == batch["input_ids"].tolist()


def test_element_ignores_aromaticity_charge_and_isotope():
    assert [element(t) for t in ("n", "[nH]", "[NH4+]", "Cl", "[Na+]", "[2H]", "c")] == [
        "N", "N", "N", "Cl", "Na", "H", "C",
    ]  # fmt: skip


def test_parse_reads_branches_and_rings():
    graph = parse(tokenize("CC(=O)Oc1ccccc1.[Na+]"))
    degrees = [len(near) for near in graph.neighbours()]
    assert degrees == [1, 3, 1, 2, 3, 2, 2, 2, 2, 2, 0]
    assert graph.bonds[(1, 2)] == "="
    with pytest.raises(ValueError, match="not closed"):
        parse(tokenize("c1ccccc"))


def test_symmetry_classes_of_toluene():
    colours = symmetry_classes(parse(tokenize("Cc1ccccc1")))
    assert colours[2] == colours[6] and colours[3] == colours[5]
    assert len(set(colours)) == 5


def test_correct_atoms_accepts_symmetry_and_nothing_else():
    reaction = "Clc1ccccc1.O>>Oc1ccccc1"
    tokens = model_tokens(reaction)
    left = [p for p, t in enumerate(tokens) if is_atom(t) and p < tokens.index(">>")]
    right = [p for p, t in enumerate(tokens) if is_atom(t) and p > tokens.index(">>")]
    truth = AtomMap(tuple(zip(right, [left[7], *left[1:7]])), (1.0,) * 7)  # the oxygen comes from water
    mirrored = AtomMap(tuple(zip(right, [left[7], left[1], *left[6:1:-1]])), (1.0,) * 7)
    assert all(correct_atoms(mirrored, truth, tokens))
    shifted = AtomMap(tuple(zip(right, [left[7], left[2], left[1], *left[3:7]])), (1.0,) * 7)
    assert correct_atoms(shifted, truth, tokens) == [True, False, False, True, True, True, True]
    assert correct_atoms(AtomMap((), ()), truth, tokens) == [False] * 7


def test_templates_make_many_distinct_reactions_from_a_seed():
    assert len(TEMPLATES) >= 12
    reactions = generate(400, seed=3)
    assert len({r.smiles for r in reactions}) == 400
    assert reactions == generate(400, seed=3)
    assert reactions != generate(400, seed=4)
    assert len(Counter(r.template for r in reactions)) == len(TEMPLATES)
    with pytest.raises(ValueError, match="the templates make"):
        generate(10**6, seed=0)


@pytest.mark.parametrize("writing", ["tidy", "random"])
def test_known_maps_are_one_to_one_and_keep_elements_and_bonds(writing):
    formed = {t.name: t.formed for t in TEMPLATES}
    for reaction in generate(300, seed=1, writing=writing):
        tokens = reaction.tokens
        origin = dict(reaction.atom_map.pairs)
        arrow = tokens.index(">>")
        assert sorted(origin) == [p for p, t in enumerate(tokens) if p > arrow and is_atom(t)], (
            reaction.smiles
        )
        assert len(set(origin.values())) == len(origin) and max(origin.values()) < arrow
        assert all(element(tokens[p]) == element(tokens[r]) for p, r in origin.items()), reaction.smiles
        graph = parse(tokens)
        bonds = {frozenset((graph.positions[a], graph.positions[b])) for a, b in graph.bonds}
        new = [b for b in bonds if min(b) > arrow and frozenset(origin[p] for p in b) not in bonds]
        assert len(new) == formed[reaction.template], reaction.smiles


def test_valences_are_possible():
    most = {"C": 4, "N": 4, "O": 2, "S": 6, "F": 1, "Cl": 1, "Br": 1, "I": 1, "B": 3, "H": 1, "Na": 0}
    order = {"": 1, "-": 1, "=": 2, "#": 3}
    for reaction in generate(300, seed=2):
        graph = parse(reaction.tokens)
        used = Counter()
        for (a, b), bond in graph.bonds.items():
            used[a] += order[bond]
            used[b] += order[bond]
        for atom, token in enumerate(graph.atoms):
            limit = most[element(token)] - token.islower() * (
                element(token) == "C"
            )  # aromatic: one is shared
            assert used[atom] <= limit, (reaction.smiles, token)


def test_random_writing_changes_the_text_and_not_the_molecules():
    template, choice = TEMPLATES[1], TEMPLATES[1].choices()[77]
    tidy = template.react(choice)
    other = template.react(choice, writing="random", seed=5)
    assert tidy.smiles != other.smiles

    def fingerprint(reaction):
        graph = parse(reaction.tokens)
        return Counter(zip(graph.atoms, map(len, graph.neighbours()))), Counter(graph.bonds.values())

    assert fingerprint(tidy) == fingerprint(other)


def test_a_missing_substituent_is_named():
    with pytest.raises(ValueError, match="needs a substituent for: amine"):
        TEMPLATES[1].react({"acyl": "C"})


def test_read_atom_map_of_a_planted_pattern():
    tokens = model_tokens("NCC.OC>>CCO")  # pattern says: C <- 2nd C, C <- 1st C, O <- O
    planted = torch.full((len(tokens), len(tokens)), 1e-3)
    for product, reactant in ((8, 3), (9, 2), (10, 5)):
        planted[product, reactant] = 1.0
    for method in ("argmax", "published"):
        assert read_atom_map(planted, tokens, method).pairs == ((8, 3), (9, 2), (10, 5))
    planted[10, 1] = 5.0  # an oxygen cannot come from a nitrogen
    assert read_atom_map(planted, tokens, "argmax").pairs[2] == (10, 1)
    assert read_atom_map(planted, tokens, "published").pairs[2] == (10, 5)


def test_read_atom_map_refuses_a_pattern_that_does_not_fit():
    with pytest.raises(ValueError, match="reaction has 5 tokens"):
        read_atom_map(torch.ones(4, 4), model_tokens("C>>C"))
    with pytest.raises(ValueError, match="published, argmax"):
        read_atom_map(torch.ones(5, 5), model_tokens("C>>C"), "best")


def test_head_maps_the_benzyl_acetate_reaction(model):
    tokens = model_tokens(ESTER)
    for method in ("argmax", "published"):
        (found,) = map_atoms([ESTER], model, method)
        assert len(found.pairs) == 11 and len({r for _, r in found.pairs}) == 11
        assert [tokens[p] for p, _ in found.pairs] == [tokens[r] for _, r in found.pairs]
        assert dict(found.pairs)[26] == 9  # the ester's oxygen is the alcohol's


@pytest.mark.parametrize(
    ("reaction", "confidence"),
    [
        ("CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F", 0.9565619900376546),
        ("C(C)O.BrC(C)>>CCOCC", 0.9754605679009868),
        ("CCO.BrCFC>>CCOCFC", 0.9730222157275086),
    ],
)
def test_confidence_equals_the_one_published_with_the_model(model, reaction, confidence):
    (found,) = map_atoms([reaction], model)
    assert math.prod(found.confidence) == pytest.approx(confidence, abs=1e-6)


def test_padding_does_not_change_a_map(model):
    alone = map_atoms([ESTER], model)[0]
    padded = map_atoms([ESTER, generate(20, seed=0)[-1].smiles], model)[0]
    assert padded.pairs == alone.pairs
    assert padded.confidence == pytest.approx(alone.confidence, abs=1e-4)


def test_head_recovers_the_known_maps_and_other_heads_do_not(model):
    reactions = generate(95, seed=0)
    inputs = encode([r.smiles for r in reactions])
    with torch.no_grad():
        patterns = model(**inputs, output_attentions=True).attentions[MAPPING_LAYER]
    right: Counter[tuple[int, str]] = Counter()
    total = 0
    for row, reaction in zip(patterns, reactions):
        n = len(reaction.tokens)
        total += len(reaction.atom_map.pairs)
        for head, method in (
            (MAPPING_HEAD, "published"),
            (MAPPING_HEAD, "argmax"),
            (2, "argmax"),
            (0, "argmax"),
        ):
            found = read_atom_map(row[head, :n, :n], reaction.tokens, method)
            right[head, method] += sum(correct_atoms(found, reaction.atom_map, reaction.tokens))
    assert right[MAPPING_HEAD, "published"] / total > 0.985  # measured 0.999 on 380 reactions
    assert right[MAPPING_HEAD, "argmax"] / total > 0.92  # measured 0.95
    assert right[2, "argmax"] / total < 0.6
    assert right[0, "argmax"] / total < 0.2


def test_correct_atoms_of_a_shuffled_map_is_near_chance(model):
    rng = random.Random(0)
    right = total = 0
    for reaction in generate(57, seed=0):
        products, reactants = zip(*reaction.atom_map.pairs)
        wrong = AtomMap(tuple(zip(products, rng.sample(reactants, len(reactants)))), (1.0,) * len(products))
        verdict = correct_atoms(wrong, reaction.atom_map, reaction.tokens)
        right, total = right + sum(verdict), total + len(verdict)
    assert right / total < 0.2
