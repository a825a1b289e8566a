# %% [markdown]
# # 07 · Find a circuit: first where the truth is known, then where it is not
#
# **Goal.** *"I can search for the circuit behind a behaviour, I have seen with known truth how methods fail, and I know
# what to ask for where no truth is known."*
#
# A *circuit* is the set of parts of a model (its *nodes*: attention heads and MLPs) that produce a behaviour. Whether a
# found circuit is right is usually unknowable, so we begin with a model that was not trained but *compiled* from a
# program: there we know which part computes what. You need notebook 05. The last section uses SmolLM2-135M, a real
# language model (`interp fetch smollm2-135m`, once).

# %%
import random
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from checks import find_a_circuit as checks
from lesson import dashboard

import interp
from interp.discovery.nodes import nodes as all_nodes
from interp.discovery.nodes import source
from interp.discovery.truth import ranking
from interp.programs.compile.suite import case, library_case
from interp.results.plots import BLUE, FIGURE_CONFIG, GREY, ORANGE, curve_with_band, styled

torch.set_num_threads(1)

# %% [markdown]
# ## 1. A model whose circuit is known
#
# The program sorts a row of numbers: it counts for every number how many are smaller, and puts the number there. The
# compiler turned it into transformer weights, beside other programs that compute something at the same time and have no
# part in the answer (*distractors*). The task's prompts come in pairs, clean and corrupt, and a metric that is 2 where
# the right answer clearly wins on the clean prompt.
#
# **Predict.** The model has eleven heads and MLPs. How many of them does sorting need, if equal numbers have to be told
# apart, too?

# %%
known = library_case("sort", seed=0)
model, task, truth = known.compiled.model, known.task, set(known.truth.nodes)
word = [known.compiled.graph.vocab[i] for i in (2, 0, 1)]
print("sorts", word, "into", known.compiled.run(word))
known.truth.graph_figure().show(config=FIGURE_CONFIG)
candidates = sorted(known.truth.scores, key=lambda node: node.name)
random.Random(0).shuffle(candidates)  # why this matters: section 2
print(
    f"{len(truth)} of {len(candidates)} nodes are in the circuit: {', '.join(sorted(node.label for node in truth))}"
)

# %% [markdown]
# Four steps, four nodes. MLP0 makes a key of number and position, so that no two are equal. L1H0 looks at all smaller
# keys. MLP1 turns that into the rank. L2H0 fetches the number whose rank is the position. The other seven are
# distractors: as busy, and of no use.
#
# ### Exercise 1: precision and recall  (difficulty 1 of 5, 5 minutes)
# *Precision* is the share of what you found that is true, *recall* the share of what is true that you found. Return
# both for two sets of nodes (precision is 1 if nothing was found).


# %% tags=["exercise"]
def precision_recall(found: set, truth: set) -> tuple[float, float]:
    raise NotImplementedError


# %% tags=["solution"]
def precision_recall(found: set, truth: set) -> tuple[float, float]:
    both = len(found & truth)
    return (both / len(found) if found else 1.0), both / len(truth)


# %%
checks.precision_recall(precision_recall)

# %% [markdown]
# ## 2. Search for it
#
# A search gives every node a *score*: how much it matters. Four ways:
#
# - `tangent`: from one backward pass (a gradient), the cheapest;
# - `integrated`: gradients averaged over several runs between corrupt and clean;
# - `ablation`: patch each node with what it does on the corrupt prompt, one at a time;
# - `auto`: that, and the other direction too (patch the clean value into the corrupt run), keeping the larger.
#
# `discover` scores on one part of the prompts and takes the fewest best nodes that bring back at least 80 % of the
# metric on another part.
#
# **Predict.** In this model every decision is made with near-certainty: no small change of any activation changes
# anything. What will a gradient see?

# %%
methods = ("tangent", "integrated", "ablation", "auto")
found = {method: interp.discover(model, task, method=method, nodes=candidates) for method in methods}
figure = None
for method, circuit in found.items():
    ranked = sorted(candidates, key=lambda node: -abs(circuit.scores[node]))
    recall = [len(truth & set(ranked[:k])) / len(truth) for k in range(len(ranked) + 1)]
    figure = curve_with_band(
        range(len(recall)),
        recall,
        name=method,
        figure=figure,
        title="How much of the true circuit is among the best k nodes",
        x_title="k",
        y_title="recall",
    )
