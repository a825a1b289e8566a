"""The tasks on SmolLM2-135M. Bounds are those of the recorded measurement (seed 0, n 100), not of a theory."""

from functools import cache

import pytest
import torch

from interp.adapters.transformers import hook
from interp.garden.fetch import load_real
from interp.results import ModelMissing, bootstrap_mean
from interp.tasks import task
from interp.tasks.audit import measure

pytestmark = pytest.mark.slow


@cache
def _load():
    return load_real("smollm2-135m")


@pytest.fixture
def smollm2():
    try:
        module, tokenizer = _load()
    except ModelMissing as missing:
        pytest.skip(str(missing))
    return hook(module, name="smollm2-135m", tokenizer=tokenizer)


@pytest.mark.parametrize(("name", "options", "accuracy", "value"), [
    ("ioi", {}, 0.99, 5.2),
    ("ioi", {"counterfactual": "swap"}, 0.99, 5.2),
    ("greater-than", {}, 1.0, 0.973),
    ("greater-than", {"same_digit": "neither"}, 1.0, 0.564),
    ("agreement", {"attractor": "none"}, 1.0, 6.24),
    ("agreement", {"attractor": "opposite"}, 0.85, 1.57),
])
def test_smollm2_does_the_task_as_recorded(smollm2, name, options, accuracy, value):
    t = task(name, smollm2, n=100, seed=0, **options)
    audit = t.audit(smollm2)
    assert audit.ok, audit.frame()
    assert audit["accuracy"].value.value == pytest.approx(accuracy, abs=0.011)  # one prompt of 100 may tip over
    clean, _ = measure(t, smollm2, t.clean)
    assert bootstrap_mean(clean, t.clusters).value == pytest.approx(value, rel=0.02)


def test_smollm2_induces_on_random_tokens(smollm2):
    audit = task("induction", smollm2, n=32, seed=0).audit(smollm2)
    assert audit.ok and audit["accuracy"].value.value == 1.0


def test_padding_side_does_not_matter_to_rotary_positions(smollm2):
    values = []
    for side in ("right", "left"):
        smollm2.tokenizer.padding_side = side
        t = task("agreement", smollm2, n=12)
        values.append(torch.tensor(measure(t, smollm2, t.clean)[0]))
    smollm2.tokenizer.padding_side = "right"
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)
