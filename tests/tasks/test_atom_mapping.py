"""Atom mapping on the embedded reaction model: the causal task, and the reading of the published head."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.adapters.transformers import hook
from interp.garden.fetch import load_real
from interp.results import BadInput, MissingSite
from interp.tasks import LogitDiff, task
from interp.tasks.atom_mapping import pattern_agreement
from interp.tasks.reaction_templates import generate
from interp.tasks.reactions import correct_atoms, element, map_atoms, model_tokens, vocabulary
from tests.tasks.small import bpe, llama


@cache
def rxnmapper():
    module, tokenizer = load_real("rxnmapper")
    return hook(module, name="rxnmapper", tokenizer=tokenizer)


@settings(max_examples=5)
@given(st.integers(0, 10_000), st.integers(3, 60))
def test_every_seed_gives_n_aligned_prompts_in_parts_that_share_nothing(seed, n):
    t = task("atom-mapping", n=n, seed=seed)
    audit = t.audit()
    assert len(t) == n and audit.ok, audit.frame()
    assert torch.equal(t.clean["input_ids"], task("atom-mapping", n=n, seed=seed).clean["input_ids"])
    assert t.prompts["clean"].tolist() != task("atom-mapping", n=n, seed=seed + 1).prompts["clean"].tolist()


def test_the_masked_atom_is_a_product_atom_that_the_counterfactual_has_otherwise():
    t = task("atom-mapping", n=120)
    for row, prompt in enumerate(t.prompts.itertuples()):
        clean, corrupt = model_tokens(prompt.clean), model_tokens(prompt.corrupt)
        arrow = clean.index(">>")
        assert arrow == corrupt.index(">>") and prompt.origin < arrow < prompt.position
        assert clean[prompt.position] == prompt.answer != corrupt[prompt.position] == prompt.wrong
        assert element(clean[prompt.origin]) == element(prompt.answer)
        masked = t.clean["input_ids"][row, prompt.position], t.corrupt["input_ids"][row, prompt.position]
        assert masked == (vocabulary()["[MASK]"],) * 2
        assert t.metric.target[row] == vocabulary()[prompt.answer]
    assert (t.clean["input_ids"] == vocabulary()["[MASK]"]).sum() == 120
    assert t.prompts["template"].nunique() >= 10


def test_the_model_fills_in_the_atom_and_the_counterfactual_takes_it_away():
    audit = task("atom-mapping", rxnmapper(), n=40).audit(rxnmapper())
    assert audit.ok and audit["accuracy"].value.value >= 0.9 and audit["effect"].value.low > 5
    assert audit.warnings  # the model is sure, and the log-probability saturated


def test_logit_difference_is_the_metric_without_saturation():
    t = task("atom-mapping", rxnmapper(), n=20, metric="logit-diff")
    assert isinstance(t.metric, LogitDiff) and not t.audit(rxnmapper()).warnings
    with pytest.raises(BadInput, match="log-prob and logit-diff, not 'logits'"):
        task("atom-mapping", metric="logits")


def test_another_vocabulary_is_refused():
    with pytest.raises(BadInput, match="reaction model 'rxnmapper', whose vocabulary has 591 tokens; tiny-llama"):
        task("atom-mapping", llama(bpe()))


def test_the_published_head_maps_the_atoms():
    found = pattern_agreement(rxnmapper(), n=38, seed=0)
    assert found.site == "blocks.10.attn.hook_pattern" and found.head == 5
    assert found.share.n == 38 == len(found.frame()) and found.share.value >= 0.98
    other = pattern_agreement(rxnmapper(), n=38, seed=0, head=2, method="argmax")
    assert other.share.high < pattern_agreement(rxnmapper(), n=38, seed=0, method="argmax").share.low


def test_pattern_agreement_equals_the_librarys_own_attention():
    """Our hooked pattern against `output_attentions` of the module, read and judged one by one."""
    reactions = generate(10, seed=3)
    found = pattern_agreement(rxnmapper(), reactions)
    for reaction, row in zip(reactions, found.frame().itertuples(), strict=True):
        (alone,) = map_atoms([reaction.smiles], rxnmapper().module)
        right = correct_atoms(alone, reaction.atom_map, reaction.tokens)
        assert (row.correct, row.atoms) == (sum(right), len(right))


def test_pattern_agreement_refuses_what_is_not_there():
    with pytest.raises(MissingSite, match="no site 'blocks.12.attn.hook_pattern'"):
        pattern_agreement(rxnmapper(), n=3, depth=12)
    with pytest.raises(BadInput, match="heads 0 to 7; head 8"):
        pattern_agreement(rxnmapper(), n=3, head=8)
    with pytest.raises(BadInput, match="at least one reaction"):
        pattern_agreement(rxnmapper(), [])
    with pytest.raises(BadInput, match='"published" or "argmax", not \'max\''):
        pattern_agreement(rxnmapper(), n=3, method="max")
