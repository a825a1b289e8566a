"""Metrics against their formulas, and the laws that engines rely on."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.results import BadInput
from interp.tasks import LogitDiff, LogProb, ProbDiff
from interp.tasks.feature_metrics import ClassDiff, Closeness, Projection
from interp.tasks.metrics import rows_of

VOCAB, POS = 7, 5


def three(batch: int, seed: int = 0) -> list:
    """One metric of each kind for `batch` prompts."""
    g = torch.Generator().manual_seed(seed)
    at = torch.randint(POS, (batch,), generator=g)
    ids = torch.randint(VOCAB, (2, batch), generator=g)
    groups = torch.randint(-1, 2, (batch, 3), generator=g)
    return [LogitDiff(at, ids[0], ids[1]), LogProb(at, ids[0]), ProbDiff(at, groups, torch.tensor([6, 0, 3]))]


def logits(batch: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, POS, VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_logit_diff_by_hand():
    output = torch.tensor([[[1.0, 4.0, 0.0]], [[2.0, 2.5, 9.0]]])
    metric = LogitDiff(torch.tensor([0, 0]), torch.tensor([1, 0]), torch.tensor([0, 1]))
    assert metric(output).tolist() == [3.0, -0.5]
    assert metric.accuracy(output).tolist() == [1.0, 0.0]
    assert metric.top1(output).tolist() == [1.0, 0.0]
    assert metric.unit == "logits" and metric.answer_ids().tolist() == [1, 0]


def test_log_prob_by_hand():
    output = torch.tensor([[[0.0, 0.0], [math.log(3.0), 0.0]]])
    metric = LogProb(torch.tensor([1]), torch.tensor([0]))
    assert metric(output).item() == pytest.approx(math.log(0.75))
    assert metric.accuracy(output).item() == 1.0 and metric.unit == "nats"


def test_prob_diff_by_hand():
    output = torch.tensor([[[math.log(0.5), math.log(0.3), math.log(0.2)]]])
    metric = ProbDiff(torch.tensor([0]), torch.tensor([[1, -1]]), torch.tensor([0, 2]))
    assert metric(output).item() == pytest.approx(0.5 - 0.2, abs=1e-6)  # token 1 is in no group and still counts
    assert metric.accuracy(output).item() == 1.0


def test_projection_by_hand():
    output = torch.tensor([[[9.0, 9.0], [3.0, 1.0]]])
    metric = Projection(torch.tensor([1]), torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, 7.0]]))
    assert metric(output).tolist() == [1.0] and metric.accuracy(output).tolist() == [1.0]


def test_class_diff_by_hand():
    output = torch.tensor([[1.0, 4.0, 0.0], [2.0, 2.5, 9.0]])
    metric = ClassDiff(torch.tensor([1, 0]), torch.tensor([0, 2]))
    assert metric(output).tolist() == [3.0, -7.0] and metric.accuracy(output).tolist() == [1.0, 0.0]
    with pytest.raises(BadInput, match="for 2 inputs, .batch, class.; the output has shape"):
        metric(output[:1])


def test_closeness_by_hand():
    output = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [99.0, -99.0]]])
    metric = Closeness(torch.tensor([[1, 1, 0]]), torch.tensor([[3.0, 3.0]]), torch.tensor([[5.0, 0.0]]))
    assert metric(output).item() == pytest.approx(1 - math.sqrt(0.5))  # the mean of the real tokens is (1, 1)
    with pytest.raises(BadInput, match="for .1, 3. prompts and tokens"):
        metric(output[:, :2])


@given(st.integers(1, 9), st.integers(0, 99), st.data())
def test_rows_of_feature_metrics_commute_with_them(batch, seed, data):
    g = torch.Generator().manual_seed(seed)
    index = data.draw(st.lists(st.integers(0, batch - 1), min_size=1, max_size=12))
    a, b, output = (torch.randn(batch, *shape, generator=g) for shape in ((VOCAB,), (VOCAB,), (POS, VOCAB)))
    real = torch.randint(2, (batch, POS), generator=g)
    real[:, 0] = 1
    ids = torch.randint(VOCAB, (2, batch), generator=g)
    for metric, seen in ((Projection(real.argmax(1), a, b), output), (Closeness(real, a, b), output),
                         (ClassDiff(*ids), output[:, 0])):
        torch.testing.assert_close(metric.rows(index)(seen[index]), metric(seen)[index])


@given(st.integers(1, 9), st.integers(0, 99), st.data())
def test_rows_commute_with_the_metric(batch, seed, data):
    index = data.draw(st.lists(st.integers(0, batch - 1), min_size=1, max_size=12))
    for metric in three(batch, seed):
        torch.testing.assert_close(metric.rows(index)(logits(batch)[index]), metric(logits(batch))[index])
        assert len(metric.rows(index)) == len(index)


@pytest.mark.parametrize(
    "index", [slice(1, 3), torch.tensor([2, 0]), np.array([1, 1]), torch.tensor([True, False, True])]
)
def test_rows_takes_every_kind_of_index(index):
    for metric in three(3):
        torch.testing.assert_close(metric.rows(index)(logits(3)[index]), metric(logits(3))[index])


def test_read_at_positions_equals_the_call():
    for metric in three(6):
        at = logits(6)[torch.arange(6), metric.positions]
        assert torch.equal(metric.read(at), metric(logits(6)))


def test_gradients_are_right_in_float64():
    for metric in three(3):
        assert torch.autograd.gradcheck(metric, logits(3).requires_grad_())


def test_half_of_a_folded_batch_is_an_error_and_not_broadcast():
    for metric in three(4):
        with pytest.raises(BadInput, match=r"for 4 prompts.*shape \[2, 5, 7\].*metric.rows"):
            metric(logits(2))


def test_output_too_short_or_too_narrow_says_so():
    metric = LogProb(torch.tensor([3]), torch.tensor([6]))
    with pytest.raises(BadInput, match="reads position 3; the output has 2 positions"):
        metric(logits(1)[:, :2])
    with pytest.raises(BadInput, match="reads token 6; the output has 4 columns"):
        metric(logits(1)[..., :4])


def test_parts_that_do_not_fit_say_so():
    with pytest.raises(BadInput, match="3 correct for 2 positions"):
        LogitDiff(torch.tensor([0, 0]), torch.tensor([1, 2, 3]), torch.tensor([1, 2]))
    with pytest.raises(BadInput, match="a position per prompt, counted from 0"):
        LogProb(torch.tensor([-1]), torch.tensor([1]))
    with pytest.raises(BadInput, match=r"groups have shape \[1, 3\] for 2 tokens"):
        ProbDiff(torch.tensor([0]), torch.tensor([[1, -1, 0]]), torch.tensor([0, 2]))


def test_a_plain_function_is_its_own_rows():
    def last(output):
        return output[:, -1, 0]

    assert rows_of(last, [0, 1]) is last
