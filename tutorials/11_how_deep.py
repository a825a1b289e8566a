# %% [markdown]
# # 11 · How deep does it think?
#
# **Goal.** *"I can say what each layer of a language model does to the whole: how much it writes, who needs it, whether
# layers form groups, and what happens when some are taken away. I know which of these pictures come out of anything."*
#
# The model is SmolLM2-135M: 30 blocks, each an attention and an MLP that read the *residual stream* (a vector at every
# token) and add to it. The text is 6 windows of 32 tokens of held-out presidential addresses.

# %%
import numpy as np
import plotly.graph_objects as go
import torch
from checks import how_deep as checks
from lesson import dashboard

import interp
from interp.depth import half_depth, profile, skip_effects
from interp.depth.phase_count import phases
from interp.results.estimate import bootstrap_mean
from interp.results.plots import BLUE, FIGURE_CONFIG, GREY, ORANGE, curve_with_band, styled
from interp.surgery.drop import drop, ranking
from interp.surgery.flatten import flatten
from interp.surgery.fuse import fuse
from interp.surgery.quality import random_removals, text_loss, windows

torch.set_grad_enabled(False)
torch.set_num_threads(1)
model = interp.load("smollm2-135m")
text = windows(model, 6, 32, "test").ids  # [window, token]
other = windows(model, 6, 32, "validation").ids  # to choose and to fit by

# %% [markdown]
# ## 1. What does each block write?
#
# The *relative contribution* of a part is the length of what it writes over the length of the stream that it is added to.
# In large language models it fades in the second half of the depth (Csordas et al. 2025), as if those layers did little.
#
# **Predict.** Does it fade here? And one MLP in the middle of the model has a mean far above all its neighbours: is it a
# special layer?

# %%
found = profile(model, text, lens=4)
found.figure().show(config=FIGURE_CONFIG)
mlp, block = found.curve("mlp", "relative"), found.curve("block", "relative", masked=True)
length = found.curve("stream", "norm", "median", masked=True)
later = block[15:].mean() / block[1:15].mean()
print(f"blocks 15 to 29 over blocks 1 to 14: {later:.2f}; stream behind block 0 {length[1]:.0f}, 15 {length[16]:.0f}, "
      f"29 {length[30]:.0f}")
print(f"MLP of block 11: {mlp[11]:.2f}; its neighbours {mlp[10]:.2f} and {mlp[12]:.2f}")
columns = ["prompt", "position", "token", "times_median", "from_depth", "to_depth"]
print(found.massive()[columns].round(0).to_string(index=False))

# %% [markdown]
# It does not fade: blocks 15 to 29 write 1.08 times as much, relative to their stream, as blocks 1 to 14. The stream grows
# from a length of 43 behind the first block to 882 at the end, and the writes grow with it. (The figure counts all tokens; the numbers
# printed for blocks leave out the giants that come next.)
#
# The MLP of block 11 seems to write 4.4 times its stream. The table says why that is not about the layer: the *first token* of every
# window, whatever it is, has a stream 160 to 183 times as long as the others' from block 3 to 29. Such tokens
# are known as *massive activations*; attention rests on them when it has nothing to look at. One of 32 tokens decides the mean.
#
# ### Exercise 1: without the giants  (difficulty 2 of 5, 6 minutes)
# Given the stream's `norms` and some `values`, both `[token]`, return the mean of the values over the tokens whose norm is
# less than 8 times the median norm.

# %% tags=["exercise"]
def mean_of_the_rest(norms: torch.Tensor, values: torch.Tensor) -> float:
    raise NotImplementedError

# %% tags=["solution"]
def mean_of_the_rest(norms: torch.Tensor, values: torch.Tensor) -> float:
    return values[norms < 8 * norms.median()].mean().item()

# %%
checks.mean_of_the_rest(mean_of_the_rest)

# %%
norms = found.values["stream"]["norm"].amax(0).flatten()  # [token]: the longest over all depths
rest = [mean_of_the_rest(norms, values.flatten()) for values in found.values["mlp"]["relative"]]
figure = curve_with_band(range(1, 30), mlp[1:], name="all tokens", title="What MLPs write, block 0 left out",
                         x_title="block", y_title="relative contribution")
