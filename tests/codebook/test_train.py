"""Training: what learns, what does not, and that a killed run goes on as if it had not been."""

import pytest
import torch

import interp
from interp.codebook import attach, load, measure
from interp.codebook.train import next_token
from interp.garden.catalog import build
from interp.hooks import Patch
from interp.hooks.fingerprint import fingerprint
from interp.results.errors import BadFile, BadInput
from interp.results.training_state import CHECKPOINT
from interp.tasks.tokfsm import TokFSM

FSM = TokFSM(6, 2, 3)
SITES = ["blocks.*.attn.hook_z", "blocks.*.hook_mlp_out"]


def draw(rows, generator):
    return FSM.batch(rows, 12, generator)


def model():
    return build("gpt", seed=0, d_model=16, n_layers=2, n_heads=2, d_vocab=4, n_ctx=12)


def books(n_codes=24):
    return attach(model(), SITES, n_codes=n_codes, k=2, pre_norm="layer")


def state(b):
    return {**{f"b.{k}": v.clone() for k, v in b.table.state_dict().items()},
            **{f"m.{k}": v.clone() for k, v in b.model.module.state_dict().items()}}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_training_books_alone_leaves_the_model_untouched():
    b = books()
    before = fingerprint(b.model.module)
    codes = {name: book.codes.detach().clone() for name, book in b.table.items()}
    training = b.train(draw, steps=30, batch=8, rate=1e-2, replace_every=10)
    assert fingerprint(b.model.module) == before
    assert all(not torch.equal(book.codes, codes[name]) for name, book in b.table.items())
    assert sum(training.error[-5:]) < 0.7 * sum(training.error[:5]) and training.replaced > 0
    assert not b.table.training


def test_training_the_model_too_learns_the_task_and_detach_brings_every_bit_back():
    b = books()
    before, x = state(b), draw(64, torch.Generator().manual_seed(9))
    clean = b.model(x[0])
    training = b.train(draw, steps=120, batch=16, rate=1e-2, model_rate=3e-3, replace_every=20)
    assert sum(training.loss[-10:]) < 0.9 * sum(training.loss[:10])
    found = measure(b, *x)
    assert found.scores["loss"].high < found.scores["loss without books"].low
    with b.untrained() as original:
        assert torch.equal(original(x[0]), clean)
    assert not torch.equal(b.model(x[0]), clean)
    assert torch.equal(b.detach()(x[0]), clean)
    assert same({k: v for k, v in state(b).items() if k[0] == "m"}, {k: v for k, v in before.items() if k[0] == "m"})


def test_what_books_recover_of_the_loss_that_means_cost():
    model = interp.load("garden/induction-2l")
    x = interp.task("induction", model=model, n=64, seed=0).clean
    x, y = x[:, :-1], x[:, 1:]
    scores = measure(attach(model, "blocks.*.attn.hook_z", n_codes=60, k=4, init="kmeans", example=x), x, y).scores
    inside, without, at_means = (scores[f"loss{ending}"].value for ending in ("", " without books", " at means"))
    assert without < inside < at_means
    assert scores["loss recovered"].value == pytest.approx((at_means - inside) / (at_means - without), rel=1e-4)


@pytest.mark.parametrize("model_rate", [None, 1e-3])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, monkeypatch, model_rate):
    from interp.codebook import train as module

    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 4)
    settings = {"steps": 12, "batch": 4, "replace_every": 5, "model_rate": model_rate}
    whole, killed, resumed = books(), books(), books()
    whole.train(draw, **settings)

    def dying(rows, generator, calls=[]):  # noqa: B006 (one list for all calls is what is meant)
        calls.append(rows)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return draw(rows, generator)

    with pytest.raises(KeyboardInterrupt):
        killed.train(dying, folder=tmp_path, **settings)
    assert (tmp_path / CHECKPOINT).exists()
    assert resumed.train(draw, folder=tmp_path, **settings).start == 8
    assert same(state(whole), state(resumed))
    with pytest.raises(BadInput, match="another run"):
        books().train(draw, folder=tmp_path, **settings | {"steps": 13})


