"""Attention distilled into another mixer, from the inside out (MOHAWK; Bick et al. 2024, 2408.10189, section 4).

    orientation   |A_l - M_l| / |A_l|            the student's mixing matrices against the teacher's patterns, by head
    hidden        |attn_l - mixer_l| / |attn_l|   what both write, a token
    output        KL(teacher || student)          nats a token, the student on its own

In the first two stages every block of the student reads the teacher's stream, so that layers are matched side by side
and errors do not add up, and only mixers learn; in the last everything does. What is no attention is the teacher's from
the start. Deviations: distances are relative, so that loud layers count as much as silent ones, and one forward matches
all layers at once. Surprises: the second stage undoes the first (what is written can be right where matrices are not,
since values are not orthogonal), and the last undoes both: the student that predicts best is no imitation layer by
layer. So all three distances are measured behind every stage.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch
from torch import Generator, Tensor, nn

from interp.hooks import Patch
from interp.hooks.model import HookedModel
from interp.parts import Model, hook
from interp.parts.attention import Attention
from interp.parts.model import build_model
from interp.parts.spec import Spec
from interp.parts.ssd import DiscreteSsm
from interp.results import plots
from interp.results.errors import BadInput, nearest

if TYPE_CHECKING:
    import plotly.graph_objects as go

Stage = Literal["orientation", "hidden", "output"]
STAGES: tuple[Stage, ...] = ("orientation", "hidden", "output")
UNITS = {"orientation": "of the pattern's norm", "hidden": "of the write's norm", "output": "nats a token"}


@dataclass(frozen=True, eq=False)
class Distillation:
    """How far the student was from its teacher on held-out tokens: `distances[k]` before the first stage (k = 0) and
    behind every one, each {stage: mean distance}; `history[k]` the training loss of every step of stage k."""

    model: str
    stages: tuple[Stage, ...]
    distances: tuple[dict[str, float], ...]
    history: tuple[tuple[float, ...], ...]

    def frame(self) -> pd.DataFrame:
        """One row a moment: `after` which stage, `steps` so far, and the three distances."""
        steps = [0, *torch.tensor([len(losses) for losses in self.history]).cumsum(0).tolist()]
        rows = [{"after": after, "steps": n} | found
                for after, n, found in zip(("start", *self.stages), steps, self.distances)]
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "units": UNITS}
        return frame

    def figure(self) -> "go.Figure":
        """The three distances behind every stage."""
        figure, frame = None, self.frame()
        for stage in STAGES:
            figure = plots.curve_with_band(
                frame.steps.tolist(), frame[stage].to_numpy(), name=f"{stage}, {UNITS[stage]}", x_title="steps",
                y_title="distance", figure=figure, title=f"{self.model}: {', then '.join(self.stages)}")
        return figure

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("distillation", self)


def student_of(teacher: HookedModel, mixer: Callable[[Spec], nn.Module] = DiscreteSsm, seed: int = 0) -> HookedModel:
    """The teacher with a new `mixer` (a part with `mixing` and heads as many as the attention) for every attention.

    All other weights are copies of the teacher's; its own stays as it was. Raises BadInput for a model that is not one
    of parts with untied blocks and softmax attention that reads the block's input.
    """
    module = teacher.module
    spec = module.spec if type(module) is Model else None  # none of its kinds, which read no tokens
    subs = spec.block if spec is not None and isinstance(spec.block, tuple) else ()
    attn = [sub for sub in subs if sub.name == "attn" and sub.reads == "resid_pre"]
    plain = attn and all(type(block.attn) is Attention for block in module.blocks)
    if not plain or {"blocks", "middle", "branches"} & set(spec.tied):
        raise BadInput(f"{teacher.name} is no model of parts whose blocks have attention of their own (gpt, llama, "
                       "attn-only ...), so there is none to put another mixer in the place of")
    block = tuple(replace(sub, name="mixer", op=mixer) if sub is attn[0] else sub for sub in subs)
    student = build_model(replace(spec, block=block), seed)
    kept = {name: value for name, value in module.state_dict().items() if ".attn." not in name}
    student.load_state_dict(deepcopy(kept), strict=False)
    return hook(student, name=f"{teacher.name} distilled", tokenizer=teacher.tokenizer)


def distances(teacher: HookedModel, student: HookedModel, x: Tensor, which: tuple[Stage, ...] = STAGES,
              grad: bool = False) -> dict[str, Tensor]:
    """{stage: its distance on the token ids `x`, a number}, means over layers, heads, rows and tokens."""
    blocks = list(teacher.map.blocks.values())
    names = [n for b in blocks for n in (b.resid_pre, f"{b.prefix}.attn.hook_pattern", f"{b.prefix}.hook_attn_out")]
    with torch.no_grad():
        logits, own = teacher.run_with_cache(x, names)
    found = {}
    if inner := [stage for stage in which if stage != "output"]:
        with student.edit(*(Patch(b.resid_pre, own[b.resid_pre]) for b in blocks)):
            taught = student.run_with_cache(x, ["blocks.*.mixer.*", "blocks.*.hook_mixer_out"], grad=grad)[1]
        pairs = {
            "orientation": lambda d, p: (own[f"{p}.attn.hook_pattern"].flatten(2),
                                         student.mixing_matrix(taught, d).flatten(2)),
            "hidden": lambda d, p: (own[f"{p}.hook_attn_out"], taught[f"{p}.hook_mixer_out"]),
        }
        for stage in inner:
            gaps = [_relative(*pairs[stage](d, b.prefix)) for d, b in enumerate(blocks)]
            found[stage] = sum(gaps) / len(gaps)
    if "output" in which:
        with torch.set_grad_enabled(grad):
            guess, wanted = student(x).log_softmax(-1), logits.log_softmax(-1)
            found["output"] = (wanted.exp() * (wanted - guess)).sum(-1).mean()
    return found


def _relative(wanted: Tensor, got: Tensor) -> Tensor:
    return ((wanted - got).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=1e-12)).mean()


def mohawk(teacher: HookedModel, draw: Callable[[int, Generator], Tensor], held_out: Tensor, *,
           stages: Mapping[Stage, int], student: HookedModel | None = None, batch: int = 32, rate: float = 3e-3,
           seed: int = 0) -> tuple[HookedModel, Distillation]:
    """A student of the teacher after `stages` ({stage: steps}, in that order), and its distances on `held_out` ids.

    `draw(rows, generator)` gives token ids to learn from. Adam, every stage with a rate that falls from `rate` to 0
    along a cosine, gradients clipped at 1. `student` (default: `student_of(teacher, seed=seed)`) is trained in place.
    `{"output": n}` alone is the control, distillation end to end. Raises BadInput for an unknown stage or no step.
    """
    for stage, steps in stages.items():
        if stage not in STAGES:
            raise BadInput(f"there is no stage {stage!r}.{nearest(stage, STAGES)} There are: {', '.join(STAGES)}")
        if steps < 1:
            raise BadInput(f"stage {stage!r} has {steps} steps; leave it out, or give it 1 at least")
    student = student_of(teacher, seed=seed) if student is None else student
    generator = torch.Generator().manual_seed(seed)
    mixers = [p for b in student.module.blocks for p in b.mixer.parameters()]
    moments, history = [_measured(teacher, student, held_out)], []
    for stage, steps in stages.items():
        parameters = list(student.parameters()) if stage == "output" else mixers
        optimiser = torch.optim.Adam(parameters, lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        losses = []
        for _ in range(steps):
            loss = distances(teacher, student, draw(batch, generator), (stage,), grad=True)[stage]
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        history.append(tuple(losses))
        moments.append(_measured(teacher, student, held_out))
    return student, Distillation(teacher.name, tuple(stages), tuple(moments), tuple(history))


def _measured(teacher: HookedModel, student: HookedModel, x: Tensor) -> dict[str, float]:
    with torch.no_grad():
        return {stage: float(value) for stage, value in distances(teacher, student, x).items()}
