# %% [markdown]
# # 05 · Patching and ablation: the same head, different answers
#
# **Goal.** *"I know what I ask when I take a head away or patch it: what stands in its place, from which prompt, in
# which direction. I can say why two honest experiments on one head disagree."*
#
# *Ablation* takes a part of a model away; *patching* puts in its place what it did on another prompt. Both need
# something in the place of what is taken, and the answer depends on it. The model is `garden/induction-2l` of notebooks
# 01 and 02: two layers of four attention heads that continue a repeated block of random tokens.

# %%
import plotly.graph_objects as go
import torch
from checks import patching_and_ablation as checks
from lesson import dashboard

import interp
from interp.results.plots import FIGURE_CONFIG, curve_with_band, heatmap, styled
from interp.tasks.metrics import LogProb

torch.set_grad_enabled(False)
torch.set_num_threads(1)
model = interp.load("garden/induction-2l")
heads = [interp.Source("blocks.0.attn.hook_z", head=h) for h in range(4)] + [
    interp.Source("blocks.1.attn.hook_z", head=h) for h in range(4)
]
names = ["L0H0", "L0H1", "L0H2", "L0H3", "L1H0", "L1H1", "L1H2", "L1H3"]

# %% [markdown]
# ## 1. Clean, corrupt, metric
#
# A *task* is a set of pairs of prompts and a number. The *clean* prompt `... A B ... A` is continued with B. In the
# *corrupt* prompt an earlier A and another token have changed places, so that another token, B', follows. The *metric*
# is the logit (the score before it becomes a probability) of B minus that of B', on 64 prompts. Everything else of the
# two prompts is the same, so everything else cancels.
#
# An *effect* is the clean metric minus the metric after an intervention: how much is lost.
#
# **Predict.** Put into one head at a time, on the clean prompt, what it does on the corrupt one. For how many of the
# eight heads is anything lost?

# %%
task = interp.task("induction", model=model, n=64, seed=0)
print("clean  ", task.prompts["clean"][0])
print("corrupt", task.prompts["corrupt"][0])
print(
    f"metric: clean {task.metric(model(task.clean)).mean():.1f}, corrupt "
    f"{task.metric(model(task.corrupt)).mean():.1f} {task.metric.unit}"
)
patched = interp.effects(model, task.clean, heads, task.metric, baseline=interp.Counterfactual(task.corrupt))
patched.figure().show(config=FIGURE_CONFIG)
for name, estimate in zip(names, patched.estimates()):
    print(f"{name} {estimate}")

# %% [markdown]
# For five. L0H2 carries everything (32.1 of the 32.0 logits between clean and corrupt); each head of layer 1 some 8 to
# 11. The effects of layer 1 add up to 37, more than there is: parts that depend on each other share what they lose.
# Three heads of layer 0 carry nothing that differs between the two prompts.
#
# ### Exercise 1: patch by hand  (difficulty 2 of 5, 8 minutes)
# `interp.effects` does this for many heads at once. Do it for one: return the mean effect of putting into head `head`
# of layer `layer` what it does on `task.corrupt`.


# %% tags=["exercise"]
def effect_of_patching(model, task, layer: int, head: int) -> float:
    raise NotImplementedError


# %% tags=["solution"]
def effect_of_patching(model, task, layer: int, head: int) -> float:
    site = f"blocks.{layer}.attn.hook_z"
    other = model.read(task.corrupt, site)[site]
    clean = task.metric(model(task.clean))
    with model.edit(interp.Patch(site, other, head=head)):
        return (clean - task.metric(model(task.clean))).mean().item()


# %%
checks.effect_of_patching(effect_of_patching)

# %% [markdown]
# ## 2. What stands in its place
#
# Five usual choices: *zero*; the head's *mean* output over all prompts and positions; its mean *at each position*; its
# output on *other prompts* drawn at random (resampling, eight draws); its output on the *corrupt* prompt.
#
# **Predict.** Look at L0H1, which you have just seen to be of no use to the task. What will zero say about it? And the
# mean?

# %%
choices = {
    "zero": "zero",
    "mean": interp.Mean(over=task.clean, per="all"),
    "mean at each position": interp.Mean(over=task.clean, per="position"),
    "other prompts": interp.Resample(task.clean, draws=8),
    "corrupt prompt": interp.Counterfactual(task.corrupt),
}
table = torch.stack(
    [interp.effects(model, task.clean, heads, task.metric, baseline=choice).mean for choice in choices.values()]
)
heatmap(
    table,
    x=names,
    y=[*choices],
    title="Effect of taking one head away",
    x_title="head",
    y_title="what stands in its place",
    unit="logits",
).show(config=FIGURE_CONFIG)
for name, row in zip(choices, table):
    print(f"{name:22}", "  ".join(f"{head} {value:5.1f}" for head, value in zip(names, row)))