def test_the_error_has_no_gradient_into_the_model():
    """One step on the error alone moves codes, not the model, though the model is trained."""
    b = books()
    before = state(b)
    b.train(draw, steps=1, batch=4, objective=lambda output, targets: 0 * output.sum(), model_rate=0.1)
    after = state(b)
    moved = [k for k in before if not torch.equal(before[k], after[k])]
    decayed = {k for k in moved if k.startswith("m.") and not torch.allclose(after[k], before[k] * (1 - 0.1 * 0.01))}
    assert not decayed and any(k.endswith("codes") for k in moved)


def test_two_trainings_in_one_process_do_not_share_anything():
    alone, a, other = books(), books(), attach(model(), SITES, n_codes=10, k=1, reduction="mean")
    alone.train(draw, steps=3, batch=4)
    other.train(draw, steps=2, batch=4)
    a.train(draw, steps=3, batch=4)
    assert same(state(alone), state(a))


def test_evaluation_changes_nothing():
    b = books()
    b.train(draw, steps=3, batch=4)
    before, x = state(b), draw(8, torch.Generator())
    measure(b, *x)
    b.codes(x[0])
    b(x[0])
    assert same(state(b), before)


def test_measure_is_what_the_forward_gives():
    b, (x, y) = books(), draw(40, torch.Generator().manual_seed(3))
    found = measure(b, x, y, rows=7)
    for ending, run in (("", b), (" without books", b.model)):
        assert found.scores[f"loss{ending}"].value == pytest.approx(next_token(run(x), y).item(), rel=1e-5)
    values = b.model.read(x, b.sites)
    with b.model.edit(*[Patch(site, value.mean((0, 1)).expand_as(value)) for site, value in values.items()]):
        means = next_token(b.model(x), y).item()
    assert found.scores["loss at means"].value == pytest.approx(means, rel=1e-5)
    assert "loss recovered" not in found.scores  # nothing is learnt, so the means cost nothing
    site = "blocks.0.hook_mlp_out"
    row = found.frame().set_index("site").loc[site]
    codes = b.codes(x)[site]
    assert row["live"] == len(codes.unique()) and row["dead"] == pytest.approx(1 - row["live"] / 24)
    from interp.codebook.books import Watched

    snaps = []
    with b.model.edit(Watched(b, lambda s, book, snap, real: snaps.append(snap) if s.name == site else None)):
        b.model(x)
    wanted = snaps[0].error.sum() / snaps[0].target.square().sum()
    assert row["unexplained"] == pytest.approx(wanted.item(), rel=1e-4)
    assert found.n_tokens == x.numel() and found.figure().data


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_rate", [None, 1e-2])
def test_saved_books_come_back_to_the_same_outputs(tmp_path, model_rate):
    b, x = books(), draw(8, torch.Generator())[0]
    b.train(draw, steps=3, batch=4, model_rate=model_rate)
    b.save(tmp_path)
    again = load(tmp_path, model())
    assert same(state(again), state(b)) and torch.equal(again(x), b(x))
    assert torch.equal(again.detach()(x), b.detach()(x))


def test_books_of_another_model_and_damaged_files_are_refused(tmp_path):
    b = books()
    b.save(tmp_path)
    with pytest.raises(BadInput, match="weights are not those"):
        load(tmp_path, build("gpt", seed=1, d_model=16, n_layers=2, n_heads=2, d_vocab=4, n_ctx=12))
    content = (tmp_path / "codebooks.safetensors").read_bytes()
    (tmp_path / "codebooks.safetensors").write_bytes(content[:-50])
    with pytest.raises(BadFile, match="damaged"):
        load(tmp_path, model())
    (tmp_path / "codebooks.json").write_text('{"schema": "interp.model/1"}')
    with pytest.raises(BadFile, match="not a file of this kind"):
        load(tmp_path, model())


