# %% [markdown]
# # 06 · Contextual decomposition: from two by two to a language model
#
# **Goal.** *"I can split every number in a network into the part that is due to a source and the rest, by hand and by
# machine. I know where the rules for that fail, and how to notice."*
#
# *Contextual decomposition* (Murdoch et al. 2018; for transformers Hsu et al. 2024) carries two numbers through the
# network where there was one: the *relevant* part r, which is due to a *source* (a part that you choose), and the rest
# i. Together they are always the value itself: r + i = t. One forward pass gives the parts of everything. You need
# notebook 05.

# %%
import random
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from checks import decomposition as checks
from lesson import dashboard
from torch import nn

import interp
from interp.discovery.nodes import source
from interp.results.plots import FIGURE_CONFIG, GREY, LINES, heatmap, styled

torch.set_num_threads(1)

# %% [markdown]
# ## 1. Two by two
#
# A network with two inputs, two hidden units and two outputs. The inputs are 3 and 1:
#
#     hidden = ReLU([[1, -1], [2, 1]] x + [0, -2])        = ReLU([2, 5]) = [2, 5]
#     output = [[1, 1], [1, -1]] hidden                   = [7, -3]
#
# How much of the output is due to the first input? A *linear map* is easy: r goes through it alone, and the *bias* (the
# constant) is shared by size: |r| / (|r| + |i|) of it is relevant. Before the ReLU that gives r = 1 x 3 = 3 and 2 x 3 =
# 6 without the bias, i = -1 and 1. The bias -2 of the second unit is shared 6 : 1.
#
# ### Exercise 1: a linear map by hand  (difficulty 2 of 5, 10 minutes)
# Return the relevant part of W x + b for the source that is input `k`: r without the bias, plus its share of the bias.
# (Where both parts are 0 the share is 0.)


# %% tags=["exercise"]
def relevant_of_linear(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, k: int) -> torch.Tensor:
    raise NotImplementedError


# %% tags=["solution"]
def relevant_of_linear(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, k: int) -> torch.Tensor:
    relevant = weight[:, k] * x[k]
    rest = weight @ x - relevant
    size = relevant.abs() + rest.abs()
    return relevant + bias * torch.where(
        size > 0, relevant.abs() / size.clamp_min(1e-30), torch.zeros_like(size)
    )


# %%
checks.relevant_of_linear(relevant_of_linear)

# %% [markdown]
# A *function of one value*, such as ReLU, gives r the change that its absence makes: f(t) - f(i). And where r and i
# have different signs, the published rules let the larger one have everything (*sign normalisation*), so that r stays
# between 0 and t.
#
# The judge is `ablation`: set the input to 0, run the network again, take the difference. It is the exact effect of
# that change, at every step.
#
# **Predict.** Do the two parts of the output (due to input 1, due to input 2) add up to the output, under `cdt`? Under
# `ablation`? Which of the two is right?


# %%
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.up, self.act, self.down = (
            nn.Identity(),
            nn.Linear(2, 2),
            nn.ReLU(),
            nn.Linear(2, 2, bias=False),
        )
        self.up.weight.data = torch.tensor([[1.0, -1.0], [2.0, 1.0]])
        self.up.bias.data = torch.tensor([0.0, -2.0])
        self.down.weight.data = torch.tensor([[1.0, 1.0], [1.0, -1.0]])

    def forward(self, x):
        return self.down(self.act(self.up(self.x(x))))


two = interp.hook(
    Two(),
    sites={"hook_embed": "x", "blocks.0.mlp.hook_pre": "up", "blocks.0.mlp.hook_post": "down:in"},
    input_name="x",
)
inputs = [interp.Source("hook_embed", unit=0), interp.Source("hook_embed", unit=1)]
steps = ["blocks.0.mlp.hook_pre", "blocks.0.mlp.hook_post", "output"]
x = torch.tensor([[[3.0, 1.0]]])  # [batch, pos, unit]
rows, labels = [], []
for rules in ("cdt", "ablation"):
    split = interp.decompose(two, x, inputs, steps, rules=rules)
    parts = torch.cat([split.relevant[step].flatten(1) for step in steps], 1)  # [source, value]
    rows += [*parts, parts.sum(0)]
    labels += [f"{rules}: input 1", f"{rules}: input 2", f"{rules}: sum"]
