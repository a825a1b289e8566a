"""Pasting: do the upper blocks of a model solve linear regression by themselves? (Guo et al. 2023, arXiv 2310.10616,
section 5.3)

The blocks from one depth on are frozen and get plain linear prompts through an embedding of their own, the only thing
that is trained (with the read-out, which is linear):

    interleaved   a linear map of the tokens x_1, (y_1, 0), x_2, ..
    concatenated  the same where a y-token has its x as well: what copying would have made of the first
    transformer   a linear map of the interleaved tokens and one block of attention and MLP

How near it comes to ridge says whether those blocks solve regressions and what they expect to find. The control is the
same with blocks of random weights: a new embedding can do much by itself.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import HookedModel
from interp.icl import baselines
from interp.icl.curves import points_of
from interp.icl.layout import concatenated, interleave
from interp.icl.match import random_twin
from interp.lens.stream import stream_blocks
from interp.results import plots
from interp.results.errors import BadInput, nearest
from interp.results.estimate import Estimate, bootstrap_mean, bootstrap_ratio
from interp.results.training_loop import run_steps
from interp.results.training_state import STRIDE
from interp.tasks.functions import FunctionTask, function_task

if TYPE_CHECKING:
    import plotly.graph_objects as go

Embedding = Literal["interleaved", "concatenated", "transformer"]
EMBEDDINGS: tuple[Embedding, ...] = ("interleaved", "concatenated", "transformer")
CONTROL = "random blocks"
EVALUATION = 20_000
"""Seed of the prompts that errors are measured on."""
_N_MOST = 256  # tokens that an embedding has places for


class Pasted(nn.Module):
    """An embedding to be trained, the frozen upper blocks and last norm of a model, and a read-out to be trained."""

    def __init__(self, model: HookedModel, start: int, embedding: Embedding, d: int, seed: int):
        super().__init__()
        blocks = stream_blocks(model)
        if not 0 <= start < len(blocks):
            raise BadInput(f"blocks from {start} on were asked for; {model.name} has blocks 0 to {len(blocks) - 1}")
        self.layout = concatenated if embedding == "concatenated" else interleave
        self.model = HookedModel(deepcopy(model.module), model.map, name=model.name)
        self.first = blocks[start].resid_pre
        self.upper = self.model.module.requires_grad_(False)
        width = _width(model, self.first, d)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(d + (embedding == "concatenated"), width)
            self.place = nn.Parameter(0.02 * torch.randn(_N_MOST, width))
            self.block = nn.TransformerEncoderLayer(width, 2, 4 * width, 0.0, "gelu", batch_first=True,
                                                    norm_first=True) if embedding == "transformer" else None
            self.read = nn.Linear(width, 1)
        self.d = d

    def trained(self) -> list[nn.Parameter]:
        """What is trained."""
        return [p for p in self.parameters() if p.requires_grad]

    def forward(self, xs: Tensor, ys: Tensor) -> Float[Tensor, "batch n"]:
        """The prediction at every x_k."""
        tokens = self.layout(xs, ys)
        h = self.embed(tokens) + self.place[: tokens.shape[1]]
        if self.block is not None:
            mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
            h = self.block(h, src_mask=mask, is_causal=True)
        return self.read(self._through(h, tokens.shape[:2]))[:, ::2, 0]

    def _through(self, h: Tensor, shape: torch.Size) -> Tensor:
        """The upper blocks and the last norm: what the model runs on is put aside, `h` put in its place."""
        kept: list[Tensor] = []

        def put(value: Tensor, site) -> Tensor:
            return h

        def keep(value: Tensor, site) -> None:
            kept.append(value)

        last = "ln_final.hook_normalized" if "ln_final.hook_normalized" in self.model.map.sites else \
            stream_blocks(self.model)[-1].resid_post
        with self.model.firing([(self.first, put), (last, keep)]):
            self.model(torch.zeros(*shape, self.model.module.d_input))
        return kept[0]


def _width(model: HookedModel, site: str, d: int) -> int:
    """Channels of the stream at a site."""
    inputs = torch.zeros(1, 2, getattr(model.module, "d_input", d))
    return model.read(inputs, site)[site].shape[-1]


@dataclass(frozen=True, eq=False)
class Pasting:
    """`errors[blocks][embedding]` [prompt, k] squared error over the mean square of answers, blocks "trained" or
    "random blocks"; `ridge` [prompt, k] the same of least squares; blocks from `start` on."""

    model: str
    start: int
    errors: dict[str, dict[str, np.ndarray]]
    ridge: np.ndarray
    steps: int
    seed: int

    def mean(self, blocks: str, embedding: str, k: slice | None = None) -> Estimate:
        """Error over k (by default the last half), prompts resampled."""
        return bootstrap_mean(self._of(blocks, embedding)[:, k or self._late].mean(1), seed=self.seed)

    @property
    def _late(self) -> slice:
        return slice(self.ridge.shape[1] // 2, None)

    def _of(self, blocks: str, embedding: str) -> np.ndarray:
        if blocks == "ridge":
            return self.ridge
        if embedding not in self.errors.get(blocks, {}):
            raise BadInput(f"nothing was pasted with {embedding!r} on {blocks!r}.{nearest(embedding, EMBEDDINGS)}")
        return self.errors[blocks][embedding]

    def recovered(self, embedding: str, against: str = CONTROL) -> Estimate:
        """Share of the way from the control's error down to ridge's, over the last half of k; paired prompts."""
        late = self._late
        own, other = (self._of(blocks, embedding)[:, late].mean(1) for blocks in ("trained", against))
        return bootstrap_ratio(other - own, other - self.ridge[:, late].mean(1), seed=self.seed)

    def summary(self) -> pd.DataFrame:
        """One row an embedding: error over the last half of k with trained and with random blocks, that of least
        squares, and the share of the way that trained blocks recover."""
        rows = []
        for embedding in self.errors["trained"]:
            own, other = (self.mean(blocks, embedding) for blocks in ("trained", CONTROL))
            part = self.recovered(embedding)
            rows.append({"embedding": embedding, "trained": own.value, "low": own.low, "high": own.high,
                         "random": other.value, "random_low": other.low, "random_high": other.high,
                         "least_squares": self.mean("ridge", "").value, "recovered": part.value,
                         "recovered_low": part.low, "recovered_high": part.high})
        return pd.DataFrame(rows)

    def frame(self) -> pd.DataFrame:
        """One row a kind of blocks, embedding and k: error with its interval."""
        rows = []
        curves = [(b, e, v) for b, table in self.errors.items() for e, v in table.items()]
        for blocks, embedding, values in [*curves, ("ridge", "", self.ridge)]:
            for k, column in enumerate(values.T):
                e = bootstrap_mean(column, seed=self.seed, draws=500)
                rows.append({"blocks": blocks, "embedding": embedding, "k": k, "error": e.value, "low": e.low,
                             "high": e.high})
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "start": self.start, "steps": self.steps, "seed": self.seed}
        return frame

    def figure(self) -> "go.Figure":
        """Error by number of examples, trained blocks against random ones, a panel an embedding."""
        from plotly.subplots import make_subplots

        kinds = list(next(iter(self.errors.values())))
        figure = make_subplots(1, len(kinds), subplot_titles=kinds, shared_yaxes=True, horizontal_spacing=0.04)
        table = self.frame()
        for col, embedding in enumerate(kinds, 1):
            for i, blocks in enumerate([*self.errors, "ridge"]):
                of = "" if blocks == "ridge" else embedding
                part = table[(table["blocks"] == blocks) & (table["embedding"] == of)]
                figure.add_scatter(x=part["k"], y=part["error"], name=blocks, row=1, col=col, mode="lines+markers",
                                   line={"color": plots.LINES[i], "dash": plots.DASHES[i]}, legendgroup=blocks,
                                   showlegend=col == 1,
                                   error_y={"type": "data", "symmetric": False, "array": part["high"] - part["error"],
                                            "arrayminus": part["error"] - part["low"], "thickness": 1})
        plots.styled(figure, title=f"{self.model}: blocks from {self.start} on, pasted", x_title="examples shown")
        figure.update_yaxes(title_text="squared error / that of 0", col=1)
        return figure.update_layout(height=450, margin={"t": 90, "b": 76})

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("pasting", self)


def paste(
    model: HookedModel, start: int, task: FunctionTask | str = "linear", n: int | None = None, *,
    embeddings: tuple[Embedding, ...] = EMBEDDINGS, steps: int = 1500, batch: int = 64, rate: float = 2e-3,
    prompts: int = 1000, control: HookedModel | None = None, seed: int = 0,
) -> Pasting:
    """The blocks of a model from `start` on, on prompts of n points of a class, with each embedding trained.

    `control` is the model with random weights (default: the same architecture anew). Raises BadInput for blocks that
    are not there.
    """
    task = function_task(task) if isinstance(task, str) else task
    n = n or points_of(model, task)
    models = {"trained": model, CONTROL: control or random_twin(model)}
    drawn = task.sample(prompts, n, EVALUATION)
    scale = float(drawn.targets.double().square().mean())
    errors: dict[str, dict[str, np.ndarray]] = {name: {} for name in models}
    for name, some in models.items():
        for embedding in embeddings:
            pasted = fit_embedding(some, start, embedding, task, n, steps=steps, batch=batch, rate=rate, seed=seed)
            with torch.no_grad():
                said = torch.cat([pasted(x, y) for x, y in zip(drawn.xs.split(256), drawn.ys.split(256))])
            errors[name][embedding] = ((said - drawn.targets).double().square() / scale).numpy()
    best = baselines.least_squares(drawn.xs, drawn.ys)
    return Pasting(model.name, start, errors, ((best - drawn.targets) ** 2 / scale).numpy(), steps, seed)


def fit_embedding(
    model: HookedModel, start: int, embedding: Embedding, task: FunctionTask, n: int, *, steps: int, batch: int = 64,
    rate: float = 2e-3, seed: int = 0,
) -> Pasted:
    """A trained embedding in front of frozen blocks. Raises BadInput for an unknown kind."""
    if embedding not in EMBEDDINGS:
        raise BadInput(f"there is no embedding {embedding!r}.{nearest(embedding, EMBEDDINGS)} There are: "
                       f"{', '.join(EMBEDDINGS)}")
    pasted = Pasted(model, start, embedding, task.d, seed)
    optimiser = torch.optim.AdamW(pasted.trained(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)

    def loss(step: int) -> Tensor:
        drawn = task.sample(batch, n, (seed + 1) * STRIDE + step)
        return (pasted(drawn.xs, drawn.ys) - drawn.targets).square().mean()

    run_steps(pasted, optimiser, loss, steps=steps, warmup=min(100, steps), title=f"pasting, {embedding}")
    return pasted.eval()
