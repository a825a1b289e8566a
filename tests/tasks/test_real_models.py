"""The tasks on real models. Bounds are those of the recorded measurement (seed 0, n 100), not of a theory."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from interp.adapters.transformers import hook
from interp.garden.fetch import load_real
from interp.garden.loading import load
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
    ("pronoun", {}, 1.0, 4.17),
    ("capitals", {}, 1.0, 10.0),
    ("docstring", {}, 0.99, 8.0),
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


@pytest.mark.parametrize(("model", "name", "accuracy", "value"), [
    ("minilm-l6", "similarity", 1.0, 0.393),
    ("dinov2-s", "patches", 0.96, 0.58),
    ("dinov2-s", "patches:hidden=3", 0.79, 0.39),
])
def test_encoders_do_their_tasks_as_recorded(model, name, accuracy, value):
    try:
        encoder = load(model)
    except ModelMissing as missing:
        pytest.skip(str(missing))
    t = task(name, encoder, n=100, seed=0)
    audit = t.audit(encoder)
    assert audit.ok, audit.frame()
    assert audit["accuracy"].value.value == pytest.approx(accuracy, abs=0.011)
    clean, _ = measure(t, encoder, t.clean)
    assert bootstrap_mean(clean, t.clusters).value == pytest.approx(value, rel=0.02)


def test_padding_does_not_reach_the_embedding_of_a_sentence():
    try:
        encoder = load("minilm-l6")
    except ModelMissing as missing:
        pytest.skip(str(missing))
    t = task("similarity", encoder, n=24)
    together, _ = measure(t, encoder, t.clean)
    alone = []
    for row, text in enumerate(t.prompts["clean"]):
        ids = torch.tensor([encoder.tokenizer.encode(text)])
        with torch.no_grad():
            alone.append(float(replace(t.metric.rows([row]), real=torch.ones_like(ids))(encoder(ids))[0]))
    assert together == pytest.approx(alone, abs=1e-4)


def test_padding_side_does_not_matter_to_rotary_positions(smollm2):
    values = []
    for side in ("right", "left"):
        smollm2.tokenizer.padding_side = side
        t = task("agreement", smollm2, n=12)
        values.append(torch.tensor(measure(t, smollm2, t.clean)[0]))
    smollm2.tokenizer.padding_side = "right"
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)
