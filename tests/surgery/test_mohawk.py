"""MOHAWK: each stage lowers its own distance, matrices are those of the prompt, and the rest is the teacher's."""

import pytest
import torch

import interp
from interp.architectures import build
from interp.garden.recipes.induction_2l import data
from interp.hooks.check import check_model
from interp.parts.context import Context
from interp.parts.gla import states
from interp.parts.ssd import DiscreteSsm, faded
from interp.results.errors import BadInput
from interp.surgery.mohawk import distances, mohawk, student_of

SIZES = dict(d_model=16, n_layers=2, n_heads=2, d_vocab=20, n_ctx=12)


def draw(rows: int, generator: torch.Generator) -> torch.Tensor:
    """Repeated sequences of 32 tokens: what the teacher was trained on, cut to be quick."""
    return data(rows, generator).tokens[:, :32]


HELD_OUT = draw(32, torch.Generator().manual_seed(77))


def random_ids(rows: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 20, (rows, 12), generator=generator)


def test_works_when_110_mohawk():
    """The first stage lowers its loss, and each student matrix is nearer to its own prompt's pattern than to another's:
    it follows the tokens and is no mean pattern. The second lowers its own distance too; the order is the mapping's."""
    teacher = interp.load("garden/induction-2l")
    student, found = mohawk(teacher, draw, HELD_OUT, stages={"orientation": 60, "hidden": 40}, batch=16)
    start, oriented, hidden = found.distances
    first = found.history[0]
    assert sum(first[-10:]) < 0.75 * sum(first[:10]) and oriented["orientation"] < 0.8 * start["orientation"]
    assert hidden["hidden"] < 0.9 * oriented["hidden"] and hidden["output"] < start["output"]
    student, found = mohawk(teacher, draw, HELD_OUT, stages={"hidden": 1, "orientation": 60}, batch=16)
    assert found.stages == ("hidden", "orientation") and list(found.frame().after) == ["start", *found.stages]
    cache = teacher.run_with_cache(HELD_OUT)[1]
    with student.edit(*(interp.Patch(f"blocks.{d}.hook_resid_pre", cache["resid_pre", d]) for d in range(2))):
        taught = student.run_with_cache(HELD_OUT)[1]
    for depth in range(2):
        wanted, got = cache["pattern", depth], student.mixing_matrix(taught, depth)
        assert (got - wanted).norm() < (got - wanted.roll(1, 0)).norm()


def test_distances_are_the_written_ones():
    """One layer and one row at a time, from the attention module's own input."""
    teacher = build("llama", seed=0, **{**SIZES, "n_kv_heads": 1})
    student = student_of(teacher, seed=1)
    x = random_ids(3, torch.Generator().manual_seed(2))
    found = distances(teacher, student, x)
    cache = teacher.run_with_cache(x)[1]
    matrices, writes = [], []
    for depth, block in enumerate(student.module.blocks):
        u = teacher.module.blocks[depth].ln1(cache["resid_pre", depth])
        with torch.no_grad():
            out = block.mixer(u, Context(x))
            q, k, v = (block.mixer._conv(p, u, torch.ones(1, 12, 1)).unflatten(-1, (2, 8)) for p in "qkv")
            decay = torch.sigmoid(block.mixer.decay(u) + block.mixer.decay_bias)
        for row in range(3):
            gap = cache["attn_out", depth][row] - out[row]
            writes.append((gap.norm(dim=-1) / cache["attn_out", depth][row].norm(dim=-1)).mean())
            for head in range(2):
                m = torch.zeros(12, 12)
                for t in range(12):
                    for s in range(t + 1):
                        m[t, s] = (q[row, t, head] @ k[row, s, head]) * decay[row, s + 1 : t + 1, head].prod()
                m += block.mixer.skip[head] * torch.eye(12)
                pattern = cache["pattern", depth][row, head]
                matrices.append((pattern - m).norm() / pattern.norm())
    wanted, got = teacher(x).softmax(-1), student(x).softmax(-1)
    assert torch.allclose(found["orientation"], torch.stack(matrices).mean(), rtol=1e-5)
    assert torch.allclose(found["hidden"], torch.stack(writes).mean(), rtol=1e-5)
    kl = (wanted * (wanted / got).log()).sum(-1).mean()
    assert torch.allclose(found["output"], kl, rtol=1e-3)


