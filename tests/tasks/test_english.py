"""The tasks of English text: what they say, that a rule which does the task gets them right, and bad input."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.results import BadInput
from interp.tasks import Task, agreement, capitals, ioi, pronoun, task
from interp.tasks.audit import measure
from interp.tasks.corpus import words
from interp.tasks.task import ids_of
from tests.tasks.small import DIGIT, PAIR, TRIPLE, ByRule, bpe, llama, word_level

TOKENIZERS = {"bpe": bpe, "words": word_level}
CASES = [
    ("ioi", {}), ("ioi", {"counterfactual": "swap"}), ("ioi", {"template": 2}), ("agreement", {}),
    ("agreement", {"attractor": "none"}), ("agreement", {"attractor": "opposite"}),
    ("agreement", {"attractor": "same"}),
    ("greater-than", {}), ("greater-than", {"same_digit": "neither"}), ("greater-than", {"century": 17}),
    ("pronoun", {}), ("capitals", {"known": False}), ("docstring", {}), ("docstring", {"counterfactual": "answer"}),
]


def build(name: str, **options) -> Task:
    return task(name, tokenizer=bpe(DIGIT) if name == "greater-than" else bpe(), **options)


@pytest.mark.parametrize(("name", "options"), CASES)
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 60))
def test_every_seed_gives_n_aligned_prompts_in_parts_that_share_nothing(name, options, seed, n):
    t = build(name, n=n, seed=seed, **options)
    audit = t.audit()
    assert len(t) == n and audit.ok, audit.frame()
    again, other = build(name, n=n, seed=seed, **options), build(name, n=n, seed=seed + 1, **options)
    assert torch.equal(ids_of(t.clean), ids_of(again.clean)) and torch.equal(ids_of(t.corrupt), ids_of(again.corrupt))
    assert t.prompts["clean"].tolist() != other.prompts["clean"].tolist()


def text_rule(answer, tokenizer) -> ByRule:
    """A model that reads the prompt as text; `answer(text) -> {continuation: logit}`, said at every position."""

    def rule(ids):
        output = torch.zeros(*ids.shape, len(tokenizer))
        for row, prompt in enumerate(ids):
            for said, logit in answer(tokenizer.decode(prompt, skip_special_tokens=True)).items():
                output[row, :, tokenizer.encode(said)[0]] = logit
        return output

    return ByRule(rule, tokenizer)


def the_other_name(text: str) -> dict[str, float]:
    everyone = set(words("female_names") + words("male_names"))
    first, second, giver = [w for w in re.findall(r"\w+", text) if w in everyone]
    return {f" {name}": 5.0 for name in {first, second} - {giver}}


def verb_of_the_subject(text: str) -> dict[str, float]:
    plural = {form: number for pair in words("nouns") for number, form in enumerate(pair)}
    subject = next(w for w in re.findall(r"\w+", text) if w in plural)
    return {(" is", " are")[plural[subject]]: 5.0}


def of_its_gender(text: str) -> dict[str, float]:
    names = re.findall(r"\w+", text)
    return {said: 5.0 for gender, said in pronoun.PRONOUNS.items() if set(words(f"{gender}_names")) & set(names)}


def next_argument(text: str) -> dict[str, float]:
    arguments = re.search(r"\((.*)\)", text)[1].split(", ")[1:]
    told = re.findall(r":param (\w+):", text)
    return {f" {arguments[2]}": 5.0} if arguments[:2] == told else {}


def of_the_country(text: str, known=None) -> dict[str, float]:
    country = next(name for name in sorted(capitals.countries(), key=len, reverse=True) if name in text)
    right = known is None or country in known
    return {f" {capitals.countries()[country if right else 'Peru']}": 5.0}


def later_tens(text: str) -> dict[str, float]:
    tens = int(re.search(r"year \d\d(\d)", text)[1])
    return {str(digit): 12.0 for digit in range(10) if digit >= tens}


def later_ends(text: str) -> dict[str, float]:
    end = int(re.search(r"year \d\d(\d\d)", text)[1])
    return {f"{later:02d}": 12.0 for later in range(end + 1, 100)}


def solved(name: str, rule, tokenizer, **options):
    model = text_rule(rule, tokenizer)
    t = task(name, model, n=40, **options)
    clean, right = measure(t, model, t.clean)
    corrupt, _ = measure(t, model, t.corrupt)
    return t, clean, corrupt, right


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_ioi_is_solved_by_the_name_said_once(make):
    t, clean, corrupt, right = solved("ioi", the_other_name, make())
    assert right.all() and (clean == 5.0).all() and (corrupt == 0.0).all()
    assert set(t.prompts["order"]) == {"ABBA", "BABA"} and t.baseline == "counterfactual"
    _, clean, corrupt, _ = solved("ioi", the_other_name, make(), counterfactual="swap")
    assert (clean == 5.0).all() and (corrupt == -5.0).all()  # the answer is turned round


def test_ioi_abc_has_three_other_names_and_swap_one_other_token():
    t = build("ioi", n=40)
    everyone = set(words("female_names") + words("male_names"))
    for row in t.prompts.itertuples():
        told, other = ([w for w in re.findall(r"\w+", text) if w in everyone] for text in (row.clean, row.corrupt))
        assert sorted(set(told)) == sorted({row.io, row.s}) and told.count(row.s) == 2
        assert len(set(other)) == 3 and not set(other) & set(told)
    swap = build("ioi", n=40, counterfactual="swap")
    assert ((ids_of(swap.clean) != ids_of(swap.corrupt)).sum(1) == 1).all()


def test_ioi_of_one_template_has_one_length():
    for number in range(len(ioi.TEMPLATES)):
        t = build("ioi", n=12, template=number)
        assert torch.is_tensor(t.clean) and set(t.prompts["template"]) == {number}


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("attractor", ["none", "opposite", "same", "mixed"])
def test_agreement_is_solved_by_the_number_of_the_subject(make, attractor):
    t, clean, corrupt, right = solved("agreement", verb_of_the_subject, make(), attractor=attractor)
    assert right.all() and (clean == 5.0).all() and (corrupt == -5.0).all()
    assert set(t.prompts["number"]) == {"singular", "plural"}
    kinds = {"mixed": {"none", "opposite"}}.get(attractor, {attractor})
    assert set(t.prompts["attractor"]) == kinds


def test_agreement_attractors_have_the_number_they_say():
    number = {form: i for pair in words("nouns") for i, form in enumerate(pair)}
    for kind in ("opposite", "same"):
        for text in build("agreement", n=30, attractor=kind).prompts["clean"]:
            subject, other = (number[w] for w in re.findall(r"\w+", text) if w in number)
            assert (subject == other) == (kind == "same")


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_pronoun_is_solved_by_the_gender_of_the_name(make):
    t, clean, corrupt, right = solved("pronoun", of_its_gender, make())
    assert right.all() and (clean == 5.0).all() and (corrupt == -5.0).all()
    assert set(t.prompts["gender"]) == {"female", "male"}
    assert ((ids_of(t.clean) != ids_of(t.corrupt)).sum(1) == 1).all()
    assert set(build("pronoun", n=100).prompts["template"]) == set(pronoun.TEMPLATES)


def test_docstring_is_solved_by_the_next_argument():
    _, clean, corrupt, right = solved("docstring", next_argument, bpe())
    assert right.all() and (clean == 5.0).all() and (corrupt == 0.0).all()  # what is documented is not defined
    t, clean, corrupt, _ = solved("docstring", next_argument, bpe(), counterfactual="answer")
    assert (clean == 5.0).all() and (corrupt == -5.0).all()
    assert ((ids_of(t.clean) != ids_of(t.corrupt)).sum(1) == 1).all()


def test_capitals_are_those_of_the_countries():
    t, clean, corrupt, right = solved("capitals", of_the_country, bpe())
    assert right.all() and (clean == 5.0).all() and (corrupt == -5.0).all()
    assert set(t.prompts["template"]) == set(capitals.TEMPLATES)
    assert len(capitals.countries()) == 146 and len(set(capitals.countries().values())) == 146


def test_capitals_keeps_what_the_model_knows_when_asked_otherwise():
    known = sorted(capitals.countries())[::2]
    model = text_rule(lambda text: of_the_country(text, known), bpe())
    t = task("capitals", model, n=40)
    assert {*t.prompts["country"], *t.prompts["other"]} <= {*known, "Peru"}
    assert not any(template.split("{")[0] in capitals.ASKED for template in capitals.TEMPLATES[1:])
    pairs = t.prompts.groupby("cluster")["country"].agg(set)
    assert sum(map(len, pairs)) == len(set.union(*pairs))  # no country in two clusters


def test_capitals_of_a_model_that_knows_few_is_an_error():
    with pytest.raises(BadInput, match="needs 12 pairs of countries .* of the 146 .* known"):
        task("capitals", text_rule(lambda text: of_the_country(text, {"France", "Italy"}), bpe()), n=12)


def test_greater_than_by_digits_counts_the_same_digit_as_it_is_told():
    t, clean, corrupt, right = solved("greater-than", later_tens, bpe(DIGIT))
    assert right.all() and (clean > 0.3).all() and (corrupt < clean).all()
    assert t.prompts["year"].mod(100).between(20, 89).all() and len(t.metric.tokens) == 10
    tens = t.prompts["year"].mod(100) // 10
    assert (t.metric.groups.sum(1).numpy() == (10 - tens) - tens).all()
    neither = build("greater-than", n=40, same_digit="neither")
    assert ((neither.metric.groups == 0).sum(1) == 1).all()


def test_greater_than_by_pairs_has_a_token_for_every_end():
    t, clean, corrupt, right = solved("greater-than", later_ends, bpe(PAIR))
    assert right.all() and (corrupt < clean).all() and len(t.metric.tokens) == 100
    ends = t.prompts["year"].mod(100)
    assert (t.metric.groups.sum(1).numpy() == (99 - ends) - (ends + 1)).all()
    told = [int(bpe(PAIR).decode(token)) for token in t.metric.tokens]
    assert told == list(range(100))


def test_a_masked_model_is_asked_at_its_mask():
    t = task("agreement", tokenizer=word_level(mask=True), n=12, attractor="none")
    at = ids_of(t.clean)[torch.arange(12), t.metric.positions]
    assert (at == word_level(mask=True).mask_token_id).all()
    assert task("ioi", tokenizer=word_level(mask=True), n=12).prompts["clean"][0].endswith("to [MASK]")


@pytest.mark.parametrize(("name", "options", "message"), [
    ("ioi", {}, "'ioi' is made of English text and needs a tokenizer, but no model was given"),
    ("ioi", {"tokenizer": word_level(few=True)}, "needs 20 names .* it has 12"),
    ("ioi", {"tokenizer": bpe(), "counterfactual": "swop"}, 'abc and swap, not \'swop\'. Did you mean "swap"'),
    ("ioi", {"tokenizer": bpe(), "template": 9}, "templates 0 to 4, not 9"),
    ("ioi", {"tokenizer": bpe(), "n": 2}, "n=2 prompts; at least 3"),
    ("agreement", {"tokenizer": bpe(), "attractor": "plural"}, "none, opposite, same, mixed, not 'plural'"),
    ("agreement", {"tokenizer": bpe(), "attractor": "none", "n": 5000}, "different prompts for its discover part"),
    ("pronoun", {"tokenizer": word_level(few=True)}, "needs 8 male names .* it has 0"),
    ("capitals", {"tokenizer": bpe()}, "keeps what a model knows: give a model, or known=False"),
    ("docstring", {"tokenizer": bpe(), "counterfactual": "none"}, "random and answer, not 'none'"),
    ("docstring", {"tokenizer": word_level(mask=True)}, "asks for the next token"),
    ("greater-than", {"tokenizer": bpe(TRIPLE)}, r"writes 'the year 1735' as .*'173', '5'"),
    ("greater-than", {"tokenizer": word_level()}, "needs a tokenizer that writes the end of a year"),
    ("greater-than", {"tokenizer": word_level(mask=True)}, "asks for the next token"),
    ("greater-than", {"tokenizer": bpe(DIGIT), "same_digit": "wrong"}, '"correct" or "neither", not \'wrong\''),
    ("greater-than", {"tokenizer": bpe(DIGIT), "century": 7}, "first two digits of the years, 10 to 20, not 7"),
])
def test_bad_input_says_what_to_do(name, options, message):
    with pytest.raises(BadInput, match=message):
        task(name, **options)


def test_a_model_without_a_tokenizer_is_named():
    model = llama(bpe())
    model.tokenizer = None
    with pytest.raises(BadInput, match="tiny-llama has none: give task"):
        task("agreement", model)


def test_every_template_of_the_text_tasks_is_used():
    seen = set(build("agreement", n=200).prompts["template"])
    assert seen == {*agreement.PLAIN, *agreement.WITH_ATTRACTOR}
    assert set(build("ioi", n=100).prompts["template"]) == set(range(len(ioi.TEMPLATES)))