def test_bad_settings_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(BadInput, match="at least 1"):
        books().train(draw, steps=0)
    with pytest.raises(BadInput, match="one row of targets"):
        measure(books(), torch.zeros(3, 4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.long))
    b, x = books(), torch.zeros(3, 4, dtype=torch.long)
    for data, says in (((x, x[:2]), "3 inputs with 2 targets"), ((x[:0], x[:0]), "0 inputs"),
                       ((x, torch.full_like(x, -100)), "nothing to learn")):
        with pytest.raises(BadInput, match=says):
            b.train(data, steps=1)
    with pytest.raises(BadInput, match="nothing to measure"):
        measure(b, x, torch.full_like(x, -100))
    with pytest.raises(BadInput, match="replaced every -1"):
        b.train(draw, steps=1, replace_every=-1)
    with pytest.raises(BadInput, match="no_grad"), torch.no_grad():
        b.train(draw, steps=1)
    with pytest.raises(BadInput, match="lower rate"):
        b.train(draw, steps=2, objective=lambda output, targets: output.sum() * torch.inf, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["codes", "weights", "data", "objective"])
def test_a_checkpoint_of_another_start_is_not_gone_on_with(tmp_path, other):
    x, targets = FSM.batch(8, 12, torch.Generator().manual_seed(0))
    books().train((x, targets), steps=2, batch=4, folder=tmp_path)
    assert books().train((x, targets), steps=2, batch=4, folder=tmp_path).start == 2
    b, given = books(), {"objective": None} if other == "objective" else {}
    with torch.no_grad():
        if other == "codes":
            next(iter(b.table.values())).codes[0, 0, 0] += 1
        if other == "weights":
            next(b.model.module.parameters()).view(-1)[0] += 1
    data = (x.flip(0), targets.flip(0)) if other == "data" else (x, targets)
    before = state(b)
    with pytest.raises(BadInput, match=f"another run \\({other}"):
        b.train(data, steps=2, batch=4, folder=tmp_path, **given)
    assert same(before, state(b))


def test_two_books_of_one_model_share_what_it_was_before_either_was_trained():
    m = model()
    x, targets = FSM.batch(8, 12, torch.Generator().manual_seed(0))
    clean, kept = m(x), state(attach(m, SITES, n_codes=4, k=1))
    first, second = (attach(m, site, n_codes=24, k=2, seed=1) for site in SITES)
    for b in (first, second):
        b.train((x, targets), steps=3, batch=4, rate=0.1, model_rate=0.1)
    without = torch.nn.functional.cross_entropy(clean.flatten(0, 1), targets.flatten(), ignore_index=-100)
    for b in (first, second):
        assert measure(b, x, targets).scores["loss without books"].value == pytest.approx(without.item(), abs=1e-5)
    assert torch.equal(first.detach()(x), clean) and torch.equal(second.detach()(x), clean)
    after = state(attach(m, SITES, n_codes=4, k=1))
    assert same(kept, after)


def test_dropout_is_drawn_anew_from_the_seed_of_a_step():
    found = []
    for outer in (1, 2):
        b = books()
        b.model.module.noise = torch.nn.Dropout(0.5)  # a part, so that training mode reaches it
        b.model.module.embed.register_forward_hook(lambda module, given, out, drop=b.model.module.noise: drop(out))
        torch.manual_seed(outer)
        b.train(draw, steps=3, batch=4, model_rate=1e-2)
        found.append((state(b), torch.rand(1)))
    assert same(found[0][0], found[1][0]) and found[0][1] != found[1][1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_codes_of_half_precision_models_are_learned_in_single_precision(dtype):
    m = build("gpt", seed=0, d_model=16, n_layers=2, n_heads=2, d_vocab=4, n_ctx=12)
    m.module.to(dtype)
    b = attach(m, SITES, n_codes=24, k=2, pre_norm="layer")
    training = b.train(draw, steps=30, batch=8, rate=1e-2, replace_every=0)
    for book in b.table.values():
        assert book.codes.dtype == torch.float32 and torch.isfinite(book.codes).all()
    assert sum(training.error[-5:]) < 0.7 * sum(training.error[:5])
    assert b(draw(2, torch.Generator())[0]).dtype == dtype


def test_one_row_is_measured_without_intervals():
    x, targets = FSM.batch(1, 12, torch.Generator().manual_seed(0))
    found = measure(books(), x, targets).scores
    assert found["loss"].value > 0 and found["loss"].high == float("inf") and "loss recovered" not in found