curve_with_band(range(1, 30), rest[1:], name="without the giants", figure=figure).show(config=FIGURE_CONFIG)
print(f"MLP of block 11 without them: {rest[11]:.2f}")

# %% [markdown]
# Without the giants it writes 0.23, like its neighbours.
#
#
# ## 2. Who needs it?
#
# *Skipping* a block means that it writes nothing. "current": it is skipped everywhere, and every token's output is looked at.
# "future": it is skipped on the first half of the tokens, and the output on the second half is looked at. So the second asks what
# the past hands on to the future through this block. The effect is the distance between two distributions over
# the next token (the length of the difference of probabilities).
#
# **Predict.** Draw both curves over 30 blocks. Where are they high? What is the last value of the second one?

# %%
current = skip_effects(model, text, "current", positions=4)
future = skip_effects(model, text, "future", positions=4)
curves = {"current": [e.value for e in current.on_output()], "future": [e.value for e in future.on_output()]}
figure = None
for name, effect in (("current", current), ("future", future)):
    some = effect.on_output()
    figure = curve_with_band(
        range(30), curves[name], [e.low for e in some], [e.high for e in some], name=name, figure=figure,
        title="Change of the output when a block is left out", x_title="block", y_title="distance of probabilities")
figure.show(config=FIGURE_CONFIG)
for name, values in curves.items():
    print(f"{name:8} blocks 0, 1: {values[0]:.2f}, {values[1]:.2f}; mean of 2 to 27: {np.mean(values[2:28]):.3f}; "
          f"28, 29: {values[28]:.3f}, {values[29]:.3f}; mean of 20 to 29: {np.mean(values[20:]):.3f}")

# %% [markdown]
# The current token needs the first two blocks (0.46, 0.35) and the last two (0.32, 0.33), and the 26 between them much less each
# (0.12 in the mean). The future needs the beginning: 0.22 and 0.19 for the first two, 0.01 for the last ten, and exactly 0 for
# block 29. That has to be so: nobody behind block 29 reads other tokens. So what the past hands on is made early, and the
# rest of the depth is spent on the next word.
#
# Remember a detail for section 4: in both, the first token is left as it is, because without it everything breaks.
#
# ### Exercise 2: by when is half of it done?  (difficulty 2 of 5, 8 minutes)
# Given effects `[block]`, none negative, return the smallest number of blocks, counted from the first, that hold at least
# half of the sum.

# %% tags=["exercise"]
def half_done(effects: list[float]) -> int:
    raise NotImplementedError

# %% tags=["solution"]
def half_done(effects: list[float]) -> int:
    sums = np.cumsum(effects)
    return int((sums < sums[-1] / 2).sum()) + 1

# %%
checks.half_done(half_done)

# %%
for name, values in curves.items():
    print(f"{name}: half behind {half_done(values)} of 30 blocks (the library interpolates: {half_depth(values):.2f})")

# %% [markdown]
# ## 3. Are there phases?
#
# Put the distance between the streams behind every two blocks (1 minus their cosine) into a picture, and squares appear: "early layers",
# "late layers". Cutting where most distance lies across gives borders. The question is whether any picture would.
#
# **Predict.** `rxnmapper` has *one* block, which it applies twelve times. Does it have phases?

# %%
reactions = interp.load("rxnmapper")
task = interp.task("atom-mapping", model=reactions, n=24, seed=0)
split = {"SmolLM2": phases(model, text), "rxnmapper": phases(reactions, task.clean)}
for name, some in split.items():
    some.figure().show(config=FIGURE_CONFIG)
    parts = [f"{part[0]} to {part[-1]}" for part in some.segments]
    row = some.curve.set_index("k").loc[3]
    print(f"{name}: cut into {', '.join(parts)}; gain of three segments {100 * row['gain']:.1f} "
          f"[{100 * row['gain_low']:.1f}, {100 * row['gain_high']:.1f}] points")
split["SmolLM2"].count_figure().show(config=FIGURE_CONFIG)