figure.add_vline(x=len(truth), line_dash="dot")
figure.show(config=FIGURE_CONFIG)
for method, circuit in found.items():
    precision, recall = precision_recall(set(circuit.nodes), truth)
    scores = {node.label: round(circuit.scores[node], 2) for node in sorted(truth, key=lambda node: node.label)}
    print(
        f"{method:11} found {len(circuit.nodes):2} nodes, precision "
        f"{precision:.2f}, recall {recall:.2f}; scores of the true ones {scores}"
    )

# %% [markdown]
# `auto` finds the circuit and nothing else. `ablation` gives all four a score and stops at three: with MLP0 left out,
# 80 % of the metric is already there. So a circuit can be too small although every score is right. `tangent` sees one
# node, the last, and gives exactly 0 to the others: at a decision that is already made, no small change matters. Its
# circuit of six nodes has a precision of a half.
#
# **Predict.** The order of the candidates was shuffled. Now give them with the true ones first, as they come from the
# compiler. What does `tangent` find?

# %%
truth_first = sorted(candidates, key=lambda node: node not in truth)
leaked = {
    "as shuffled": found["tangent"],
    "true ones first": interp.discover(model, task, method="tangent", nodes=truth_first),
    "true ones last": interp.discover(model, task, method="tangent", nodes=truth_first[::-1]),
}
quality = {name: precision_recall(set(circuit.nodes), truth) for name, circuit in leaked.items()}
bars = go.Figure(
    [
        go.Bar(name=what, x=[*quality], y=[pair[i] for pair in quality.values()])
        for i, what in enumerate(("precision", "recall"))
    ]
)
styled(bars, title="tangent, by the order in which candidates are given", x_title="order").show(
    config=FIGURE_CONFIG
)
for name, pair in quality.items():
    print(f"{name:16} precision {pair[0]:.2f}, recall {pair[1]:.2f}, {len(leaked[name].nodes)} nodes")
area = {
    method: ranking([node in truth for node in candidates], [circuit.scores[node] for node in candidates])[
        "AUPRC"
    ]
    for method, circuit in found.items()
}
print(
    "area under precision against recall, ties counted as ties:",
    {name: round(value, 2) for name, value in area.items()},
)

# %% [markdown]
# With the true nodes first, the same useless scores give a circuit without a mistake: three nodes, precision 1.00. With
# the true nodes last they give all eleven, precision 0.36. All that `tangent` did was to leave ten zeros in the order
# in which they came. This is a *leak*: something that knows the answer (the order) has reached the method, and nothing
# in the output shows it. Measures that treat ties as ties are safe: the area under precision against recall is 0.68 for
# `tangent`, whatever the order.
#
# ## 3. What one direction hides
#
# Another case from the same collection: the answer is an OR of two sides, each computed by nodes of its own.
#
# **Predict.** Clean: both sides are on. Corrupt: both are off. Take away a node of one side: what happens to the
# answer? Which of the four methods will miss both sides?

# %%
either = case(6, seed=0)
print(either.name, "with", len(either.truth.nodes), "true nodes of", len(either.truth.scores))
names = sorted(either.truth.scores, key=lambda node: node.name)
random.Random(0).shuffle(names)
one_way = interp.discover(either.compiled.model, either.task, method="ablation", nodes=names)
two_ways = interp.discover(either.compiled.model, either.task, method="auto", nodes=names)
members = [node for node in sorted(either.truth.nodes, key=lambda node: (node.depth, node.label))]
bars = go.Figure(
    [
        go.Bar(name=name, x=[node.label for node in members], y=[abs(circuit.scores[node]) for node in members])
        for name, circuit in (("removing only", one_way), ("removing or restoring", two_ways))
    ]
)
styled(
    bars, title="OR: scores of the nodes that are in the circuit", x_title="node", y_title="size of the effect"
).show(config=FIGURE_CONFIG)
for name, circuit in (("ablation", one_way), ("auto", two_ways)):
    precision, recall = precision_recall(set(circuit.nodes), set(members))
    seen = sum(abs(circuit.scores[node]) > 1e-6 for node in members)
    print(
        f"{name:9} sees {seen} of {len(members)} true nodes at all; "
        f"its circuit: precision {precision:.2f}, recall {recall:.2f}"
    )