rows.append(torch.cat([split.total[step].flatten() for step in steps]))
labels.append("the value itself")
table = torch.stack(rows)
columns = ["before ReLU 1", "before ReLU 2", "hidden 1", "hidden 2", "output 1", "output 2"]
heatmap(table, x=columns, y=labels, title="Two by two: who gets what", unit="value").show(config=FIGURE_CONFIG)
for label, row in zip(labels, table):
    print(f"{label:18}", " ".join(f"{value:6.2f}" for value in row))

# %% [markdown]
# `cdt` adds up at every step, to the last digit. `ablation` does not: its two parts of the second output are -3 and -2,
# and the output is -3. And yet `ablation` is right about what each input does: without input 1 both hidden units are
# silent and the output is 0, so all of 7 and -3 is due to it. `cdt` gives it 6.29 and -2.29, because it hands a share
# of the bias to input 2, which keeps a hidden unit awake that in fact would be silent. (Sign normalisation shows at the
# first hidden unit: input 2 had -1 of 2, and gets 0.)
#
# The effects of the two inputs interact, so no split that adds up can give both their exact effects. Adding up is a
# choice of the rules, not a sign that they are right.
#
# ### Exercise 2: the sum that proves nothing  (difficulty 2 of 5, 8 minutes)
# Invent the worst decomposition that adds up: given the total and the number of sources, return parts [source, *shape
# of the total] that sum to the total and have nothing to do with any source.


# %% tags=["exercise"]
def parts_that_add_up(total: torch.Tensor, n_sources: int) -> torch.Tensor:
    raise NotImplementedError


# %% tags=["solution"]
def parts_that_add_up(total: torch.Tensor, n_sources: int) -> torch.Tensor:
    return torch.stack([total / n_sources] * n_sources)


# %%
checks.parts_that_add_up(parts_that_add_up)

# %% [markdown]
# ## 2. Attention, and what one pass cannot see
#
# In attention the published rule is: the relevant output is made of relevant queries, keys *and* values. A source that
# reaches a head through its keys alone has no relevant values, and so no relevant output.
#
# `garden/induction-2l` has exactly such a part: L0H2 tells the keys of layer 1 which token came before (notebook 03).
# The sources are its eight heads, the metric is the logit of the right token minus that of the wrong one, and a source
# is taken away by giving it its value on the corrupt prompt.
#
# Two rivals: `local-shapley` averages two orders of taking away at each step; `tangent` is the gradient.
#
# **Predict.** The exact effect of L0H2 is about 31 logits. What does `cdt` say? And for the four heads of layer 1,
# which act through their values?

# %%
small = interp.load("garden/induction-2l")
task = interp.task("induction", model=small, n=32, seed=0)
heads = [interp.Source(f"blocks.{depth}.attn.hook_z", head=head) for depth in range(2) for head in range(4)]
names = [f"L{depth}H{head}" for depth in range(2) for head in range(4)]
kinds = ("ablation", "cdt", "local-shapley", "tangent")
found = {
    kind: interp.effects(
        small, task.clean, heads, task.metric, kind, baseline=interp.Counterfactual(task.corrupt)
    ).mean
    for kind in kinds
}
bars = go.Figure([go.Bar(name=kind, x=names, y=values) for kind, values in found.items()])
styled(bars, title="Induction: effect of each head, by rule set", x_title="head", y_title="logits").show(
    config=FIGURE_CONFIG
)
for kind, values in found.items():
    print(f"{kind:14}", " ".join(f"{value:6.2f}" for value in values))

# %% [markdown]
# The parts are there, if one looks in the right place: ask for the relevant part of the *keys* of layer 1.