@pytest.mark.parametrize("name", ["gpt", "llama", "peri-ln", "parallel", "attn-only-rotary", "post-norm"])
def test_a_student_is_the_teacher_but_for_its_mixers(name):
    """With the teacher's attention writes in the place of its own, the student gives the teacher's logits."""
    teacher = build(name, seed=0, **SIZES)
    student = student_of(teacher, seed=1)
    check_model(student, random_ids(2, torch.Generator().manual_seed(0))).raise_if_failed()
    x = random_ids(2, torch.Generator().manual_seed(1))
    out, cache = teacher.run_with_cache(x)
    with torch.no_grad():
        patches = (interp.Patch(f"blocks.{d}.hook_mixer_out", cache[f"blocks.{d}.hook_attn_out"]) for d in range(2))
        with student.edit(*patches):
            got = student(x)
    assert torch.allclose(got, out, atol=1e-6)


def test_stages_leave_alone_what_is_not_theirs():
    teacher = build("gpt", seed=0, **SIZES)
    before = {name: p.clone() for name, p in teacher.module.named_parameters()}
    x = random_ids(4, torch.Generator().manual_seed(0))
    student, _ = mohawk(teacher, random_ids, x, stages={"orientation": 2, "hidden": 2}, batch=4)
    own = dict(student.module.named_parameters())
    assert all(torch.equal(own[name], p) for name, p in before.items() if ".attn." not in name)
    student, _ = mohawk(teacher, random_ids, x, stages={"output": 2}, batch=4)
    assert not torch.equal(dict(student.module.named_parameters())["blocks.0.mlp.up.weight"],
                           before["blocks.0.mlp.up.weight"])
    assert all(torch.equal(p, before[name]) for name, p in teacher.module.named_parameters())


def test_matrix_and_recurrence_of_the_student_agree():
    """Also where a decay is 0 or negative, as a patch may make it."""
    model = build("phi-mamba", seed=0, **SIZES).to(torch.float64)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    x = random_ids(2, generator)
    skip = model.module.blocks[0].mixer.skip[:, None]
    for change in (0.0, 0.5):
        with model.edit(interp.Steer("blocks.0.mixer.hook_decay", torch.tensor(-change, dtype=torch.float64))):
            q, k, v, decay, z = _points(model.run_with_cache(x)[1])
        assert (decay.min() < 0) == (change > 0)
        step_by_step = (q[..., None, :] @ states(k, v, decay))[..., 0, :] + skip * v
        assert torch.allclose(step_by_step, z, atol=1e-12)


def _points(cache) -> list[torch.Tensor]:
    return [cache[f"blocks.0.mixer.hook_{point}"] for point in ("q", "k", "v", "decay", "z")]


def test_without_forgetting_it_is_linear_attention():
    assert torch.equal(faded(torch.ones(1, 1, 5)), torch.ones(5, 5).tril()[None, None])
    assert faded(torch.tensor([[[0.5, 0.5, 0.25]]])).squeeze().tolist() == [[1, 0, 0], [0.5, 1, 0], [0.125, 0.25, 1]]


def test_students_keys_may_have_another_width():
    """The state's size is the student's own: more keys a head than the teacher has."""
    teacher = build("gpt", seed=0, **SIZES)
    student = student_of(teacher, lambda spec: DiscreteSsm(spec, d_key=5))
    assert student.module.blocks[0].mixer.q.out_features == 10
    assert distances(teacher, student, random_ids(2, torch.Generator().manual_seed(0)))["output"] > 0


@pytest.mark.parametrize(("name", "stages", "message"), [
    ("gpt", {"matrix": 3}, "no stage 'matrix'"), ("gpt", {"hidden": 0}, "0 steps"),
    ("looped", {"hidden": 1}, "attention of their own"), ("ladder", {"hidden": 1}, "attention of their own"),
    ("mamba", {"hidden": 1}, "attention of their own"),
])
def test_what_cannot_be_distilled_is_refused(name, stages, message):
    teacher = build(name, seed=0)
    with pytest.raises(BadInput, match=message):
        mohawk(teacher, random_ids, random_ids(1, torch.Generator()), stages=stages)


def test_figure_and_table_have_the_same_numbers():
    teacher = build("gpt", seed=0, **SIZES)
    x = random_ids(2, torch.Generator().manual_seed(0))
    _, found = mohawk(teacher, random_ids, x, stages={"hidden": 2, "output": 3}, batch=2)
    frame, figure = found.frame(), found.figure()
    assert list(frame.steps) == [0, 2, 5]
    lines = [trace for trace in figure.data if trace.name and trace.name.startswith("hidden")]
    assert lines and list(lines[0].y) == list(frame.hidden)