# %% [markdown]
# L0H1 has five answers: 5.0 with zero, 2.7 with its mean, and nothing (within 0.2) with its mean at each position, with
# other prompts, with the corrupt prompt. L0H2 has two: about 15 with everything that only *removes* its note, 32 with
# the corrupt prompt, which writes a *wrong* note, so that the model does not go silent but says B'. For the other heads
# the choice matters little.
#
# **Predict.** Why? Think about what this head can write at position 0, where every row has the same token and there is
# nothing before it to look at.

# %%
z = model.read(task.clean, "blocks.0.attn.hook_z")["blocks.0.attn.hook_z"][:, :, 1]  # [prompt, pos, d_head]
spread, size = z.std(0).norm(dim=-1), z.mean(0).norm(dim=-1)
figure = curve_with_band(
    range(12),
    size[:12],
    name="size of its mean",
    title="What L0H1 writes, by position",
    x_title="position",
    y_title="norm",
)
curve_with_band(range(12), spread[:12], name="spread over prompts", figure=figure).show(config=FIGURE_CONFIG)
first = interp.Source("blocks.0.attn.hook_z", head=1, pos=0)
only_first = interp.effects(model, task.clean, [first], task.metric).mean.item()
print(
    f"position 0: mean {size[0]:.2f}, spread {spread[0]:.2f}; "
    f"zeroing the head there alone costs {only_first:.2f} logits"
)

# %% [markdown]
# At position 0 the head writes a large vector, the same in every prompt. The layers behind are used to it, so zeroing
# it there alone costs 1.5 logits. It is a *constant*, like a bias: nothing about this prompt is in it, and any
# replacement that is right at each position leaves it alone. Zero does not ask "what does this head know", but "what if
# it had never been connected".
#
# ### Exercise 2: two means  (difficulty 2 of 5, 6 minutes)
# Given the outputs of a head, [prompt, pos, d_head], return the two replacements of the same shape: its mean over
# everything, and its mean at each position.


