"""Six studies for notebook 17, each with one fault that its result does not show.

You are meant to find the faults from outside, with what a reader of a paper has: the claim, the figure, the model and
the data. Reading this file first spoils the exercise. Nothing here is made up: every number is computed when asked for,
by code of the kind that people write.
"""

from dataclasses import dataclass, field
from functools import cache
from textwrap import fill
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from scipy.stats import ttest_ind
from torch import Tensor
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import interp
from interp.garden.recipes.induction_2l import accuracy, held_out
from interp.hooks.tap import mark
from interp.parts.attention import Attention
from interp.results import bootstrap_mean
from interp.results.plots import curve_with_band, forest, heatmap, styled
from interp.tasks import repeats
from interp.tasks.corpus import documents


@dataclass(frozen=True)
class Study:
    """What a paper shows: its claim in a sentence, its figure, the model, and its data by name in `data`."""

    claim: str
    figure: go.Figure
    model: interp.HookedModel
    data: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return fill(f"Claim: {self.claim}", 92)


def repeat_rows(n: int, seed: int, periods: tuple[int, int]) -> Tensor:
    """Token ids [n, 40] of 32 tokens behind a BOS: a lead, then a block that repeats, its length from `periods`."""
    generator = torch.Generator().manual_seed(seed)
    return repeats.sequences(n, generator, n_tokens=32, n_ctx=40, periods=periods, longest_lead=12)[0]


def right(model: interp.HookedModel, tokens: Tensor) -> Tensor:
    """Share of correct first guesses in every row [row], where the next token can be known."""
    with torch.no_grad():
        hits = model(tokens)[:, :-1].argmax(-1) == tokens[:, 1:]
    known = repeats.predictable(tokens)[:, :-1]
    return (hits & known).sum(1) / known.sum(1)


def study_1() -> Study:
    """One layer is enough for induction."""
    periods, steps = (8, 8), 180
    sizes = {"d_model": 48, "n_layers": 1, "n_heads": 4, "d_vocab": 33, "n_ctx": 40}
    model = interp.build("attn-only-rotary", **sizes, seed=0)
    model.name = "one-layer"
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    new, curve = repeat_rows(256, 1_000_000, periods), {}
    with torch.enable_grad():
        for step in range(steps):
            if step % 20 == 0:
                curve[step] = right(model, new).mean().item()
            for group in optimiser.param_groups:
                group["lr"] = 3e-3 * min(1, (step + 1) / 50, 3 * (steps - step) / steps)
            tokens = repeat_rows(48, step, periods)
            loss = cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()
    curve[steps] = right(model, new).mean().item()
    _, cache = model.run_with_cache(new, "blocks.0.attn.hook_pattern")
    looks = (cache["pattern", 0] * repeats.matches(new)[:, None]).sum(-1)[..., -12:].mean((0, 2))
    claim = (f"One layer of attention is enough for induction. It continues a repeated block of random tokens in "
             f"{curve[steps]:.3f} of all cases on 256 new rows, and its best head puts {looks.max():.2f} of its "
             "attention on what followed the earlier copy of the current token.")
    figure = curve_with_band(curve, list(curve.values()), title="One layer, accuracy on new rows",
                             x_title="training step", y_title="share right")
    return Study(claim, figure, model, {"tokens": new, "accuracy": curve[steps]})


