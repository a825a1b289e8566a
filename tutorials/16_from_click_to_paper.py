# %% [markdown]
# # 16 · From a click to a paper
#
# **Goal.** *"I can go from something that I clicked on to a sentence that I would sign: anyone can repeat it, its
# interval means what it says, and the other things that I tried are counted."*
#
# You need notebook 05 (patching). The model is `garden/dyck-2l`, two layers that read brackets of two kinds, as in
# `([])[(`, and say which bracket closes the innermost open one. Everything here takes seconds.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import plotly.graph_objects as go
import torch
from checks import from_click_to_paper as checks
from lesson import dashboard
from scipy.stats import ttest_1samp

import interp
from interp.discovery.knock_out import knock_out
from interp.discovery.nodes import nodes as all_nodes
from interp.discovery.nodes import source
from interp.results import bootstrap_mean
from interp.results.estimate import benjamini_hochberg, max_t
from interp.results.plots import FIGURE_CONFIG, curve_with_band, forest, heatmap, styled

torch.set_grad_enabled(False)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. A link is a question
#
# Somebody has clicked on a head in the dashboard, found it interesting, and sent you the address. It holds what was
# looked at: `m` the model, `t` the task, `n` how many prompts, `seed` their seed, `h` the chosen nodes. What is at its
# default is left out; the defaults are `garden/induction-2l`, `induction`, 48, 0 and nothing.

# %%
LINK = "http://127.0.0.1:8501/explore?v=1&m=garden/dyck-2l&t=dyck&n=96&h=L1H3"
print(parse_qs(urlsplit(LINK).query))

# %% [markdown]
# ### Exercise 1: read the link  (difficulty 1 of 5, 6 minutes)
# Return a dictionary with the keys m, t, n, seed (whole numbers) and h (a list of labels, which commas separate).
# The line above gives you a dictionary of lists; what is left out of the link is at its default.


# %% tags=["exercise"]
def read_link(link: str) -> dict:
    raise NotImplementedError


# %% tags=["solution"]
def read_link(link: str) -> dict:
    given = {key: values[0] for key, values in parse_qs(urlsplit(link).query).items()}
    found = {"m": "garden/induction-2l", "t": "induction", "n": 48, "seed": 0, "h": ""} | given
    heads = [label for label in found["h"].split(",") if label]
    return {
        "m": found["m"],
        "t": found["t"],
        "n": int(found["n"]),
        "seed": int(found["seed"]),
        "h": heads,
    }


# %%
checks.read_link(read_link)

# %% [markdown]
# A link is not a result: what it shows is computed again by whoever opens it. So compute it. A task deals its prompts
# into three parts: `discover` to look at, `select` to choose with, `test` to confirm with. The page Explore shows the
# *effects* on the discover part: what the *metric* (logit of the right bracket minus that of the other kind) loses when
# a node is put at its value on the *corrupt* prompt, in which the innermost open bracket is of the other kind.
#
# **Predict.** On the 48 discover prompts the head L1H3 is worth 3.7 of 18.5 logits, and somebody liked it because it
# was among the largest. Knock it out on the 24 test prompts, which nobody has looked at: more, the same, or less?

# %%
asked = read_link(LINK)
model = interp.load(asked["m"])
task = interp.task(asked["t"], model=model, n=asked["n"], seed=asked["seed"])
nodes = {node.label: node for node in all_nodes(model)}
done = knock_out(model, task, [nodes[label] for label in asked["h"]])
done.figure().show(config=FIGURE_CONFIG)
print(task)
print("where it was found ", done.found)
print("on held-out prompts", done.held)
print("shrinkage          ", done.shrinkage)
print("still right without it", done.still_right)

# %% [markdown]
# Less: 2.4 where 3.7 was seen. The ratio, *shrinkage*, is 0.7, with an interval from 0.2 to 1.4: these prompts cannot
# even say whether there was any. And without the head the model is still right on 0.92 of the prompts. The number to
# quote is 2.4, and the word for it is not "needed".

# %% [markdown]
# ## 2. A run is a folder
#
# A number in a notebook is gone when the kernel stops. `interp discover ... --out FOLDER` (or a button of the
# dashboard) keeps a *run*: settings, versions, a hash of the weights, every table and figure, and a report, as files.
# This cell calls the command as you would in a terminal.
#
# **Predict.** Which facts would you need two years from now, to find out why a colleague gets another number?

