"""Training: what a step depends on, resuming bit for bit, and that it learns."""

from dataclasses import replace

import pytest
import torch

from interp.programs import train as training
from interp.programs.configs import config
from interp.programs.evaluate import predict as run_program
from interp.programs.train import batch_rows, predict, sequence_loss, temperature, train
from interp.programs.trained_files import load_trained, save_trained
from interp.results.errors import BadFile, BadInput
from interp.results.progress import use_progress
from interp.results.training_state import CHECKPOINT
from interp.tasks.sequences import IGNORE, dataset, names

TINY = {"steps": 7, "batch": 32, "n_layers": 1}


@pytest.fixture(scope="module")
def data():
    return dataset("hist", vocab=5, length=5, n=300)


def _same(a, b) -> bool:
    one, two = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(one[key], two[key]) for key in one)


def test_training_depends_on_the_seed_alone(data):
    before = torch.get_rng_state()
    first, again, other = (train("hist", data=data, seed=seed, **TINY) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert _same(first, again) and not _same(first, other)
    assert not first.model.training and 0 <= first.sampled <= 1


def test_a_killed_training_continues_bit_for_bit(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)

    class Killed(BaseException):
        pass

    def sink(description, done, total):
        if done == 5:
            raise Killed

    with use_progress(sink), pytest.raises(Killed):
        train("hist", data=data, seed=1, out=tmp_path, **TINY)
    steps = []
    with use_progress(lambda description, done, total: steps.append(done)):
        resumed = train("hist", data=data, seed=1, out=tmp_path, **TINY)
    assert steps[-1] == 7 - 4  # four of seven were kept
    assert _same(resumed, train("hist", data=data, seed=1, **TINY))


def test_a_training_in_two_parts_is_one_training(data, tmp_path):
    train("hist", data=data, seed=1, out=tmp_path, stop=3, **TINY)
    assert _same(train("hist", data=data, seed=1, out=tmp_path, **TINY), train("hist", data=data, seed=1, **TINY))


def test_a_folder_of_another_run_is_refused(data, tmp_path):
    train("hist", data=data, seed=1, out=tmp_path, **TINY)
    with pytest.raises(BadInput, match="another run .seed '1', not '2'"):
        train("hist", data=data, seed=2, out=tmp_path, **TINY)
    with pytest.raises(BadInput, match="another run .config"):
        train("hist", data=data, seed=1, out=tmp_path, **TINY | {"rate": 0.01})
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(BadFile, match="delete it to start again"):
        train("hist", data=data, seed=1, out=tmp_path, **TINY)


def test_it_learns_to_count_and_the_program_agrees(data):
    trained = train("hist", data=data, steps=250, batch=128)
    assert trained.scores["accuracy"].value > 0.9
    test = data.test
    asked = test.labels != IGNORE
    found = run_program(trained.program, torch.where(test.mask, test.tokens, 0).numpy(), test.mask.numpy())
    assert torch.equal(torch.from_numpy(found)[asked], predict(trained.model, test)[asked])
    assert trained.program.run(["a", "b", "a"]) == ["2", "1", "2"]


def test_straight_through_training_runs_on_discrete_choices(data):
    assert not _same(train("hist", data=data, straight=True, **TINY), train("hist", data=data, **TINY))


def test_a_trained_program_is_saved_and_loaded(tmp_path):
    trained = train("hist", data=dataset("hist", vocab=5, length=5, n=300), seed=4, **TINY)
    save_trained(trained, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"interp.json", "metrics.json", "model.safetensors",
                                                         "program.json"}
    loaded = load_trained(tmp_path)
    assert _same(loaded, trained) and loaded.record() == trained.record()
    assert torch.equal(loaded.data.test.tokens, trained.data.test.tokens)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadFile):
        load_trained(tmp_path)


def test_an_epoch_takes_every_row_once_and_the_next_another_order():
    epoch = [torch.cat([batch_rows(10, 3, 0, 3 * e + step) for step in range(3)]) for e in range(2)]
    assert all(len(set(rows.tolist())) == 9 for rows in epoch) and not torch.equal(*epoch)
    assert len(batch_rows(10, 99, 0, 5)) == 10


def test_temperature_falls_by_one_factor_from_hot_to_cold():
    settings = replace(config("hist"), steps=11)
    found = [temperature(step, settings) for step in range(11)]
    assert found[0] == pytest.approx(3.0) and found[-1] == pytest.approx(0.01)
    assert [b / a for a, b in zip(found, found[1:])] == pytest.approx([(0.01 / 3) ** 0.1] * 10)


def test_the_loss_weighs_sequences_and_not_labels():
    scores = torch.zeros(3, 4, 2)
    scores[0, 0, 0] = 2.0  # one label asked, right
    labels = torch.full((3, 4), IGNORE)
    labels[0, 0] = 0
    labels[1] = torch.tensor([0, 1, 0, 1])
    log2, right = 0.6931472, 0.1269280
    assert float(sequence_loss(scores, labels)) == pytest.approx((right + log2) / 2)
    assert float(sequence_loss(scores[:, 0], torch.tensor([0, 0, 1]))) == pytest.approx((right + 2 * log2) / 3)


def test_every_task_has_settings_that_fit_it():
    for name in set(names()) - {"sotu", "tagger"}:
        assert config(name).sizes(dataset(name, n=100)).d_model > 0


@pytest.mark.parametrize("call, message", [
    (lambda: train("hits"), 'Did you mean "hist"'),
    (lambda: train("hist", layers=2), "n_layers"),
    (lambda: train("hist", steps=0), "at least 1"),
    (lambda: train("hist", cardinality=4), "cardinality of 8"),
])
def test_bad_settings_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()