# %% [markdown]
# It does, says the cut: visits 0 to 3 and 4 to 11 of one and the same block. So borders alone mean nothing. What would be
# there *without* phases? A stream that moves at an even pace also has near neighbours that are alike. The *gain* is how much more of
# all distance three segments take in than they would at an even pace: 1.3 points of a hundred for SmolLM2, with an interval well above 0, and
# 1.4 for rxnmapper, which has no different layers. In the last figure the model's curve lies on that of the even pace.
# What the squares show is that a stream moves fast in some places and slowly in others.
#
# ### Exercise 3: cut nothing  (difficulty 3 of 5, 10 minutes)
# Given distances `[depth, depth]`, symmetric, find the place p that has most distance between the depths before p and those from p
# on. Return p and that distance as a share of all distance (each pair once).

# %% tags=["exercise"]
def cut(distances: np.ndarray) -> tuple[int, float]:
    raise NotImplementedError

# %% tags=["solution"]
def cut(distances: np.ndarray) -> tuple[int, float]:
    across = {p: distances[:p, p:].sum() for p in range(1, len(distances))}
    best = max(across, key=across.get)
    return best, float(across[best] / np.triu(distances, 1).sum())

# %%
checks.cut(cut)
same = np.ones((30, 30)) - np.eye(30)
print(f"SmolLM2 {cut(split['SmolLM2'].distances)}, thirty depths with the same distance everywhere {cut(same)}")

# %% [markdown]
# ## 4. Take layers away
#
# If a layer does little one could do without. Four ways, measured by how much the loss on text (nats a token; lower is
# better) rises: *drop* a block; drop several, chosen by a *score* (how little a block turns its stream, on other text); *flatten* two
# blocks, which then run side by side instead of one after the other and keep all their weights; *fuse*: drop one and
# refit the MLPs of its neighbours, on other text, to do its work.
#
# **Predict.** Four blocks chosen by the score, against four at random: how much do they cost? And where in the depth does flattening cost nothing?

# %%
clean = text_loss(model, text)  # [window]


def rise(changed):
    """The mean rise of the loss, with its interval over windows."""
    return bootstrap_mean(text_loss(changed, text) - clean, unit="windows")


scored = {n: rise(drop(model, ranking(model, other, n, "block"))[0]) for n in (1, 2, 4, 8)}
drawn = random_removals(model, 4, "block", draws=8, seed=0)
special = {f"blocks.{i}" for i in (0, 1, 11, 28, 29)}  # from sections 1 and 2
hit = [bool(special & set(names)) for names in drawn]
costs = [rise(drop(model, names)[0]).value for names in drawn]
points = go.Figure()
for label, wanted, colour in (("drawn, with 0, 1, 11, 28 or 29", True, ORANGE), ("drawn, without", False, GREY)):
    points.add_scatter(x=[4] * hit.count(wanted), y=[c for c, has in zip(costs, hit) if has == wanted],
                       mode="markers", marker={"color": colour, "size": 9}, name=label)
points.add_scatter(x=[*scored], y=[e.value for e in scored.values()], mode="lines+markers", name="chosen by the score",
                   marker={"color": BLUE})
styled(points, title="Blocks taken away", x_title="how many", y_title="rise of the loss (nats)")
points.show(config=FIGURE_CONFIG)
print(f"loss {clean.mean():.2f}; by the score", "; ".join(f"{n}: {cost}" for n, cost in scored.items()))
for paid, names in sorted(zip(costs, drawn)):
    print(f"at random {', '.join(name.removeprefix('blocks.') for name in names):15} {paid:.2f}")
eleven = rise(drop(model, ["blocks.11"])[0])
print(f"block 11 alone: {eleven}")

# %%
ways = {"flattened": lambda depth: flatten(model, depth, other)[0],
        "first dropped": lambda depth: drop(model, [f"blocks.{depth}"])[0],
        "first fused": lambda depth: fuse(model, depth, other)[0]}
pairs = {"0, 1": 0, "3, 4": 3, "9, 10": 9, "21, 22": 21}
cost = {way: {pair: rise(change(depth)) for pair, depth in pairs.items()} for way, change in ways.items()}
shown = [pair for pair in pairs if pair != "0, 1"]
bars = go.Figure([
    go.Bar(name=way, x=[f"blocks {pair}" for pair in shown], y=[row[pair].value for pair in shown],
           error_y={"array": [row[pair].high - row[pair].value for pair in shown],
                    "arrayminus": [row[pair].value - row[pair].low for pair in shown]})
    for way, row in cost.items()])