# %%
folder = Path(tempfile.mkdtemp()) / "brackets"
command = ["discover", asked["t"], "--model", asked["m"], "--n", str(asked["n"]), "--draws", "50"]
said = subprocess.run(
    [sys.executable, "-m", "interp", *command, "--out", str(folder)], capture_output=True, text=True
)
assert said.returncode == 0, said.stderr
run = interp.Run.open(folder)
run.figure("evaluation").show(config=FIGURE_CONFIG)
print("status  ", run.status, "| seed", run.seed, "| weights", run.info["model_hash"][:12])
print("settings", run.config)
print("versions", run.info["versions"])
print("tables  ", *sorted(path.stem for path in (folder / "tables").iterdir()))
print("seconds ", {name: round(seconds, 1) for name, seconds in run.info["timings"].items()})

# %% [markdown]
# The folder opens again in the dashboard (`interp dashboard --run FOLDER`), in Python (`interp.Run.open`), and
# everywhere as `report.html`. It does not let itself be overwritten by a run with other settings:

# %%
try:
    interp.Run.create(folder, "discover", run.config | {"n": 48}, seed=0)
except interp.InterpError as error:
    print(str(error).replace(str(folder.parent), "..."))
circuit = interp.Circuit.load(folder / "circuit.json")
print("circuit:", ", ".join(node.label for node in circuit.nodes))
print("looked at:", circuit.provenance["ledger"])

# %% [markdown]
# The *ledger* counts what was looked at on which part of the prompts. It is there for section 4.

# %% [markdown]
# ## 3. An interval says what would vary
#
# The bracket around a number answers "what if I had drawn other ...?". Other what? In this task every row comes twice,
# once clean and once as the corrupt prompt of its twin. 24 test prompts are 12 *clusters*, and only clusters are
# independent. `bootstrap_mean(values)` resamples rows, `bootstrap_mean(values, clusters)` whole clusters.
#
# **Predict.** Twenty other people repeat the measurement with 24 prompts of their own. How many of their 95 % intervals
# will hold the value that 800 prompts give?

# %%
head = source(nodes["L1H3"])