# %%
corrupt = interp.Counterfactual(task.corrupt[:8])
targets = [f"blocks.1.attn.hook_{letter}" for letter in "qkvz"] + ["output"]
into = interp.decompose(small, task.clean[:8], [heads[2]], targets, rules="cdt", baseline=corrupt)
moved = interp.decompose(small, task.clean[:8], [heads[2]], targets, rules="ablation", baseline=corrupt)
sizes = {
    name: [(split.relevant[t].norm() / split.total[t].norm()).item() for t in targets]
    for name, split in (("cdt", into), ("ablation, exact", moved))
}
bars = go.Figure(
    [
        go.Bar(name=name, x=["queries", "keys", "values", "head outputs", "logits"], y=values)
        for name, values in sizes.items()
    ]
)
styled(
    bars,
    title="How much of layer 1 is due to L0H2",
    x_title="target",
    y_title="size of the part / size of the whole",
).show(config=FIGURE_CONFIG)
for name, values in sizes.items():
    print(f"{name:16}", " ".join(f"{value:5.2f}" for value in values))

# %% [markdown]
# L0H2 has an exact effect of 31.2 logits, the largest of all. `cdt` gives it 0.28, less than a hundredth,
# `local-shapley` half (15.7), the gradient 2.1: what it moves is a softmax that is already saturated. For the heads of
# layer 1, `cdt` has the right order and two thirds of the size.
#
# In the keys of layer 1 `cdt` does see the head (0.26 of their size; exactly it is 0.48). From the keys on, the trace
# ends: the logits are 0.10 instead of 0.53. The authors know this, and search in rounds: first what matters for the
# output, then what matters for the queries and keys of that. `interp.discover(..., method="cdt-iterated")` does so.
#
# ## 3. A language model, and how one knows
#
# In SmolLM2-135M (notebook 07 has the task: "When Mary and John ... John gave a drink to" -> "Mary") nobody knows the
# truth, but the exact effect of *some* sources can always be measured. Here are 24 of its 270 heads: the ten with the
# largest exact effects, as kept in `circuits/found/ioi.json`, and fourteen drawn at random. Four prompts.
#
# **Predict.** Which of the three rule sets follows the exact effects best? Will the fourteen random heads be near 0
# under all of them?

# %%
model = interp.load("smollm2-135m")
ioi = interp.task("ioi", model=model, n=4, seed=5)
kept = interp.Circuit.load(Path(interp.__file__).parents[1] / "circuits" / "found" / "ioi.json")
ranked = sorted(
    (node for node in kept.scores if node.head is not None), key=lambda node: -abs(kept.scores[node])
)
some = ranked[:10] + random.Random(0).sample(ranked[10:], 14)
results = {
    kind: interp.effects(
        model,
        ioi.clean,
        [source(node) for node in some],
        ioi.metric,
        kind,
        baseline=interp.Counterfactual(ioi.corrupt),
    ).mean.numpy()
    for kind in kinds
}
exact = results["ablation"]
figure = go.Figure()
for kind, colour, symbol in zip(kinds[1:], LINES, ("circle", "diamond", "x")):
    figure.add_scatter(
        x=exact,
        y=results[kind],
        mode="markers",
        name=kind,
        marker={"color": colour, "symbol": symbol, "size": 9},
        text=[n.label for n in some],
    )
figure.add_scatter(x=[-1, 2], y=[-1, 2], mode="lines", name="equal", line={"color": GREY, "dash": "dot"})
styled(
    figure, title="SmolLM2-135M on IOI: 24 heads", x_title="exact effect, logits", y_title="rule set, logits"
).show(config=FIGURE_CONFIG)
follow = {kind: float(np.corrcoef(exact, results[kind])[0, 1]) for kind in kinds[1:]}
for kind in kinds[1:]:
    top = int(np.abs(results[kind]).argmax())
    print(
        f"{kind:14} correlation {follow[kind]:.2f}; its largest is {some[top].label} "
        f"with {results[kind][top]:.2f}, where the exact effect is {exact[top]:.2f}"
    )