styled(bars, title="Two neighbours, three ways (blocks 0, 1 are off the scale)", y_title="rise of the loss (nats)")
bars.show(config=FIGURE_CONFIG)
for pair in pairs:
    print(f"blocks {pair}:", "; ".join(f"{way} {row[pair]}" for way, row in cost.items()))

# %% [markdown]
# Four blocks chosen by the score cost 0.5 nats, and eight 0.9, on a loss of 4.4. Four at random cost between 0.6 and 8.5. That looks
# like a very clever score. But the five worst draws are those that hold one of the blocks 0, 1, 11, 28 and 29: a good part of what
# the score does is to stay away from them. And block 11, which in section 2 looked like any other (0.15), costs 2.8 alone: there the
# first token was left as it is, here its giant is not made.
#
# Flattening blocks 3 and 4, or 21 and 22, costs next to nothing (0.00 and 0.07): the second of them hardly needs what the first wrote.
# At blocks 0 and 1 it costs as much as losing a block (7.1), and at 9 and 10 0.4. Dropping and refitting the neighbours costs less
# than dropping in all four places; with 6 windows some intervals overlap. So order matters where
# the stream is built, and hardly at two of the three other places that were tried.
#
# ## What could fool you
# - **A mean over tokens.** One token in 32 made a layer look twenty times as strong as it is. Look at the median and the maximum too.
# - **A cut always cuts.** Thirty depths with the same distance everywhere are cut in the middle, with 0.52 of all distance across.
# - **What the instrument leaves alone.** Block 11 looks harmless where the first token is kept.
# - **A random baseline made of disasters.** If a few layers must stay, random choices are terrible and every score looks good. Compare with
#   the best draws, or with draws that leave those layers alone.
# - **Small and one text.** 192 tokens of one kind of text. `docs/depth.md` has more tokens, other models and intervals.

# %%
dashboard("depth", m="smollm2-135m")

# %% [markdown]
# ## Take away
# 1. How much a layer writes, who needs it, and whether its place in the order matters are three questions with three answers.
# 2. Here the past is handed on by the early layers, the next word needs the first two and the last two most, and
#    the work of the middle is spread over many layers.
# 3. Ask what a picture looks like without the thing you read off it: even pace, equal distances, random draws.

# %%
# The story, asserted: this cell fails if something above is no longer true.
assert 1.0 < later < 1.2 and 40 < length[1] < 46 and 850 < length[30] < 910
assert 4 < mlp[11] < 5 and max(mlp[10], mlp[12]) < 0.3 and 0.2 < rest[11] < 0.26
giants = found.massive()
first = giants[giants["position"] == 0]
assert len(first) == 6 and first["times_median"].between(155, 190).all()
assert (first["from_depth"] == 3).all() and (first["to_depth"] == 29).all()
now, past = curves["current"], curves["future"]
assert sorted(np.argsort(now)[-4:].tolist()) == [0, 1, 28, 29] and 0.1 < np.mean(now[2:28]) < 0.14 and now[11] < 0.18
assert past[0] > 0.17 and past[1] > 0.15 and np.mean(past[20:]) < 0.02 and past[29] == 0
assert half_done(now) == 15 and half_done(past) <= 8
gain = {name: some.curve.set_index("k").loc[3] for name, some in split.items()}
assert all(0.010 < row["gain"] < 0.017 and row["gain_low"] > 0.009 for row in gain.values())
assert len(split["rxnmapper"].segments) == 2 and cut(same)[0] == 15 and 0.51 < cut(same)[1] < 0.53
assert 4.2 < clean.mean() < 4.6 and 0.4 < scored[4].value < 0.65 and 0.7 < scored[8].value < 1.1
worst = sorted(zip(costs, hit))[-5:]
assert min(costs) > 0.55 and max(costs) > 8 and hit.count(True) == 5 and all(has for _, has in worst)
assert eleven.low > 2
assert abs(cost["flattened"]["3, 4"].value) < 0.05 and cost["flattened"]["21, 22"].value < 0.12
assert cost["flattened"]["0, 1"].value > 6 and 0.35 < cost["flattened"]["9, 10"].value < 0.5
assert all(cost["first fused"][pair].value < cost["first dropped"][pair].value for pair in pairs)
