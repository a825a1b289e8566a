# %% [markdown]
# # 17 · The broken-analysis lab
#
# **Goal.** *"I can read a study whose every number is right and whose claim is wrong, name the fault, and show it with
# one experiment. I have a test for six common faults and run it on my own work first."*
#
# Six studies follow. Each has a claim, a figure, a model and data. Nothing in them is made up: `broken_runs.py` beside
# this notebook computes all of it when it is called (do not read that file before you are through). Each has exactly
# one of these faults:
#
# - *fixed period*: the data allow a shortcut, because something that should vary does not;
# - *hidden fused pattern*: what was read, or overwritten, is not what the model computes with;
# - *leaked split*: the test rows are not new;
# - *winner's curse*: the best of many was reported with the numbers that made it the best;
# - *wrong position*: the experiment was done beside the place that the claim is about;
# - *zero-ablation artefact*: the effect is due to the replacement, not to what was replaced.
#
# You need notebooks 01, 03 and 05. Write your suspicion down before you run the test.

# %%
import broken_runs as studies
import numpy as np
import plotly.graph_objects as go
import torch
from checks import broken_analysis_lab as checks
from lesson import dashboard

import interp
from interp.results import bootstrap_mean
from interp.results.estimate import max_t
from interp.results.plots import FIGURE_CONFIG, GREY, curve_with_band, forest, heatmap, styled
from interp.tasks import repeats

torch.set_grad_enabled(False)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. "One layer is enough"
#
# *Induction*: after `... A B ... A`, say B. Textbooks say that it takes two layers of attention. This study says one.
#
# **Predict.** Which of the six faults could make one layer look this good, on rows that it was not trained on?

# %%
one = studies.study_1()
print(one)
one.figure.show(config=FIGURE_CONFIG)

# %% [markdown]
# ### Exercise 1: look at the data first  (difficulty 2 of 5, 8 minutes)
# The rows are in `one.data["tokens"]`, [row, pos]. Return the set of all distances between a token and its previous
# copy in the same row. If there is only one, "look up what followed the last copy" and "count back" are the same thing.


# %% tags=["exercise"]
def distances(tokens: torch.Tensor) -> set[int]:
    raise NotImplementedError


# %% tags=["solution"]
def distances(tokens: torch.Tensor) -> set[int]:
    place = torch.arange(tokens.shape[1])
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)  # [row, token, earlier token]
    last = torch.where(same, place, -1).amax(-1)
    return set((place - last)[last >= 0].tolist())


# %%
checks.distances(distances)

# %% [markdown]
# **Predict.** Now the deciding experiment: rows with other periods, for the model of the study and for a model that
# does induction (`garden/induction-2l`). What will the two curves look like?

# %%
print("distances in the rows of the study:", distances(one.data["tokens"]))
sound, periods = interp.load("garden/induction-2l"), range(4, 15)


def accuracy_at(model, period: int) -> float:
    tokens = model.map.d_vocab - 1
    rows = repeats.sequences(
        128,
        torch.Generator().manual_seed(period),
        n_tokens=tokens,
        n_ctx=40,
        periods=(period, period),
        longest_lead=12,
    )[0]
    return studies.right(model, rows).mean().item()


by_period = {
    name: [accuracy_at(model, period) for period in periods]
    for name, model in (("the study's model", one.model), ("garden/induction-2l", sound))
}
figure = None
for name, line in by_period.items():
    figure = curve_with_band(
        periods,
        line,
        name=name,
        figure=figure,
        title="Tested on every period",
        x_title="period of the test rows",
        y_title="share right",
    )
figure.show(config=FIGURE_CONFIG)

# %% [markdown]
# Fault: **fixed period**. Every block had 8 tokens, in training and in the test. On other periods the model is right in
# less than 1 case of 1000, except on 4 (0.89), where counting seven back is right by accident. "New rows" were new
# draws of the same shortcut. The two-layer model keeps 0.99 and more at every period.
#
# *The test that catches it*: vary what the claim says does not matter.