# %% [markdown]
# The gradient follows best here (correlation 0.92), then `local-shapley` (0.89); `cdt` is far behind (0.43). The
# largest value that `cdt` gives to any of the 24 heads, 0.91, belongs to L23H0, one of those drawn at random, whose
# exact effect is -0.19; and it gives almost nothing to L20H0, which has 1.36. Nothing inside `cdt` warns of this: its
# parts add up on every layer.
#
# What warned us was a *sample*: some sources, some of them at random, measured exactly. It took 24 patched runs of four
# prompts, three seconds of computing. Do this before you trust any rule set on a model of your own.
#
# ### Exercise 3: the worst miss  (difficulty 2 of 5, 6 minutes)
# A correlation hides single errors. Given the values of a rule set and the exact ones, return the index of the source
# with the largest absolute error, and that error as a multiple of the exact effect's size there (infinite where that is
# 0).


# %% tags=["exercise"]
def worst_miss(values: np.ndarray, exact: np.ndarray) -> tuple[int, float]:
    raise NotImplementedError


# %% tags=["solution"]
def worst_miss(values: np.ndarray, exact: np.ndarray) -> tuple[int, float]:
    error = np.abs(values - exact)
    i = int(error.argmax())
    return i, float(error[i] / abs(exact[i])) if exact[i] else float("inf")


# %%
checks.worst_miss(worst_miss)
for kind in kinds[1:]:
    i, factor = worst_miss(results[kind], exact)
    print(
        f"{kind:14} misses most at {some[i].label}: {results[kind][i]:.2f} "
        f"for {exact[i]:.2f}, off by {factor:.1f} times"
    )

# %% [markdown]
# ## What could fool you
# - **It adds up.** r + i = t holds by construction, for right and wrong rules alike.
# - **One pass.** A source that works through queries or keys is nearly invisible in the output, however much it
#   matters. Ask for the keys as a target, or take it away and look.
# - **A cut-off.** "The ten largest by `cdt`" may leave out the largest: whatever a rule set cannot see, it ranks last,
#   and no exact check of its shortlist will bring it back.
# - **A small sample.** 24 heads and four prompts show that a rule set fails, not how often. `docs/cdt.md` and
#   `docs/truth.md` have the larger studies.

# %%
dashboard("disagreement", m="garden/induction-2l", t="induction", h="L0H2")

# %% [markdown]
# ## Take away
# 1. A decomposition is a set of rules for sharing, one for each kind of operation; other rules give other answers.
# 2. Adding up is no evidence. Agreement with exact effects, on some sources drawn at random, is.
# 3. Know the blind spot of each rule set: for one pass of `cdt` it is queries and keys, for gradients it is what has
#    saturated.

# %%
# The story, asserted: this cell fails if something above is no longer true.
by_label = dict(zip(labels, table))
assert torch.allclose(by_label["cdt: sum"], by_label["the value itself"], atol=1e-5)
assert torch.allclose(by_label["ablation: input 1"][4:], torch.tensor([7.0, -3.0]))
assert torch.allclose(by_label["cdt: input 1"][4:], torch.tensor([6.2857, -2.2857]), atol=1e-3)
assert not torch.allclose(by_label["ablation: sum"], by_label["the value itself"], atol=0.5)
by_hand = relevant_of_linear(two.module.up.weight, two.module.up.bias, x[0, 0], 0)
assert torch.allclose(by_hand.clamp(max=torch.tensor([2.0, 5.0])), by_label["cdt: input 1"][:2], atol=1e-5)
assert found["ablation"][2] > 28 and abs(found["cdt"][2]) < 0.01 * found["ablation"][2]
assert 14 < found["local-shapley"][2] < 17 and found["tangent"][2] < 3
assert (found["cdt"][4:] / found["ablation"][4:]).mean() > 0.6
assert sizes["cdt"][1] > 0.2 and sizes["cdt"][4] < 0.15 < 0.4 < sizes["ablation, exact"][4]
assert follow["cdt"] < 0.6 < 0.8 < min(follow["local-shapley"], follow["tangent"])
odd = [node.label for node in some].index("L23H0")
assert odd >= 10 and results["cdt"][odd] == results["cdt"].max() and exact[odd] < 0