# %% [markdown]
# Removing one node at a time, two of the ten have any effect: those behind the OR, where the sides are already joined.
# Everything before it has a stand-in on the other side. The search then fills its circuit with nodes of score zero, in
# the order of the list, and half of what it reports is wrong. Restoring one node in the corrupt run shows all ten.
#
# ### Exercise 2: score both ways  (difficulty 3 of 5, 12 minutes)
# With `interp.effects`, return for every source the larger in size of two mean effects: of removing it (clean prompt,
# corrupt value) and of restoring it (corrupt prompt, clean value). An effect is always "before minus after".


# %% tags=["exercise"]
def both_ways(model, task, sources) -> torch.Tensor:
    raise NotImplementedError


# %% tags=["solution"]
def both_ways(model, task, sources) -> torch.Tensor:
    removing = interp.effects(
        model, task.clean, sources, task.metric, baseline=interp.Counterfactual(task.corrupt)
    ).mean
    restoring = -interp.effects(
        model, task.corrupt, sources, task.metric, baseline=interp.Counterfactual(task.clean)
    ).mean
    return torch.where(removing.abs() >= restoring.abs(), removing, restoring)


# %%
checks.both_ways(both_ways)

# %% [markdown]
# ## 4. Where nobody knows: IOI in a real language model
#
# *Indirect object identification*: "When Mary and John went to the store, John gave a drink to" is continued with
# "Mary". The metric is the logit of the right name minus that of the other; the corrupt prompt has other names.
# SmolLM2-135M has 270 heads and 30 MLPs. The exact effect of all 300 nodes takes ten minutes here; it was measured
# once, with both directions, and is kept in `circuits/found/ioi.json`. The gradient takes seconds.
#
# **Predict.** How well does the gradient agree with the exact effects: for heads? For MLPs? Does it find the largest?

# %%
smol = interp.load("smollm2-135m")
ioi = interp.task("ioi", model=smol, n=16, seed=5)
kept = interp.Circuit.load(Path(interp.__file__).parents[1] / "circuits" / "found" / "ioi.json")
everything = all_nodes(smol)
corrupt = interp.Counterfactual(ioi.corrupt)
cheap = interp.effects(
    smol, ioi.clean, [source(node) for node in everything], ioi.metric, "tangent", baseline=corrupt
).mean.numpy()
exact = np.array([kept.scores[node] for node in everything])
is_head = np.array([node.head is not None for node in everything])
figure = go.Figure()
for name, mask, colour in (("heads", is_head, BLUE), ("MLPs", ~is_head, ORANGE)):
    figure.add_scatter(
        x=exact[mask],
        y=cheap[mask],
        mode="markers",
        name=name,
        marker={"color": colour},
        text=[node.label for node, inside in zip(everything, mask) if inside],
    )
figure.add_scatter(x=[-2, 5.5], y=[-2, 5.5], mode="lines", name="equal", line={"color": GREY, "dash": "dot"})
styled(
    figure, title="IOI: every node of SmolLM2-135M", x_title="exact effect, logits", y_title="gradient, logits"
).show(config=FIGURE_CONFIG)
agreement = {
    name: float(np.corrcoef(exact[mask], cheap[mask])[0, 1])
    for name, mask in (("heads", is_head), ("MLPs", ~is_head))
}
largest = int(np.abs(exact).argmax())
top = [set(np.argsort(-np.abs(values))[:10]) for values in (exact, cheap)]
print("correlation", {name: round(value, 2) for name, value in agreement.items()})
print(
    f"largest exact effect: {everything[largest].label} {exact[largest]:.1f}; the gradient says {cheap[largest]:.1f}"
)
print(f"of the ten largest by exact effect, the gradient has {len(top[0] & top[1])} among its ten")

# %%
confirmed = sorted(top[1], key=lambda i: -abs(cheap[i]))[:4] + [largest]
again = interp.effects(
    smol, ioi.clean, [source(everything[i]) for i in confirmed], ioi.metric, baseline=corrupt
).mean
for i, value in zip(confirmed, again):
    print(f"{everything[i].label:6} gradient {cheap[i]:5.1f}   patched now {value:5.1f}   kept {exact[i]:5.1f}")