# %% [markdown]
# ## 2. "It knows which party is speaking"
#
# The text is that of addresses to Congress. A *stretch* is 64 tokens of one of them.
#
# **Predict.** 0.96 on 330 held-out stretches, with an interval. The model has 0.8 million parameters and learned to
# predict letters and syllables. What could the nearest stretch have in common with this one, besides the party?

# %%
two = studies.study_2()
print(two)
two.figure.show(config=FIGURE_CONFIG)

# %% [markdown]
# ### Exercise 2: what is independent?  (difficulty 2 of 5, 8 minutes)
# Given a group for each row (which speech it is from, say), return for every group one pair of row numbers, (train,
# test): the test rows are all of this group, the training rows all others.


# %% tags=["exercise"]
def leave_one_out(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    raise NotImplementedError


# %% tags=["solution"]
def leave_one_out(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (np.flatnonzero(groups != group), np.flatnonzero(groups == group))
        for group in np.unique(groups)
    ]


# %%
checks.leave_one_out(leave_one_out)

# %% [markdown]
# **Predict.** 0.96 with stretches held out at random. With whole speeches held out? With whole speakers?

# %%
stream, party, speech = (two.data[name] for name in ("stream", "party", "speech"))
train, test = two.data["train"], two.data["test"]
like = studies.most_similar(stream, train, test)
overlap = np.mean((speech[like] == speech[test]) & (np.abs(like - test) < 4))
print(f"the nearest stretch overlaps with the test stretch, word for word, in {overlap:.0%}")
held_out = {
    "stretches, as in the study": bootstrap_mean(studies.nearest(stream, party, train, test))
}
for name, groups in (("whole speeches", speech), ("whole speakers", two.data["speaker"])):
    hits = np.zeros(len(party))
    for train, test in leave_one_out(groups):
        hits[test] = studies.nearest(stream, party, train, test)
    held_out[name] = bootstrap_mean(hits, groups)
forest(held_out, title="The same read-out, with other things held out", x_title="share right").show(
    config=FIGURE_CONFIG
)
for name, estimate in held_out.items():
    print(f"{name:27} {estimate}")

# %% [markdown]
# Fault: **leaked split**. Stretches begin every 16 tokens and are 64 long, so a test stretch shares up to three
# quarters of its words with a training stretch, and that is what the read-out found in 95 % of the cases. Without this
# help it is right on 0.53 [0.47, 0.58] with speeches held out and 0.43 with speakers held out: nothing.
#
# Look at the intervals, too. The study had "n = 330". A speaker has one party, so as evidence about *parties* there are
# eight speakers, and an interval over eight is wide. In `interp` a task says what is independent (`clusters`); splits
# and intervals follow it, and `task.audit()` looks for prompts that two parts share.
#
# *The test that catches it*: hold out whole groups of what is independent.

# %% [markdown]
# ## 3. "The copied token is not needed"
#
# *Patching* puts what a place holds on another prompt (the *corrupt* one) into a run on this prompt (the *clean* one)
# and measures what is lost of the *metric*: here the logit of B minus that of B', its stand-in. The two prompts are the
# same but for every B, which is B' in the corrupt one.
#
# **Predict.** The effect is zero at the input: not small, zero. In what cases can patching have an effect of exactly
# zero? Which of them would make the claim true?

# %%
three = studies.study_3()
print(three)
three.figure.show(config=FIGURE_CONFIG)
task, places = three.data["task"], three.data["places"]
print(
    "as text:", *task.prompts["clean"][0].split()[:12], "...; the study patched position", places[0]
)
print("as tokens:", *task.clean[0].tolist()[:13], "...")

# %% [markdown]
# ### Exercise 3: where do the prompts differ?  (difficulty 2 of 5, 6 minutes)
# Return for every prompt the last position at which the tokens of `task.clean` and `task.corrupt` [prompt, pos] differ,
# as a list of whole numbers.


# %% tags=["exercise"]
def last_difference(task) -> list[int]:
    raise NotImplementedError


# %% tags=["solution"]
def last_difference(task) -> list[int]:
    place = torch.arange(task.clean.shape[1])
    return torch.where(task.clean != task.corrupt, place, -1).amax(1).tolist()


# %%
checks.last_difference(last_difference)

# %% [markdown]
# **Predict.** By how much is the study off? Draw the effect of patching at the positions around the one it used.

# %%
off = set((np.array(last_difference(task)) - places).tolist())
print("the last B stands this far from where the study patched, over all prompts:", off)
shifts, corrupt = range(-3, 4), interp.Counterfactual(task.corrupt)
around = torch.stack(
    [
        interp.effects(
            three.model,
            task.clean,
            [interp.Source(site, pos=[place + shift for place in places]) for shift in shifts],
            task.metric,
            baseline=corrupt,
        ).mean
        for site in studies.DEPTHS
    ]
)
heatmap(
    around,
    x=[f"{shift:+d}" for shift in shifts],
    y=["input", "behind layer 0", "behind layer 1"],
    unit="logits",
    title="Effect of patching around the place that the study used",
    x_title="positions to the right of it",
).show(config=FIGURE_CONFIG)
print(
    f"one to the right: {around[0, 4]:.1f} logits at the input, {around[1, 4]:.1f} behind layer 0, "
    f"{around[2, 4]:.1f} behind layer 1"
)

# %% [markdown]
# Fault: **wrong position**. The place was counted in the words of the prompt; the model reads a first token (*BOS*)
# that is not among them. One to the right, 22.1 logits are lost at the input and 21.4 behind layer 0. (Behind layer 1
# the answer is taken from the last position, so nothing that happens elsewhere matters: that zero is real.)
#
# An exact zero is a warning. The study patched a value with itself.
#
# *The test that catches it*: patch where the prompts differ at the input; all that there is to lose must be lost there.

# %% [markdown]
# ## 4. "Patterns are decoration"
#
# The same model as in notebook 01, with the *fused* attention of PyTorch: one fast kernel for scores, softmax and sum.
#
# **Predict.** The patterns look right (here is one of an induction head), they were overwritten in all heads, and
# accuracy stays at 1.000. What else may have happened than that patterns do not matter?

# %%
four = studies.study_4()
print(four)
four.figure.show(config=FIGURE_CONFIG)

# %% [markdown]
# ### Exercise 4: is it connected?  (difficulty 2 of 5, 8 minutes)
# Return True if the model's output on `rows` changes when the site called `name` is overwritten. Overwrite it with its
# own values with the batch reversed (`value.flip(0)`), so that shapes and sizes stay plausible.


# %% tags=["exercise"]
def is_connected(model, name: str, rows: torch.Tensor) -> bool:
    raise NotImplementedError


# %% tags=["solution"]
def is_connected(model, name: str, rows: torch.Tensor) -> bool:
    value = model.read(rows, name)[name]
    with model.edit(interp.Patch(name, value.flip(0))):
        changed = model(rows)
    return not torch.equal(changed, model(rows))


# %%
checks.is_connected(is_connected)

# %% [markdown]
# **Predict.** Which sites of an attention layer will turn out to be connected: queries, keys, values, scores, pattern,
# what the heads write?

# %%
rows = four.data["tokens"][:8]
names = [
    f"blocks.1.attn.hook_{what}"
    for what in ("q", "k", "v", "rot_q", "rot_k", "attn_scores", "pattern", "z")
]
connected = {}
for label, model in (("the study's model", four.model), ("garden/induction-2l", sound)):
    connected[label] = [float(is_connected(model, name, rows)) for name in names]
heatmap(
    list(connected.values()),
    x=[name.split("hook_")[1] for name in names],
    y=[*connected],
    diverging=False,
    title="Does the output change when the site is overwritten? (layer 1)",
    x_title="site",
    unit="1: yes",
).show(config=FIGURE_CONFIG)
with torch.enable_grad():
    law = interp.check_model(four.model, rows[:4])
broken = sorted({row.where for row in law.failures if row.law == "changes"})
print(
    "check_model:",
    "fine" if law.ok else f"broken; overwriting changes nothing at {', '.join(broken)}",
)
really = studies.even_patterns(sound, four.data["tokens"], four.data["known"])
print(f"even patterns in garden/induction-2l: accuracy {really:.3f}")

# %% [markdown]
# Fault: **hidden fused pattern**. The kernel computes the pattern inside and tells nobody. The study's module computes
# it a second time for those who want to look, and the copy is correct: reading it is fine. But nothing reads the copy,
# so overwriting it does nothing. In the same model with connected patterns, the same experiment leaves an accuracy of
# 0.025.
#
# *The test that catches it*: overwrite with something absurd and see that the output moves; `interp.check_model` does
# so for every site. (Models that `interp` loads switch the fused kernel off while a site inside it is wanted, and a
# site that does not fire is an error.)

# %% [markdown]
# ## 5. "Recall is the work of five heads"
#
# *Recall*: `k1 v1 k2 v2 ... k1`, say `v1`. A model of two layers with four heads each.
#
# **Predict.** How was each head taken away? What would you put in its place, and which of these heads might then drop
# out?

# %%
five = studies.study_5()
print(five)
five.figure.show(config=FIGURE_CONFIG)

# %% [markdown]
# ### Exercise 5: find the artefacts  (difficulty 3 of 5, 12 minutes)
# Return the numbers (in the list `sources`) of those whose mean effect is above 1 with zero in their place, and below a
# quarter of that both with their mean at each position (`interp.Mean(over=task.clean, per="position")`) and with their
# values on other prompts (`interp.Resample(task.clean, draws=4)`). `interp.effects(...).mean` is [source].


# %% tags=["exercise"]
def artefacts(model, task, sources) -> list[int]:
    raise NotImplementedError


# %% tags=["solution"]
def artefacts(model, task, sources) -> list[int]:
    def mean(baseline):
        return interp.effects(model, task.clean, sources, task.metric, baseline=baseline).mean

    zero = mean("zero")
    gentle = [
        mean(interp.Mean(over=task.clean, per="position")),
        mean(interp.Resample(task.clean, draws=4)),
    ]
    return [
        i
        for i, value in enumerate(zero)
        if value > 1 and all(other[i] < value / 4 for other in gentle)
    ]


# %%
checks.artefacts(artefacts)

# %%
task, heads, sources = (five.data[name] for name in ("task", "names", "sources"))
choices = {
    "zero, as in the study": "zero",
    "mean at each position": interp.Mean(over=task.clean, per="position"),
    "other prompts": interp.Resample(task.clean, draws=4),
    "corrupt prompt": interp.Counterfactual(task.corrupt),
}
table = torch.stack(
    [
        interp.effects(five.model, task.clean, sources, task.metric, baseline=choice).mean
        for choice in choices.values()
    ]
)
heatmap(
    table,
    x=heads,
    y=[*choices],
    title="What is lost without one head",
    x_title="head",
    y_title="what stands in its place",
    unit="logits",
).show(config=FIGURE_CONFIG)
print(f"{'':22}", " ".join(f"{head:>6}" for head in heads))
for name, row in zip(choices, table):
    print(f"{name:22}", " ".join(f"{value:6.2f}" for value in row))
guilty = [heads[i] for i in artefacts(five.model, task, sources)]
print("artefacts:", ", ".join(guilty))

# %% [markdown]
# Fault: **zero-ablation artefact**. L1H0, with 2.4 logits the equal of the others in the figure, is worth nothing
# (-0.01) when its mean at each position stands in its place. So is L0H2, and of L1H3's 2.6 logits 0.3 are left. L0H0,
# L1H1 and L1H2 remain, and they should: they lose about as much under every replacement that removes what they say.
# (L0H0 has 0.00 with the corrupt prompt because it says the same on both; notebook 05.)
#
# **Predict.** What do L1H0 and L1H1 write at the last position: the same on every prompt, or something else on each?

# %%
z = five.model.read(task.clean, "blocks.1.attn.hook_z")["blocks.1.attn.hook_z"][
    :, -1
]  # [prompt, head, d_head]
constant, spread = z.mean(0).norm(dim=-1), z.std(0).norm(dim=-1)
figure = go.Figure(
    [
        go.Bar(name=name, x=heads[4:], y=size)
        for name, size in (("size of its mean", constant), ("spread over prompts", spread))
    ]
)
styled(figure, title="What the heads of layer 1 write at the last position", y_title="norm").show(
    config=FIGURE_CONFIG
)
print("mean  ", [round(value, 2) for value in constant.tolist()])
print("spread", [round(value, 2) for value in spread.tolist()])

# %% [markdown]
# L1H0 writes nearly a constant: its mean has a size of 1.76, what differs between prompts 0.33. A constant cannot know
# which value belongs to this key. The rest of the model was trained with it in place, so without it things go wrong,
# and zero ablation calls that "recall".
#
# *The test that catches it*: two replacements that a head could really have written.

# %% [markdown]
# ## 6. "A neuron for election years"
#
# The same small language model, one number for each of its 1536 neurons and each of 30 speeches: the mean activation.
#
# **Predict.** p = 0.0006. What is the smallest p that you would expect if none of the neurons knew anything? And where
# would the found neuron be on speeches that nobody has looked at?

# %%
six = studies.study_6()
print(six)
six.figure.show(config=FIGURE_CONFIG)
print(f"smallest of 1536 even p-values, on average: {1 / 1537:.4f}")

# %% [markdown]
# ### Exercise 6: choose here, measure there  (difficulty 3 of 5, 10 minutes)
# `seen` and `unseen` are [neuron, speech]; a value above 0 is to the side of the right kind of year, one below 0 to the
# other, and both would be a finding. Choose the neuron whose mean over `seen` is largest in size. Return its number, its
# mean over `unseen` with the sign that it had on `seen` (so that positive means "the same again"), and its p-value on
# `seen`, adjusted for having looked at all neurons, from `max_t(seen)`.


# %% tags=["exercise"]
def honest(seen: np.ndarray, unseen: np.ndarray) -> tuple[int, float, float]:
    raise NotImplementedError


# %% tags=["solution"]
def honest(seen: np.ndarray, unseen: np.ndarray) -> tuple[int, float, float]:
    best = int(np.abs(seen.mean(1)).argmax())
    sign = np.sign(seen[best].mean())
    return best, float(sign * unseen[best].mean()), float(max_t(seen)[best])


# %%
checks.honest(honest)

# %% [markdown]
# **Predict.** Draw 30 other speeches, choose the best neuron again, and measure it on 32 speeches that were left out.
# Do so twenty times. Plot one against the other: where do the points lie?

# %%
pairs, adjusted = [], []
for draw in range(20):
    again = studies.study_6(seed=draw).data
    seen, unseen = (again["values"][:, again[part]] for part in ("seen", "unseen"))
    best, later, p = honest(seen, unseen)
    pairs.append((abs(seen[best].mean()), later))
    adjusted.append(p)
pairs = np.array(pairs)
own = six.data
fresh = bootstrap_mean(own["sign"] * own["values"][own["best"], own["unseen"]])
p_own = max_t(own["values"][:, own["seen"]])[own["best"]]
figure = go.Figure(
    go.Scatter(x=pairs[:, 0], y=pairs[:, 1], mode="markers", name="best neuron of a draw")
)
figure.add_scatter(
    x=[0, 0.8], y=[0, 0.8], mode="lines", name="equal", line={"color": GREY, "dash": "dot"}
)
styled(
    figure,
    title="The best of 1536 neurons, when found and when looked at again",
    x_title="on the 30 speeches that chose it",
    y_title="on 32 others",
).show(config=FIGURE_CONFIG)
print(f"the study's neuron on other speeches: {fresh}; adjusted p {p_own:.2f}")
print(
    f"twenty draws: {pairs[:, 0].mean():.2f} when found, {pairs[:, 1].mean():.2f} when looked at again; "
    f"{sum(p < 0.05 for p in adjusted)} of 20 with an adjusted p below 0.05"
)

# %% [markdown]
# Fault: **winner's curse**. On 32 other speeches the neuron of the study is at 0.11 [-0.31, 0.56]. Over twenty draws the
# best neuron has 0.54 when it is found and 0.00 when it is looked at again. The interval in the claim is right for a
# neuron that was chosen beforehand. For the best of 1536 it says nothing, because luck was what made it the best; even
# if no neuron knew anything, the smallest p would be about 0.0007. Adjusted for all that was looked at, p is 0.23.
# (Adjusting is not a proof either: one of the twenty draws comes out below 0.05.)
#
# *The test that catches it*: choose on one part, measure on another; and say how many were looked at.
#
# ## What could fool you
# - **Suspecting the arithmetic.** Every number in these studies is right. The faults are in what was held fixed, held
#   out, replaced, pointed at, connected and selected.
# - **One fault at a time.** Here each study has one; real ones have several. Study 2 has an interval over 330 rows where
#   eight speakers are the evidence, on top of its leak.
# - **A test that always says "broken".** A diagnosis is worth something only if sound work passes it: that is why the
#   checks above run your function on sound models and data as well.
# - **Finding the fault is not the opposite claim.** That the party neighbours were a leak does not show that the model
#   knows nothing of parties; it shows that this study does not say.

# %%
dashboard("patch", m="garden/recall-attn-only-rotary", t="recall", h="L1H0", abl="zero")
dashboard("circuit", m="garden/induction-2l", t="induction:counterfactual=answer")

# %% [markdown]
# ## Take away
# 1. Vary what should not matter, hold out what is independent, patch where the inputs differ, check that the site is
#    connected, replace with what could have been, and measure where you did not choose.
# 2. Too good (1.000, exactly zero, n = 330 from eight speakers) is a reason to look again, most of all in your own work.
# 3. A fault is shown by one experiment that the claim and the fault answer differently.

# %%
# The story, asserted: this cell fails if something above is no longer true.
study, whole = (by_period[name] for name in ("the study's model", "garden/induction-2l"))
assert distances(one.data["tokens"]) == {8} and one.data["accuracy"] > 0.999
assert (
    max(line for period, line in zip(periods, study) if period not in (4, 8)) < 0.001
    and 0.85 < study[0] < 0.93
)
assert min(whole) > 0.99
assert held_out["stretches, as in the study"].low > 0.9 and 0.94 < overlap < 0.96
assert 0.5 < held_out["whole speeches"].value < 0.56 and not held_out["whole speeches"].excludes(
    0.5
)
assert 0.4 < held_out["whole speakers"].value < 0.46 and held_out["whole speakers"].n == 8
assert off == {1} and around[:, 3].abs().max() < 0.01 and around[2].abs().max() < 0.01
assert 21.5 < around[0, 4] < 22.5 and 21 < around[1, 4] < 22
assert four.data["whole"] == four.data["even"] > 0.999 and really < 0.05
assert connected["garden/induction-2l"] == [1.0] * 8 and connected["the study's model"] == [
    1,
    1,
    1,
    0,
    0,
    0,
    0,
    1,
]
assert not law.ok and "blocks.1.attn.hook_pattern" in broken
table = dict(zip(choices, table))
assert guilty == ["L0H2", "L1H0", "L1H3"] and abs(table["mean at each position"][4]) < 0.05
assert (
    2.2 < table["zero, as in the study"][4] < 2.6 and 0.2 < table["mean at each position"][7] < 0.4
)
assert all(min(table[name][i] for name in list(choices)[:3]) > 1.5 for i in (0, 5, 6))
assert constant[0] > 5 * spread[0] and spread[1] > 3 * constant[1]
assert not fresh.excludes(0) and 0.05 < fresh.value < 0.17 and 0.2 < p_own < 0.26
assert (
    0.5 < pairs[:, 0].mean() < 0.58
    and abs(pairs[:, 1].mean()) < 0.05
    and sum(p < 0.05 for p in adjusted) == 1
)
