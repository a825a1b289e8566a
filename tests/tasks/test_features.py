"""similarity, digits and patches: tasks of models whose output is features or classes, solved by a rule each."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.garden.loading import load
from interp.results import BadInput
from interp.tasks import task
from interp.tasks.audit import measure
from interp.tasks.digits import held_out, trained_on
from interp.tasks.patches import PHOTOGRAPHS, SIDE, _tiles
from interp.tasks.task import ids_of
from tests.tasks.small import ByRule, bpe, llama, word_level


def bag_of_words(make) -> ByRule:
    """An encoder whose feature of a token says which token it is."""
    tokenizer = make()
    model = ByRule(lambda ids: torch.nn.functional.one_hot(ids, len(tokenizer)).float(), tokenizer)
    model.map = SimpleNamespace(unembed=None)
    return model


class Blur:
    """An encoder of images: the feature of a patch is the mean colour of the patches around it, itself left out."""

    name, tokenizer = "blur", None

    def __init__(self, patch: int = 14, before: int = 1):
        self.patch, self.before = patch, before

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        means = torch.nn.functional.avg_pool2d(pixels, self.patch)
        around = torch.nn.functional.avg_pool2d(means, 3, 1, 1, count_include_pad=False)
        found = (9 * around - means).flatten(2).transpose(1, 2) / 8
        return torch.cat([torch.zeros(len(found), self.before, 3), found], 1)


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 40))
@pytest.mark.parametrize("make", [bpe, word_level])
def test_similarity_is_aligned_and_its_parts_share_nothing(make, seed, n):
    model = bag_of_words(make)
    t = task("similarity", model, n=n, seed=seed)
    assert len(t) == n and t.audit().ok, t.audit().frame()
    assert ((ids_of(t.clean) != ids_of(t.corrupt)).sum(1) == 1).all()


def test_similarity_is_solved_by_the_words_that_sentences_share():
    model = bag_of_words(bpe)
    t = task("similarity", model, n=40)
    clean, right = measure(t, model, t.clean)
    corrupt, _ = measure(t, model, t.corrupt)
    assert right.all() and (clean > 0).all() and (corrupt < 0).all() and t.audit(model).ok
    for row in range(0, 40, 7):  # the metric, spelled out
        ids, same, other = (bpe().encode(t.prompts[column][row]) for column in ("clean", "same", "other"))
        one, two, three = (torch.bincount(torch.tensor(x), minlength=len(bpe())).double() for x in (ids, same, other))
        cosine = [float(one @ x / one.norm() / x.norm()) for x in (two, three)]
        assert clean[row] == pytest.approx(cosine[0] - cosine[1], abs=1e-6)


def test_similarity_is_for_encoders():
    with pytest.raises(BadInput, match="tiny-llama predicts tokens: give an encoder"):
        task("similarity", llama(bpe()))
    with pytest.raises(BadInput, match="no model was given"):
        task("similarity", tokenizer=bpe())


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 100))
def test_digits_are_images_that_were_not_trained_on(seed, n):
    t = task("digits", n=n, seed=seed)
    assert len(t) == n and t.audit().ok, t.audit().frame()
    pixels, labels = held_out()
    for row in range(n):
        at = int(t.prompts["image"][row].split()[1])
        assert torch.equal(t.clean[row], pixels[at]) and str(int(labels[at])) == t.prompts["answer"][row]
    assert (t.metric.correct != t.metric.wrong).all()


def test_the_two_parts_of_the_digits_share_no_image_but_those_that_came_twice():
    (one, _), (other, _) = trained_on(), held_out()
    assert one.shape == (1197, 1, 8, 8) and other.shape == (600, 1, 8, 8)
    assert float(one.min()) == -1 and float(one.max()) == 1
    seen = {tuple(image.flatten().tolist()) for image in one}
    assert not any(tuple(image.flatten().tolist()) in seen for image in other)


def test_digits_vit_does_the_task():
    audit = task("digits", load("garden/digits-vit"), n=100).audit(load("garden/digits-vit"))
    assert audit.ok and audit["accuracy"].value.value > 0.95, audit.frame()
    with pytest.raises(BadInput, match="gray images of 8 x 8 and 10 classes, which induction-1l does not take"):
        task("digits", load("garden/induction-1l"))


@pytest.mark.parametrize(("model", "hidden"), [(Blur(), 1), (Blur(before=0), 1), (Blur(patch=16), 1), (Blur(), 3)])
def test_patches_are_hidden_in_both_images_and_read_where_they_are(model, hidden):
    t = task("patches", model, n=40, hidden=hidden)
    assert t.audit().ok, t.audit().frame()
    tiles = _tiles()
    for row in t.prompts.itertuples():
        for image, tile in ((t.clean[row.Index], row.tile), (t.corrupt[row.Index], row.other)):
            photograph, number = tile.split()
            changed = (image != tiles[photograph][int(number)]).any(0)
            assert (image[:, changed] == 0).all() and changed.sum() == (hidden * model.patch) ** 2
            where = changed.nonzero().float().mean(0) // model.patch
            assert where.tolist() == [row.row, row.column]
    grid = SIDE // model.patch
    assert (t.metric.positions == torch.tensor((t.prompts["row"] * grid + t.prompts["column"]).to_numpy())
            + model.before).all()


def test_patches_ask_for_the_class_and_the_counterfactual_turns_it_round():
    model = Blur()
    t = task("patches", model, n=60)
    clean, right = measure(t, model, t.clean)
    corrupt, _ = measure(t, model, t.corrupt)
    assert right.mean() > 0.6  # by mean colours alone
    for row in t.prompts.itertuples():  # the partner of a row has its images exchanged
        partner = t.prompts.index[(t.prompts["tile"] == row.other) & (t.prompts["row"] == row.row)
                                  & (t.prompts["column"] == row.column)]
        assert any(abs(clean[i] + corrupt[row.Index]) < 1e-4 for i in partner) or not len(partner)


def test_patches_line_has_the_class_means_at_one_and_minus_one():
    model = Blur()
    t = task("patches", model, n=12)
    used = {*t.prompts["tile"], *t.prompts["other"]}
    direction = t.metric.directions * torch.tensor([1.0 if p == PHOTOGRAPHS[0] else -1.0
                                                    for p in t.prompts["photograph"]])[:, None]
    assert torch.allclose(direction, direction[:1].expand(12, -1))
    order = {p: [i for i in range(96) if f"{p} {i}" not in used] for p in PHOTOGRAPHS}
    means = [float(((model(_tiles()[p][order[p]])[:, 1:] - t.metric.origins[0]) @ direction[0]).mean())
             for p in PHOTOGRAPHS]
    assert means[0] > 0.5 and means[1] < -0.5  # of all other tiles, the 24 of the fit among them


def test_patches_says_what_it_needs():
    with pytest.raises(BadInput, match="for an encoder of images"):
        task("patches")
    with pytest.raises(BadInput, match="1, 3 or 5 patches, not 2"):
        task("patches", Blur(), hidden=2)
    with pytest.raises(BadInput, match="into 4 x 4 patches: 3 x 3 cannot be hidden"):
        task("patches", Blur(patch=28), hidden=3)
    with pytest.raises(BadInput, match="reads features of patches; pooled gives"):
        task("patches", type("Pooled", (Blur,), {"name": "pooled", "__call__": lambda self, x: x.mean((2, 3))})())