# %% tags=["exercise"]
def two_means(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    raise NotImplementedError


# %% tags=["solution"]
def two_means(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return z.mean((0, 1)).expand_as(z), z.mean(0).expand_as(z)


# %%
checks.two_means(two_means)

# %% [markdown]
# ## 3. The corrupt prompt is the question
#
# The task can be asked with another corrupt prompt: instead of exchanging *who stands before whom* ("prefix"), every B
# becomes a B' that is nowhere else ("answer"). The clean prompts, the metric's form and the model are the same.
#
# **Predict.** L0H2 notes at every position which token came before. Its effect was 32 logits with "prefix". With
# "answer"?

# %%
both = {"prefix": patched.mean}
answer = interp.task("induction", model=model, n=64, seed=0, counterfactual="answer")
both["answer"] = interp.effects(
    model, answer.clean, heads, answer.metric, baseline=interp.Counterfactual(answer.corrupt)
).mean
bars = go.Figure([go.Bar(name=f"corrupt: {name}", x=names, y=values) for name, values in both.items()])
styled(
    bars, title="Effect of patching, with two kinds of corrupt prompts", x_title="head", y_title="logits"
).show(config=FIGURE_CONFIG)
print({name: [round(value, 2) for value in values.tolist()] for name, values in both.items()})

# %% [markdown]
# Nothing (-0.01). With "answer" the token *before* each position is the same in clean and corrupt, so L0H2 says the
# same on both, and patching it changes nothing. It has not become less important: with zero it costs 15 logits here as
# well. A part can only be found by a corrupt prompt that changes what the part says.
#
# ## 4. The direction: noising and denoising
#
# *Noising*: run the clean prompt, put one part from the corrupt prompt into it, and see what breaks. *Denoising*: run
# the corrupt prompt, put one part from the clean one into it, and see what is restored. To see the difference we need a
# corrupt prompt that is merely broken (the earlier A's are replaced by a token that is nowhere else, so nothing
# follows), and a metric that has a ceiling: the *probability* of B.
#
# **Predict.** Each of the four heads of layer 1 copies B. Noising one of them: what is lost? Denoising one of them:
# what is restored? Are the two numbers equal?


# %%
class Probability(LogProb):
    """Probability of the right token at the last position."""

    unit = "probability"

    def read(self, at):
        return super().read(at).exp()


broken = task.clean.clone()
for row in broken:
    absent = next(token for token in range(64) if token not in row)
    row[:-1][row[:-1] == row[-1]] = absent
probability = Probability(task.metric.positions, task.metric.correct)
print(
    f"probability of B: clean {probability(model(task.clean)).mean():.2f}, "
    f"broken {probability(model(broken)).mean():.2f}"
)
groups = {
    "L0H2": heads[2],
    "L1H0": heads[4],
    "L1H1": heads[5],
    "L1H2": heads[6],
    "L1H3": heads[7],
    "L1H0-1": heads[4:6],
    "L1H0-2": heads[4:7],
    "L1H0-3": heads[4:8],
}
lost = interp.effects(
    model, task.clean, [*groups.values()], probability, baseline=interp.Counterfactual(broken)
).mean
restored = -interp.effects(
    model, broken, [*groups.values()], probability, baseline=interp.Counterfactual(task.clean)
).mean
bars = go.Figure(
    [
        go.Bar(name="lost by noising", x=[*groups], y=lost),
        go.Bar(name="restored by denoising", x=[*groups], y=restored),
    ]
)
styled(bars, title="Two directions", x_title="what is patched", y_title="probability of B").show(
    config=FIGURE_CONFIG
)
for name, down, up in zip(groups, lost, restored):
    print(f"{name:7} lost {down:.2f}  restored {up:.2f}")

# %% [markdown]
# They are not equal at all. Noising any one head of layer 1 loses between 0.36 and 0.84; denoising one restores at most
# 0.04. It takes three to bring back 0.62, and all four for 0.98. On this metric they are an *AND*: one missing is
# enough to fail, one alone is no help. L0H2, which all of them read, has 0.98 both ways. (The opposite, an *OR*, loses
# nothing by noising one and restores everything by denoising one: stand-ins and backups.)
#
# ### Exercise 3: gates  (difficulty 2 of 5, 8 minutes)
# Take a "model" of two parts that are each on (1) or off (0). Clean: both on. Corrupt: both off. Given the gate, a
# function of the two, return for the first part alone what noising loses and what denoising restores.


# %% tags=["exercise"]
def both_directions(gate) -> tuple[float, float]:
    raise NotImplementedError


# %% tags=["solution"]
def both_directions(gate) -> tuple[float, float]:
    return gate(1, 1) - gate(0, 1), gate(1, 0) - gate(0, 0)


# %%
checks.both_directions(both_directions)
gates = {"AND": lambda a, b: a * b, "OR": max, "average": lambda a, b: (a + b) / 2}
print({name: both_directions(gate) for name, gate in gates.items()})

# %% [markdown]
# ## What could fool you
# - **The zero artefact.** An activation of zero is one that the model may never have seen. A constant that the rest
#   relies on looks like a part of the task.
# - **A silent head.** A head that says the same on clean and corrupt has no effect under patching, however much it is
#   needed. It is not unimportant, it was not asked.
# - **One direction.** Noising alone hides what has a stand-in (OR); denoising alone hides what works only together
#   (AND). Groups show both.
# - **A metric with a ceiling.** On logits the heads of layer 1 are nearly additive; on probabilities they look like a
#   gate. Say which metric, always.

# %%
dashboard("patch", m="garden/induction-2l", t="induction", h="L0H1")

# %% [markdown]
# ## Take away
# 1. An effect is a comparison: name the part, what stands in its place, from which prompts, in which direction, on
#    which metric.
# 2. Zero says what the model cannot do without; patching says what carries the difference between two prompts. They are
#    different questions.
# 3. Look both ways and at groups before you call a head unimportant.

# %%
# The story, asserted: this cell fails if something above is no longer true.
table = dict(zip(choices, table))
one, note = names.index("L0H1"), names.index("L0H2")
assert patched.mean[note] > 30 and (patched.mean[4:] > 7).all() and patched.mean[[0, 1, 3]].abs().max() < 0.1
assert 35 < patched.mean[4:].sum() < 39
assert table["zero"][one] > 4 and table["mean"][one] > 2
assert all(abs(table[name][one]) < 0.3 for name in ("mean at each position", "other prompts", "corrupt prompt"))
assert all(14 < table[name][note] < 17 for name in list(choices)[:4]) and table["corrupt prompt"][note] > 30
assert spread[0] < 1e-4 < 1 < size[0] and 1 < only_first < 2
assert both["prefix"][note] > 30 and abs(both["answer"][note]) < 0.1
assert interp.effects(model, answer.clean, [heads[2]], answer.metric).mean.item() > 14
assert lost[1:5].min() > 0.3 and restored[1:5].max() < 0.05
assert 0.5 < restored[6] < 0.75 and restored[7] > 0.95 and lost[0] > 0.95 and restored[0] > 0.95