def study_2() -> Study:
    """A small language model knows the party of the speaker."""
    model = interp.load("garden/text-small")
    windows, party, speech, speaker = [], [], [], []
    for number, document in enumerate(documents()):
        if not document.party or not 1961 <= document.year <= 1992:
            continue
        ids = model.tokenizer(document.text[3000:10_000], verbose=False).input_ids
        for start in range(0, 640, 16):
            windows.append(ids[start : start + 64])
            party.append(float(document.party == "Republican"))
            speech.append(number)
            speaker.append(document.author)
    stream = mean_stream(model, torch.tensor(windows))
    order = np.random.default_rng(0).permutation(len(windows))
    train, test = order[: 3 * len(order) // 4], order[3 * len(order) // 4 :]
    label = np.array(party)
    hits = bootstrap_mean(nearest(stream, label, train, test))
    chance = bootstrap_mean((label[test] == label[train].mean().round()).astype(float))
    claim = (f"text-small knows the political party of the speaker. For each of {len(test)} stretches of 64 tokens we "
             f"looked among {len(train)} others for the one with the most similar stream behind layer 2: it is by a "
             f"speaker of the same party in {hits}; the commoner party would be right in {chance.value:.2f}.")
    figure = forest({"nearest stretch": hits, "commoner party": chance}, title="Which party is speaking?",
                    x_title="share right")
    facts = {"stream": stream, "party": label, "train": train, "test": test, "speech": np.array(speech),
             "speaker": np.unique(speaker, return_inverse=True)[1]}
    return Study(claim, figure, model, facts)


def mean_stream(model: interp.HookedModel, tokens: Tensor, site: str = "blocks.2.hook_resid_post") -> np.ndarray:
    """The stream behind layer 2, averaged over positions; [row, d_model]."""
    return torch.cat([model.read(rows, site)[site].mean(1) for rows in tokens.split(64)]).double().numpy()


def nearest(stream: np.ndarray, label: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """1 where a row of `test` has the label of the row of `train` that is most like it, else 0."""
    return (label[most_similar(stream, train, test)] == label[test]).astype(float)


def most_similar(stream: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """For each row number in `test` the one in `train` whose standardised stream is nearest."""
    unit = torch.tensor((stream - stream[train].mean(0)) / stream[train].std(0))
    return train[torch.cdist(unit[test], unit[train]).argmin(1).numpy()]


DEPTHS = ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post")


def study_3() -> Study:
    """The model does not need the token that it copies."""
    model = interp.load("garden/induction-2l")
    task = interp.task("induction", model=model, n=64, seed=3, counterfactual="answer")
    places = [len(text.split()) - 1 - text.split()[::-1].index(str(answer))
              for text, answer in zip(task.prompts["clean"], task.prompts["answer_id"])]
    sources = [interp.Source(site, pos=places) for site in DEPTHS]
    found = interp.effects(model, task.clean, sources, task.metric, baseline=interp.Counterfactual(task.corrupt))
    estimates = dict(zip(("input", "behind layer 0", "behind layer 1"), found.estimates()))
    claim = ("Induction heads do not carry over the token that they look at. We exchanged the stream at the last "
             f"earlier B of '... A B ... A' for that of a prompt with another B: {estimates['input'].value:.4f} logits "
             f"are lost at the input and {estimates['behind layer 0'].value:.4f} behind layer 0, of "
             f"{task.metric(model(task.clean)).mean():.1f}.")
    figure = forest(estimates, title="Patching the stream at the last earlier B", x_title="effect, logits")
    figure.update_xaxes(range=[-1, 16])
    return Study(claim, figure, model, {"task": task, "places": places})


class _Fused(Attention):
    """Attention by the fast kernel of PyTorch; the pattern is kept for those who want to look at it."""

    def forward(self, x, context):
        q, k, v = (self._heads(project(x)) for project in (self.q, self.k, self.v))
        q, k = self.rotary(q, context.place), self.rotary(k, context.place)
        bias = context.mask(self.causal, x.dtype)
        for name, value in (("rot_q", q), ("rot_k", k)):
            mark(self, name, value.transpose(1, 2))
        scores = mark(self, "attn_scores", q @ k.mT * self.d_head**-0.5 + bias)
        mark(self, "pattern", scores.softmax(-1))
        z = scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.d_head**-0.5)
        return self.o(z.transpose(1, 2).flatten(2))


def study_4() -> Study:
    """Attention patterns are decoration."""
    model = interp.load("garden/induction-2l")
    for module in model.module.modules():
        if isinstance(module, Attention):
            module.__class__ = _Fused
    tokens, known, _ = held_out()
    whole = accuracy(model(tokens), tokens, known)
    even = even_patterns(model, tokens, known)
    _, cache = model.run_with_cache(tokens[:1], "blocks.1.attn.hook_pattern")
    claim = ("What heads look at does not matter. We replaced the attention patterns of every head in both layers by "
             f"an even look at all earlier tokens. Accuracy on repeats: {whole:.3f} before, {even:.3f} after.")
    figure = heatmap(cache["pattern", 1][0, 3], diverging=False, unit="share", x_title="looked at", y_title="looks",
                     title="Layer 1, head 3, before it was replaced")
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.update(tickvals=[*range(0, 64, 8)], ticktext=[*range(0, 64, 8)])
    return Study(claim, figure, model, {"tokens": tokens, "known": known, "whole": whole, "even": even})


def even_patterns(model: interp.HookedModel, tokens: Tensor, known: Tensor) -> float:
    """Accuracy on repeats with all patterns of two layers replaced by an even look at all earlier positions."""
    n = tokens.shape[1]
    even = (torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]).expand(len(tokens), 4, n, n)
    with model.edit(*[interp.Patch(f"blocks.{depth}.attn.hook_pattern", even) for depth in range(2)]):
        return accuracy(model(tokens), tokens, known)


def study_5() -> Study:
    """Two heads of layer 1 recall."""
    model = interp.load("garden/recall-attn-only-rotary")
    task = interp.task("recall", model=model, n=96, seed=5)
    names = [f"L{depth}H{head}" for depth in range(2) for head in range(4)]
    sources = [interp.Source(f"blocks.{name[1]}.attn.hook_z", head=int(name[3])) for name in names]
    found = interp.effects(model, task.clean, sources, task.metric, baseline="zero")
    estimates = dict(zip(names, found.estimates()))
    ranked = sorted(names, key=lambda name: -estimates[name].value)
    needed = [name for name in ranked if estimates[name].low > 1]
    claim = (f"Recall is the work of {', '.join(needed)}. The task: pairs of a key and a value are shown, then "
             f"one of the keys; say its value. Each of these heads is worth more than one logit, of "
             f"{task.metric(model(task.clean)).mean():.1f} in all, on {len(task)} prompts.")
    figure = forest(estimates, title="What is lost without one head", x_title="effect, logits")
    return Study(claim, figure, model, {"task": task, "names": names, "sources": sources})


def study_6(seed: int = 2) -> Study:
    """A neuron for election years; `seed` draws the speeches that the study was made with."""
    model, activations, label = neurons()
    drawn = np.random.default_rng(seed)
    election, other = (drawn.permutation(np.flatnonzero(label == side)) for side in (1, -1))
    seen = np.concatenate([election[:15], other[:15]])
    unseen = np.concatenate([election[15:], other[15:31]])
    size = (activations - activations[seen].mean(0)) / activations[seen].std(0)
    values = size.T * label  # [neuron, speech]: how far to the side of its own kind of year
    p = ttest_ind(size[seen][label[seen] > 0], size[seen][label[seen] < 0]).pvalue
    best = int(p.argmin())
    sign = np.sign(values[best, seen].mean())
    found = bootstrap_mean(sign * values[best, seen])
    claim = (f"Neuron {best % 384} of layer {best // 384} of text-small codes for election years. On 30 speeches, 15 "
             f"of them from election years, its mean activation is {found.value:.2f} standard deviations "
             f"[{found.low:.2f}, {found.high:.2f}] to the side of the right kind of year (p = {p[best]:.4f}).")
    figure = go.Figure([go.Box(y=sign * size[seen][label[seen] == side, best], name=name, boxpoints="all")
                        for side, name in ((1, "election year"), (-1, "other year"))])
    styled(figure, title=f"Neuron {best % 384} of layer {best // 384}", y_title="activation, standard deviations")
    facts = {"values": values, "seen": seen, "unseen": unseen, "best": best, "sign": sign, "p": p, "label": label}
    return Study(claim, figure, model, facts)


@cache
def neurons() -> tuple[interp.HookedModel, np.ndarray, np.ndarray]:
    """text-small, the mean activation of its MLP neurons over each of 123 speeches since 1900 [speech, neuron], and 1
    for those of an election year, -1 for others."""
    model = interp.load("garden/text-small")
    sites = [f"blocks.{depth}.mlp.hook_post" for depth in range(4)]
    rows, label = [], []
    for document in documents():
        if document.party and document.year >= 1900:
            ids = model.tokenizer(document.text[2000:6000], verbose=False).input_ids[:1024]
            read = model.read(torch.tensor(ids[: len(ids) // 128 * 128]).reshape(-1, 128), sites)
            rows.append(torch.cat([read[site].mean((0, 1)) for site in sites]))
            label.append(1 if document.year % 4 == 0 else -1)
    return model, torch.stack(rows).double().numpy(), np.array(label)