def effect_values(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    other = interp.task("dyck", model=model, n=n, seed=seed)
    baseline = interp.Counterfactual(other.corrupt)
    found = interp.effects(model, other.clean, [head], other.metric, baseline=baseline)
    return found.values[0].double().numpy(), other.clusters


many = bootstrap_mean(*effect_values(800, 1_000_000))
others = {f"seed {seed}": bootstrap_mean(*effect_values(24, seed)) for seed in range(1, 21)}
forest(
    {"800 prompts": many} | others, title="L1H3: the same question, other prompts", x_title="logits"
).show(config=FIGURE_CONFIG)
hold = sum(estimate.low <= many.value <= estimate.high for estimate in others.values())
print(f"800 prompts: {many}; {hold} of {len(others)} intervals hold {many.value:.2f}")
print(
    f"the twenty values run from {min(e.value for e in others.values()):.1f} to "
    f"{max(e.value for e in others.values()):.1f}"
)

# %% [markdown]
# Eighteen, where one expects nineteen. But see how wide they are: the twenty values run from 1.0 to 5.9, and the 3.7 and
# the 2.4 of the link are two more draws of the same lottery. 800 prompts say 2.42 [2.10, 2.73].
#
# What none of these intervals covers is another training run. There is one model here, so whatever we find is about
# this model. A claim about *training such models* would resample trained models.
#
# How much does it matter what is resampled? Take data where we know the truth: groups of six rows that share
# something, such as a template, and a true mean of 0.
#
# ### Exercise 2: coverage  (difficulty 3 of 5, 12 minutes)
# `make(seed)` gives values and their clusters; `interval(values, clusters)` gives an `Estimate`. Return the share of
# the seeds 0 to `times` - 1 whose interval holds 0, the truth.


# %% tags=["exercise"]
def coverage(make, interval, times: int) -> float:
    raise NotImplementedError


# %% tags=["solution"]
def coverage(make, interval, times: int) -> float:
    estimates = [interval(*make(seed)) for seed in range(times)]
    return sum(estimate.low <= 0 <= estimate.high for estimate in estimates) / times


# %%
checks.coverage(coverage)

# %% [markdown]
# **Predict.** 24 templates with six prompts each. Rows of one template correlate with 0.5. How often does the interval
# that resamples the 144 rows hold the truth? It says 95 %.

# %%
correlations = (0.0, 0.1, 0.25, 0.5, 0.8)


def rows_that_share(correlation: float, groups: int = 24, size: int = 6):
    def make(seed: int) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.default_rng(seed)
        shared = np.repeat(draw.normal(size=groups), size)
        own = draw.normal(size=groups * size)
        values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
        return values, np.repeat(np.arange(groups), size)

    return make


ways = {
    "rows resampled": lambda values, clusters: bootstrap_mean(values, draws=400),
    "clusters resampled": lambda values, clusters: bootstrap_mean(values, clusters, draws=400),
}
covered = {
    name: [coverage(rows_that_share(c), interval, 200) for c in correlations]
    for name, interval in ways.items()
}
figure = None
for name, line in covered.items():
    figure = curve_with_band(
        correlations,
        line,
        name=name,
        figure=figure,
        title="How often a 95 % interval holds the truth",
        x_title="correlation of rows that share a template",
        y_title="share of 200 data sets",
    )
figure.add_hline(y=0.95, line_dash="dot")
figure.update_yaxes(range=[0.4, 1.02])
figure.show(config=FIGURE_CONFIG)
for name, line in covered.items():
    print(
        f"{name:18}",
        *[f"{value:.2f} at {c}" for c, value in zip(correlations, line)],
        sep="  ",
    )

# %% [markdown]
# In 71 of 100 data sets at a correlation of 0.5, in 65 at 0.8. The interval that resamples whole templates holds it in
# 92 to 94 of 100 whatever the correlation; where rows are independent, nothing is lost by it. So resample what you would
# draw anew: templates, documents, images, trained models. An `Estimate` says which, behind its bracket.

# %% [markdown]
# ## 4. Count what you looked at
#
# Where in the row does a node matter? Ten nodes at 21 positions are 210 effects, and with 210 questions some answers
# look good by luck. A *p-value* is how often data without any effect would look at least as extreme. `max_t` adjusts
# p-values so that the chance of *any* false alarm among all 210 is held; `benjamini_hochberg` so that the *share* of
# false ones among those you report is.
#
# **Predict.** Without any adjustment, and with the 48 rows taken for independent: how many of 210 will be below 0.05?
# How many are left with clusters and `max_t`? Is the smallest p the largest effect?

# %%
part = task.part("discover")
places = range(part.clean.shape[1])
sources = [
    interp.Source(node.site, head=node.head, pos=place)
    for node in nodes.values()
    for place in places
]
effect = interp.effects(
    model, part.clean, sources, part.metric, baseline=interp.Counterfactual(part.corrupt)
)
values = effect.values.double().numpy()  # [node and position, prompt]
names = [f"{label} at {place}" for label in nodes for place in places]


def cluster_means(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    return np.stack([values[:, clusters == cluster].mean(1) for cluster in np.unique(clusters)], 1)


def t_test(rows: np.ndarray) -> np.ndarray:
    """p of "the mean is 0" for every row of a table; 1 where nothing varies, since that is no evidence."""
    p = np.ones(len(rows))
    moves = rows.std(1) > 1e-9
    p[moves] = ttest_1samp(rows[moves], 0, axis=1).pvalue
    return p


p_rows, p_clusters = t_test(values), t_test(cluster_means(values, part.clusters))
ways = {
    "rows, as they are": p_rows,
    "clusters, as they are": p_clusters,
    "clusters, Benjamini-Hochberg": benjamini_hochberg(p_clusters),
    "clusters, max_t": max_t(values, part.clusters),
}
below = {name: int((p < 0.05).sum()) for name, p in ways.items()}
heatmap(
    -np.log10(np.maximum(ways["clusters, max_t"], 5e-4)).reshape(len(nodes), -1),
    x=list(places),
    y=list(nodes),
    diverging=False,
    title="Adjusted p of every node at every position",
    x_title="position",
    unit="-log10 p",
).show(config=FIGURE_CONFIG)
print(
    f"{int((np.abs(values).max(1) > 0).sum())} of {len(values)} are not exactly 0 on every prompt"
)
for way, number in below.items():
    print(f"below 0.05, {way:28} {number}")
for i in np.argsort(p_clusters, kind="stable")[:10]:
    print(
        f"{names[i]:11} effect {values[i].mean():7.3f}   p {p_clusters[i]:.5f}   "
        f"max_t {ways['clusters, max_t'][i]:.4f}"
    )

# %% [markdown]
# Fifteen and nine. Six "findings" came from counting every prompt twice. Benjamini-Hochberg keeps seven, `max_t` nine: it
# looks at the data and sees that 140 of the 210 effects are exactly 0 on every prompt (places that hold nothing that
# differs between clean and corrupt) and cannot be lucky.
#
# And a p-value is not a size. L0H2 at the last position has a smaller p than L0H3 there, and 0.066 logits against 7.9: a
# tiny effect that is the same on every prompt.
#
# ### Exercise 3: false alarms  (difficulty 3 of 5, 12 minutes)
# `make(seed)` gives effects [node, cluster] of nodes that do nothing; `adjust(effects)` gives a p-value for each. Return
# the share of the seeds 0 to `times` - 1 in which at least one p is below 0.05: how often a study of nothing finds
# something.


# %% tags=["exercise"]
def false_alarms(make, adjust, times: int) -> float:
    raise NotImplementedError


# %% tags=["solution"]
def false_alarms(make, adjust, times: int) -> float:
    return sum(bool((adjust(make(seed)) < 0.05).any()) for seed in range(times)) / times


# %%
checks.false_alarms(false_alarms)

# %% [markdown]
# **Predict.** 10, 70 or 210 nodes that do nothing, 24 clusters. How many of 100 studies find something?

# %%
adjusted = {
    "as they are": t_test,
    "Benjamini-Hochberg": lambda effects: benjamini_hochberg(t_test(effects)),
    "max_t": lambda effects: max_t(effects, draws=400),
}
sizes = (1, 10, 70, 210)


def nothing(size: int):
    return lambda seed: np.random.default_rng(seed).normal(size=(size, 24))


alarms = {
    name: [false_alarms(nothing(size), adjust, 100) for size in sizes]
    for name, adjust in adjusted.items()
}
figure = go.Figure(
    [go.Bar(name=name, x=[str(size) for size in sizes], y=line) for name, line in alarms.items()]
)
figure.add_hline(y=0.05, line_dash="dot")
styled(
    figure,
    title="Studies of nothing that find something",
    x_title="nodes looked at",
    y_title="share of 100 studies",
).update_xaxes(type="category")
figure.show(config=FIGURE_CONFIG)
for name, line in alarms.items():
    print(f"{name:18}", *[f"{value:.2f} of {size}" for size, value in zip(sizes, line)], sep="  ")

# %% [markdown]
# With 210 nodes every study of nothing finds something; with 10, every third. Adjusted, 3 to 8 of 100 do, as the 5 %
# promises. An adjustment needs the true count: whatever you tried and did not write down is missing from it. That is
# what the ledger of a run is for.

# %% [markdown]
# ## 5. One figure, one sentence
#
# Now the part of the prompts that was kept for this: the nine on the test prompts. Only those that are large enough to
# matter go into the figure; say beforehand what that is. Here: 5 % of what the whole model does, 0.93 logits.
#
# **Predict.** How many of the nine come back with an interval that excludes 0? How many are large enough?

# %%
held = task.part("test")
kept = [i for i in range(len(names)) if ways["clusters, max_t"][i] < 0.05]
baseline = interp.Counterfactual(held.corrupt)
confirmed = interp.effects(
    model,
    held.clean,
    [sources[i] for i in kept],
    held.metric,
    baseline=baseline,
    clusters=held.clusters,
)
estimates = {names[i]: estimate for i, estimate in zip(kept, confirmed.estimates())}
estimates = dict(sorted(estimates.items(), key=lambda pair: -pair[1].value))
whole = (held.metric(model(held.clean)) - held.metric(model(held.corrupt))).mean().item()
come_back = [name for name, estimate in estimates.items() if estimate.excludes(0)]
large = {
    name: estimate
    for name, estimate in estimates.items()
    if estimate.excludes(0) and abs(estimate.value) > 0.05 * whole
}
figure = forest(
    large,
    title="What single nodes of garden/dyck-2l are worth for closing a bracket",
    x_title="effect, logits",
)
figure.show(config=FIGURE_CONFIG)
for name, estimate in estimates.items():
    print(f"{name:11} {estimate}{'' if name in large else '   (not in the figure)'}")
print(f"{len(come_back)} of {len(kept)} come back; {len(large)} are above 5 % of {whole:.1f}")

# %% [markdown]
# All nine come back, L0H2 at 18 by a hair (0.007, from 0.000 to 0.016), and five are large enough. The other four, 0.07
# logits and less, are as real and do not matter. In the figure is what was chosen on one part of the prompts and measured
# on another, with clusters resampled, 210 effects counted, and a smallest size said beforehand.
#
# ### Exercise 4: write the sentence  (difficulty 2 of 5, 10 minutes)
# `estimate` is an `Estimate`, `facts` a dictionary with node, model, task, unit, baseline, part and looked_at (how many
# effects were looked at to choose this one). Return one string that holds all of it, with the value, both ends of the
# interval, n and what was resampled. (An `Estimate` prints its own part.)


# %% tags=["exercise"]
def sentence(estimate, facts: dict) -> str:
    raise NotImplementedError


# %% tags=["solution"]
def sentence(estimate, facts: dict) -> str:
    return (
        f"Putting {facts['node']} of {facts['model']} at its value on the {facts['baseline']} prompt costs "
        f"{estimate} {facts['unit']} on the {facts['part']} prompts of {facts['task']}; "
        f"it was chosen among {facts['looked_at']} effects on other prompts."
    )


# %%
checks.sentence(sentence)

# %%
facts = {
    "node": "L1H3 at 20",
    "model": model.name,
    "task": task.name,
    "unit": task.metric.unit,
    "baseline": "corrupt",
    "part": "test",
    "looked_at": len(sources),
}
print(sentence(estimates["L1H3 at 20"], facts))

# %% [markdown]
# The list to go through before you sign:
#
# 1. Can somebody else open it (link, run folder, versions, weights)?
# 2. Which prompts chose, which measured? Are they different?
# 3. What was resampled, how many of it, and is it what you would draw anew?
# 4. How many things were looked at, on which prompts?
# 5. What stood in the place of what was removed?
# 6. Is it large enough to matter, by a measure said beforehand?
# 7. Which claim needs more models than you have?
#
# ## What could fool you
# - **The link shows another number.** It asks again; if the weights, the versions or the prompts changed, so does the
#   answer. The run folder says which.
# - **A narrow interval.** It may have resampled the wrong thing (tokens of one document, prompts of one template). It can
#   only be as wide as what you let vary.
# - **Looking twice.** The test part is for one look. A second choice made with it (another head, another metric because
#   this one failed) needs new prompts; here they cost one seed.
# - **"Significant".** With enough prompts everything is. Say how large.

# %%
dashboard("explore", m="garden/dyck-2l", t="dyck", n=96, h="L1H3")
dashboard("runs")

# %% [markdown]
# ## Take away
# 1. A link is a question and a run is an answer that can be checked: keep both.
# 2. An interval is about what was resampled; an adjusted p-value counts what else was
#    looked at. Say both.
# 3. Choose on one part of the prompts, measure on another, and quote the second number.

# %%
# The story, asserted: this cell fails if something above is no longer true.
assert asked == {"m": "garden/dyck-2l", "t": "dyck", "n": 96, "seed": 0, "h": ["L1H3"]}
assert (
    3.6 < done.found.value < 3.8 and 2.3 < done.held.value < 2.6 and len(done.values["test"]) == 24
)
assert 0.6 < done.shrinkage.value < 0.75 and done.shrinkage.low < 0.3 < 1.2 < done.shrinkage.high
assert 0.9 < done.still_right.value < 0.93
assert (
    run.status == "done"
    and run.seed == 0
    and run.config["n"] == 96
    and len(run.info["model_hash"]) == 64
)
assert {node.label for node in circuit.nodes} == {"MLP1", "MLP0", "L1H1", "L1H3", "L0H3"}
assert 2.3 < many.value < 2.5 and many.n == 400 and hold == 18
assert min(e.value for e in others.values()) < 1.1 and max(e.value for e in others.values()) > 5.8
assert covered["rows resampled"][0] > 0.93 and 0.68 < covered["rows resampled"][3] < 0.74
assert 0.62 < covered["rows resampled"][4] < 0.68 and min(covered["clusters resampled"]) > 0.91
assert [*below.values()] == [15, 9, 7, 9] and (np.abs(values).max(1) > 0).sum() == 70
at = {name: i for i, name in enumerate(names)}
assert p_clusters[at["L0H2 at 20"]] < p_clusters[at["L0H3 at 20"]]
assert values[at["L0H2 at 20"]].mean() < 0.08 and values[at["L0H3 at 20"]].mean() > 7.5
assert alarms["as they are"][3] == 1 and 0.3 < alarms["as they are"][1] < 0.45
assert max(max(alarms[name]) for name in ("Benjamini-Hochberg", "max_t")) <= 0.08
assert len(come_back) == 9 and list(large) == [
    "MLP1 at 20",
    "MLP0 at 20",
    "L0H3 at 20",
    "L1H1 at 20",
    "L1H3 at 20",
]
assert (
    estimates["L1H3 at 20"].n == 12
    and max(abs(estimates[name].value) for name in come_back if name not in large) < 0.08
)