evidence = kept.provenance["evaluation"]
held_out = interp.Estimate.from_dict(evidence["faithfulness"])
print(
    f"kept circuit: {len(kept.nodes)} of 300 nodes; held-out faithfulness "
    f"{held_out}; p against random circuits {evidence['random_p']}"
)

# %% [markdown]
# For heads the gradient is a good guide (correlation 0.85), for MLPs it is none (-0.21). The largest effect of all,
# MLP0 with 5.3 logits, gets -1.1: too small, and of the wrong sign. (It is among the gradient's ten, so a search that
# *confirms* its ten exactly finds it.) Patching on these 16 prompts repeats what was kept from others within half a
# logit.
#
# And the circuit? There is no truth to compare with, so three other things are asked of it. Its *faithfulness*, the
# share of the metric that it brings back on prompts that had no part in the search, is 0.87, and the interval is wide:
# 0.71 to 1.10. Of 50 random circuits of the same size none came as near to 1 (p = 1 in 51). And it has 99 of 300 nodes:
# in this model IOI is not the work of a few heads. That is what was found, not what the textbook says of GPT-2.
#
# ### Exercise 3: is the shortlist safe?  (difficulty 3 of 5, 8 minutes)
# A cheap method proposes the k nodes of largest size, and only those are measured exactly. Return the largest exact
# effect (in size) that is *not* on the shortlist: what the shortcut can cost.


# %% tags=["exercise"]
def largest_missed(cheap: np.ndarray, exact: np.ndarray, k: int) -> float:
    raise NotImplementedError


# %% tags=["solution"]
def largest_missed(cheap: np.ndarray, exact: np.ndarray, k: int) -> float:
    left = np.argsort(-np.abs(cheap))[k:]
    return float(np.abs(exact[left]).max(initial=0.0))


# %%
checks.largest_missed(largest_missed)
print("largest missed", {k: round(largest_missed(cheap, exact, k), 2) for k in (4, 10, 20, 50)})

# %% [markdown]
# ## What could fool you
# - **Ties.** A method that gives zero to everything is ranked by the order in which you list the nodes. If that order
#   knows the truth, so does the "result".
# - **A small circuit that works.** Bringing back 80 % can be done without a part that is needed (section 2), and a
#   circuit found with prompts it was tested on proves nothing: look at held-out prompts.
# - **One direction.** Removing hides what has a stand-in; restoring hides what works only together.
# - **A gradient for a big change.** A gradient says what a *small* change does. MLP0 is where that is most wrong.

# %%
dashboard("circuit", m="smollm2-135m", t="ioi", h="L23H3")

# %% [markdown]
# ## Take away
# 1. Test a method where the truth is known before you believe it where it is not.
# 2. Patch in both directions; use gradients to propose, and exact effects to decide.
# 3. Without a truth, ask for held-out faithfulness with an interval, random circuits of the same size, and a second
#    method.

# %%
# The story, asserted: this cell fails if something above is no longer true.
assert known.compiled.run(word) == sorted(word) and len(truth) == 4 and len(candidates) == 11
results = {method: precision_recall(set(circuit.nodes), truth) for method, circuit in found.items()}
assert results["auto"] == (1, 1) and results["ablation"] == (1, 0.75) and results["tangent"][0] < 0.7
assert sum(abs(found["tangent"].scores[node]) > 1e-6 for node in candidates) == 1
assert min(found["ablation"].scores[node] for node in truth) > 0.5
assert quality["true ones first"] == (1, 0.75) and quality["true ones last"][0] < 0.4
assert area["auto"] == 1 and 0.6 < area["tangent"] < 0.75
assert sum(abs(one_way.scores[node]) > 1e-6 for node in members) == 2 and len(members) == 10
assert min(abs(two_ways.scores[node]) for node in members) > 0.5
assert (
    precision_recall(set(one_way.nodes), set(members))[0] < 0.7
    and precision_recall(set(two_ways.nodes), set(members))[0] == 1
)
assert agreement["heads"] > 0.75 and agreement["MLPs"] < 0.2
assert everything[largest].label == "MLP0" and exact[largest] > 5 and cheap[largest] < 0
assert (
    max(abs(value - exact[i]) for i, value in zip(confirmed, again.tolist())) < 0.6
    and len(top[0] & top[1]) >= 7
)
assert len(kept.nodes) == 99 and held_out.low < 0.75 and held_out.high > 1
