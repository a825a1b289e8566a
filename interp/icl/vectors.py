"""Function vectors: does the mean of what some heads write at the last token carry a task to a prompt that shows none?
(Todd et al. 2023, arXiv 2310.15213).

    a_h     mean over prompts with examples of what head h reads out (z) at the last token
    AIE_h   mean over prompts whose examples are shuffled of p(answer | z_h = a_h there) - p(answer)
    FV      sum over the heads of largest AIE of a_h W_O,h, added to the stream at the last token behind one depth

Scored on words that made neither means nor AIE, with no example and with shuffled ones, against three controls: nothing
added; the same sum over as many random heads; the FV whose means come from shuffled prompts. Deviation: AIE is exact
for the heads that a linear estimate (one backward pass) puts on top; the others keep no score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.effects.api import effects
from interp.hooks import HookedModel, Source, Steer
from interp.hooks.baselines import rows as input_rows
from interp.icl.weights import head_weights, token_maps
from interp.icl.word_pairs import Prompts, prompts, single_token_pairs
from interp.results import plots
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.progress import progress
from interp.tasks.metrics import AtPosition, pick

if TYPE_CHECKING:
    import plotly.graph_objects as go

Head = tuple[int, int]
ADDED = ("nothing", "function vector", "random heads", "shuffled means")
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class AnswerProbability(AtPosition):
    """Probability of the one right token, `answer` [batch]; a share of 1. Right means that it is the likeliest."""

    answer: Tensor
    unit = "probability"
    bounds = (0.0, 1.0)

    def read(self, at: Float[Tensor, "batch vocab"]) -> Float[Tensor, " batch"]:
        """p(answer) from the logits at the position."""
        return pick(at.log_softmax(-1), self.answer).exp()

    def correct_at(self, at: Float[Tensor, "batch vocab"]) -> Tensor:
        """Whether no token is likelier."""
        return pick(at, self.answer) >= at.amax(-1)

    def answer_ids(self) -> Tensor:
        return self.answer


@dataclass(frozen=True, eq=False)
class FunctionVectors:
    """`vector` [d_model] and what adding it does. `aie[(depth, head)]` [prompt], exact, of the heads that were tried;
    `right[kind][added]` [depth tried, word]: 1 where the answer is the likeliest token, kind "zero-shot" or "shuffled";
    `shown` [word]: the same with all examples and nothing added. `reads` are the tokens that the vector raises most."""

    model: str
    relation: str
    vector: Tensor
    heads: list[Head]
    aie: dict[Head, np.ndarray]
    depths: list[int]
    right: dict[str, dict[str, np.ndarray]]
    shown: np.ndarray
    reads: list[str]
    shots: int
    seed: int

    def accuracy(self, kind: str, added: str, depth: int) -> Estimate:
        """Share of held-out words answered, with its interval over words."""
        return bootstrap_mean(self.right[kind][added][self.depths.index(depth)], seed=self.seed, unit="words")

    def best_depth(self, kind: str = "zero-shot") -> int:
        """The depth at which the vector helps most."""
        return self.depths[int(self.right[kind]["function vector"].mean(1).argmax())]

    def frame(self) -> pd.DataFrame:
        """One row a depth, kind of prompt and what was added: accuracy and its interval."""
        rows = []
        for kind, table in self.right.items():
            for added in table:
                for depth in self.depths:
                    e = self.accuracy(kind, added, depth)
                    rows.append({"prompt": kind, "added": added, "depth": depth, "accuracy": e.value, "low": e.low,
                                 "high": e.high})
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "relation": self.relation, "shots": self.shots, "seed": self.seed,
                        "words": len(self.shown), "with_examples": float(self.shown.mean())}
        return frame

    def head_frame(self) -> pd.DataFrame:
        """One row a head that was tried: AIE with its interval over prompts, and whether it is part of the vector."""
        rows = []
        for head, values in sorted(self.aie.items(), key=lambda item: -item[1].mean()):
            e = bootstrap_mean(values, seed=self.seed)
            rows.append({"head": f"L{head[0]}H{head[1]}", "aie": e.value, "low": e.low, "high": e.high,
                         "in_the_vector": head in self.heads})
        return pd.DataFrame(rows)

    def figure(self) -> "go.Figure":
        """Accuracy without examples by the depth at which something is added."""
        figure = None
        table = self.frame()
        for added in ADDED:
            part = table[(table["prompt"] == "zero-shot") & (table["added"] == added)]
            figure = plots.curve_with_band(part["depth"], part["accuracy"], part["low"], part["high"], name=added,
                                           title=f"{self.model}: {self.relation} without examples",
                                           x_title="depth behind which it is added", y_title="share of words answered",
                                           figure=figure)
        figure.add_hline(y=float(self.shown.mean()), line={"dash": "dot", "color": plots.GREY},
                         annotation_text=f"{self.shots} examples", annotation_position="bottom right")
        return figure.update_yaxes(range=[-0.02, 1.02])

    def save(self, run):
        """Tables and figure into a run."""
        run.save_table("function_vector_heads", self.head_frame())
        return run.save_views("function_vectors", self)


def function_vectors(
    model: HookedModel, relation: str, *, shots: int = 5, heads: int = 10, tried: int = 20, means: int = 40,
    shuffled: int = 12, words: int = 40, depths: Sequence[int] | None = None,
    kinds: Sequence[str] = ("zero-shot", "shuffled"), seed: int = 0,
) -> FunctionVectors:
    """The function vector of a relation between words (see `interp.icl.word_pairs`) and its tests.

    `means` and `shuffled` are prompts behind a_h and AIE, `tried` heads get an exact AIE, `heads` of them make the
    vector, `words` are held out. `depths` is where it is added (about eight by default), `kinds` to which prompts.
    Raises BadInput where the relation has too few pairs of one token, or the model no attention heads.
    """
    pairs = single_token_pairs(relation, model.tokenizer)
    order = np.random.default_rng(seed).permutation(len(pairs))
    held, made = ([pairs[i] for i in part] for part in (order[:words], order[words:]))
    if len(made) < max(means, shuffled, shots + 1):
        raise BadInput(f"{relation!r} has {len(pairs)} pairs of one token; {words} are held out, and {len(made)} are "
                       f"too few for {means} prompts of means: lower words=, means= or shuffled=")
    at = [d for d in range(model.n_layers) if f"blocks.{d}.attn.hook_z" in model.map.sites]
    if not at:
        raise BadInput(f"{model.name} has no attention heads, whose outputs function vectors are made of")
    tokenizer = model.tokenizer
    mean = head_means(model, prompts(tokenizer, made[:means], made, shots, seed), at)
    control = head_means(model, prompts(tokenizer, made[:means], made, shots, seed, shuffled=True), at)
    aie = indirect_effects(model, prompts(tokenizer, made[-shuffled:], made, shots, seed + 1, shuffled=True), mean,
                           tried)
    chosen = sorted(aie, key=lambda head: -aie[head].mean())[:heads]
    every = [(d, h) for d in at for h in range(mean[d].shape[0]) if (d, h) not in chosen]
    random = [every[i] for i in np.random.default_rng(seed + 1).permutation(len(every))[: len(chosen)]]
    added = {"nothing": None, "function vector": written(model, mean, chosen),
             "random heads": written(model, mean, random), "shuffled means": written(model, control, chosen)}
    depths = _spread(model.n_layers) if depths is None else list(depths)
    right = {kind: tested(model, prompts(tokenizer, held, made, k, seed + 2, shuffled=k > 0), added, depths)
             for kind, k in (("zero-shot", 0), ("shuffled", shots)) if kind in kinds}
    shown = answered(model, prompts(tokenizer, held, made, shots, seed + 2))
    return FunctionVectors(model.name, relation, added["function vector"], chosen, aie, depths, right, shown,
                           read_out(model, added["function vector"]), shots, seed)


def _spread(n_layers: int) -> list[int]:
    return sorted({round(i * (n_layers - 1) / 7) for i in range(8)})


def _parts(some: Prompts) -> list[slice]:
    return [slice(i, i + _AT_ONCE) for i in range(0, len(some), _AT_ONCE)]


def head_means(model: HookedModel, some: Prompts, depths: Sequence[int]) -> dict[int, Float[Tensor, "head d_head"]]:
    """Mean over prompts of z at the last token of every head, by depth."""
    sums = {d: 0.0 for d in depths}
    for part in _parts(some):
        cache = model.read(input_rows(some.x, part), [f"blocks.{d}.attn.hook_z" for d in depths])
        for d in depths:
            z = cache["z", d]
            sums[d] = sums[d] + z[torch.arange(len(z)), some.last[part]].sum(0)
    return {d: total / len(some) for d, total in sums.items()}


def indirect_effects(model: HookedModel, some: Prompts, mean: dict[int, Tensor], tried: int) -> dict[Head, np.ndarray]:
    """p(answer) with a head at its mean minus p(answer), [prompt], of the `tried` heads with the largest linear
    estimate."""
    sources = [Source(f"blocks.{d}.attn.hook_z", head=h, pos=-1) for d, table in mean.items()
               for h in range(len(table))]
    baseline = {f"blocks.{d}.attn.hook_z": table[None, None] for d, table in mean.items()}
    metric = AnswerProbability(some.last, some.answers)
    guess = effects(model, some.x, sources, metric, "tangent", baseline=baseline).mean
    best = [sources[int(i)] for i in guess.argsort()[:tried]]  # clean minus intervened: what helps is negative
    exact = effects(model, some.x, best, metric, "ablation", baseline=baseline).values
    return {(model.site(s.site).depth, s.head): -row.double().numpy() for s, row in zip(best, exact)}


def written(model: HookedModel, mean: dict[int, Tensor], heads: Sequence[Head]) -> Float[Tensor, " d_model"]:
    """The sum of what heads write when they are at their means."""
    return sum(mean[d][h].double() @ head_weights(model, d).o[h] for d, h in heads)


def answered(model: HookedModel, some: Prompts) -> Float[np.ndarray, " prompt"]:
    """1 where the answer is the likeliest next token."""
    metric = AnswerProbability(some.last, some.answers)
    with torch.no_grad():
        parts = [metric.rows(part).accuracy(model(input_rows(some.x, part))) for part in _parts(some)]
    return torch.cat(parts).double().numpy()


def tested(model: HookedModel, some: Prompts, added: dict[str, Tensor | None], depths: Sequence[int]
           ) -> dict[str, Float[np.ndarray, "depth prompt"]]:
    """Right answers with each vector added at the last token behind each depth."""
    plain = answered(model, some)
    found: dict[str, Any] = {}
    for name, vector in added.items():
        if vector is None:
            found[name] = np.stack([plain] * len(depths))
            continue
        rows = []
        for depth in progress(depths, f"adding {name}"):
            with model.edit(Steer(f"blocks.{depth}.hook_resid_post", vector.float(), pos=-1)):
                rows.append(answered(model, some))
        found[name] = np.stack(rows)
    return found


def read_out(model: HookedModel, vector: Tensor, n: int = 8) -> list[str]:
    """The tokens whose logits a vector raises most, read through the last norm's gain and the unembedding."""
    _, unembed = token_maps(model, embedding=False)
    best = (vector.double() @ unembed).argsort(descending=True)[:n]
    return [model.tokenizer.decode([int(i)]) for i in best]

