# %% [markdown]
# # 14 · Image patches and reaction atoms
#
# **Goal.** *"I can use the tools that I know from text on a model of images and on one of chemical reactions. I know what
# a picture of attention says there, what it does not say, and how to find out what the model uses."*
#
# Two small models that are no language models: `garden/digits-vit` sees handwritten digits, `rxnmapper` reads chemical
# reactions. You need notebooks 02 (patterns) and 05 (patching).

# %%
import numpy as np
import plotly.graph_objects as go
import torch
from checks import patches_and_atoms as checks
from lesson import dashboard
from scipy.stats import spearmanr

import interp
from interp.results import bootstrap_mean
from interp.results.plots import FIGURE_CONFIG, curve_with_band, forest, heatmap, styled
from interp.tasks.atom_mapping import pattern_agreement
from interp.tasks.digits import held_out
from interp.tasks.reaction_templates import generate
from interp.tasks.reactions import correct_atoms, is_atom, read_atom_map

torch.set_grad_enabled(False)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. An image is a row of patches
#
# A *vision transformer* cuts an image into squares (*patches*), makes a vector of each, and goes on as a language model
# does with tokens, except that every patch may look at every other. Here: 8 x 8 gray values, 16 patches of 2 x 2, two
# blocks of four heads and an MLP, and at the end the mean over patches, from which ten logits are made. Sites have the
# names they have in a language model.
#
# The task `digits`: the clean image shows one digit, the corrupt image another. The metric is the logit of the digit
# that is seen minus that of the other.
#
# **Predict.** Exchange one of the 16 patches of the clean image for the same patch of the corrupt one. Which patches cost
# most, on average over many pairs? Which cost nothing, and why?

# %%
vit = interp.load("garden/digits-vit")
print(*[site.name for site in vit.sites("blocks.0.*")][:9], "...")
task = interp.task("digits", model=vit, n=96, seed=0)
image = task.clean[1, 0]
heatmap(
    image,
    diverging=False,
    title=f"Clean image 1: {task.prompts['clean'][1]}",
    x_title="pixel; a patch is 2 x 2",
).show(config=FIGURE_CONFIG)
patches = [interp.Source("hook_embed", pos=place) for place in range(16)]
corrupt = interp.Counterfactual(task.corrupt)
by_patch = interp.effects(
    vit, task.clean, patches, task.metric, baseline=corrupt
).values.numpy()  # [patch, image]
grid = by_patch.mean(1).reshape(4, 4)
heatmap(grid, title="Effect of exchanging one patch, 96 pairs", unit="logits").show(
    config=FIGURE_CONFIG
)
every = task.metric(vit(task.clean)) - task.metric(vit(task.corrupt))
print(
    "single patches add up to",
    round(float(grid.sum()), 1),
    "logits; all together",
    round(every.mean().item(), 1),
)

# %% [markdown]
# The two middle columns. The most is lost with patch 9 (third row, second column), 3.7 logits; every patch of the left
# and right columns costs less than 0.8, most of them next to nothing. Digits are tall and narrow: there is white paper
# at the sides of both images, and an exchange of white for white changes nothing. As in notebook 05, such a patch is not
# unimportant, it was not asked.
#
# The single patches add up to 19.0 logits and all sixteen together to 25.7: they do not work each for itself.
#
# ### Exercise 1: paint a patch over  (difficulty 2 of 5, 8 minutes)
# Exchanging needs a second image. The plain way is to paint. Return a copy of `pixels` [image, 1, 8, 8] in which patch
# `place` (0 to 15, row by row) is white, which is -1.


# %% tags=["exercise"]
def painted(pixels: torch.Tensor, place: int) -> torch.Tensor:
    raise NotImplementedError


# %% tags=["solution"]
def painted(pixels: torch.Tensor, place: int) -> torch.Tensor:
    row, column = divmod(place, 4)
    copy = pixels.clone()
    copy[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = -1
    return copy


# %%
checks.painted(painted)

# %%
pixels, labels = held_out()  # the 600 images that the model was not trained on
accuracy = (vit(pixels).argmax(-1) == labels).float().mean().item()
without = [
    (vit(painted(pixels, place)).argmax(-1) == labels).float().mean().item() for place in range(16)
]
heatmap(
    np.reshape(without, (4, 4)) - accuracy,
    title="Change of accuracy when one patch is painted white",
    unit="share",
).show(config=FIGURE_CONFIG)
print(f"accuracy {accuracy:.3f}; with one patch painted {min(without):.3f} to {max(without):.3f}")

# %% [markdown]
# The same patch 9 is the worst to lose, 0.98 falls to 0.80. Painting the sides changes little, since they are white
# already; with one patch painted, one image *more* is right than before. Both experiments replace a patch, by paint and by
# another digit, and they are different questions.
#
# ## 2. A map of attention is not a map of what matters
#
# The usual picture for vision transformers shows where attention goes. Four candidates, each a number for every patch of
# every image: attention received in layer 0, in layer 1, *rollout* (the patterns of both layers multiplied, half of each
# replaced by the identity for the residual stream), and no model at all: how much ink is in the patch.
#
# **Predict.** Which of the four ranks the patches of an image most like the effects of exchanging them? Is attention
# better than ink?

# %%
print("1 2 3 4 against 10 20 40 30:", spearmanr([1, 2, 3, 4], [10, 20, 40, 30]).statistic)

# %% [markdown]
# ### Exercise 2: agreement, image by image  (difficulty 2 of 5, 8 minutes)
# `score` and `effect` are [patch, image]. Return the Spearman rank correlation (as in the line above: 1 where the
# order is the same, -1 where it is reversed) of the two over the patches of each image, as an array [image].


# %% tags=["exercise"]
def agreement(score: np.ndarray, effect: np.ndarray) -> np.ndarray:
    raise NotImplementedError


# %% tags=["solution"]
def agreement(score: np.ndarray, effect: np.ndarray) -> np.ndarray:
    return np.array([spearmanr(a, b).statistic for a, b in zip(score.T, effect.T)])


# %%
checks.agreement(agreement)

# %%
_, cache = vit.run_with_cache(task.clean, "blocks.*.attn.hook_pattern")
layers = [cache["pattern", depth].mean(1) for depth in range(2)]  # over heads: [image, query, key]
half = [0.5 * pattern + 0.5 * torch.eye(16) for pattern in layers]
gradients = {
    name: interp.effects(
        vit, task.clean, patches, task.metric, rules=rules, baseline=corrupt
    ).values.numpy()
    for name, rules in (("one gradient", "tangent"), ("gradients along the way", "integrated"))
}
scores = {
    "attention received, layer 0": layers[0].mean(1).numpy().T,
    "attention received, layer 1": layers[1].mean(1).numpy().T,
    "rollout": (half[1] @ half[0]).mean(1).numpy().T,
    "ink in the patch": ((task.clean + 1) / 2)
    .unfold(2, 2, 2)
    .unfold(3, 2, 2)
    .mean((1, 4, 5))
    .flatten(1)
    .numpy()
    .T,
} | gradients
agree = {
    name: bootstrap_mean(agreement(score, by_patch), task.clusters)
    for name, score in scores.items()
}
forest(
    agree, title="Agreement with the effects of exchanging patches", x_title="rank correlation"
).show(config=FIGURE_CONFIG)
for name, estimate in agree.items():
    print(f"{name:28} {estimate}")

# %% [markdown]
# Attention is not better than ink. It agrees with the effects at 0.28 and 0.29, rollout at 0.33, and the ink in the patch,
# which knows nothing of the model, at 0.29; their intervals overlap. Attention goes where there is something to see. One
# gradient does better (0.50), gradients averaged along the way from corrupt to clean better still (0.69), and the exact
# effects cost 16 exchanges, which for 16 patches is cheap. If you show a map, show this.
#
# ## 3. A reaction is a row of atoms
#
# `rxnmapper` reads reactions as text, `reactants>>products`, in SMILES: atoms are letters, `=` and `#` are bonds,
# brackets open branches, digits close rings. It was trained to fill in masked tokens. It is an ALBERT: *one* block,
# visited twelve times, so depth 0 to 11 share their weights. Its authors found that one head, at depth 10, attends from
# every atom of the product to the atom of the reactants that it came from. (A chemist needs this map and used to draw
# it by hand.)
#
# **Predict.** Which part of the pattern of that head holds the map: rows of product atoms or of reactant atoms? What will
# a good map look like?

# %%
rxn = interp.load("rxnmapper")
reactions = generate(60, seed=1)
one = next(reaction for reaction in reactions if reaction.template == "amide coupling")
tokens, (site, head) = one.tokens, ("blocks.10.attn.hook_pattern", 5)
pattern = rxn.read(rxn.tokenizer([one.smiles], return_tensors="pt"), site)[site][0, head]
arrow = tokens.index(">>")
before = [i for i, token in enumerate(tokens) if i < arrow and is_atom(token)]
after = [i for i, token in enumerate(tokens) if i > arrow and is_atom(token)]
print(one.smiles)
heatmap(
    pattern[after][:, before],
    x=[f"{tokens[i]} {i}" for i in before],
    y=[f"{tokens[i]} {i}" for i in after],
    diverging=False,
    title="Depth 10, head 5: from atoms of the product to atoms of the reactants",
    x_title="reactant atom, its position",
    y_title="product atom",
    unit="share",
).show(config=FIGURE_CONFIG)

# %% [markdown]
# ### Exercise 3: read the map  (difficulty 2 of 5, 10 minutes)
# Given a pattern [query, key], the positions of product atoms and those of reactant atoms, return a list of pairs
# (product position, reactant position): for each product atom the reactant atom that it attends to most.


# %% tags=["exercise"]
def atom_map(
    pattern: torch.Tensor, products: list[int], reactants: list[int]
) -> list[tuple[int, int]]:
    raise NotImplementedError


# %% tags=["solution"]
def atom_map(
    pattern: torch.Tensor, products: list[int], reactants: list[int]
) -> list[tuple[int, int]]:
    best = pattern[products][:, reactants].argmax(1)
    return [(product, reactants[i]) for product, i in zip(products, best.tolist())]


# %%
checks.atom_map(atom_map)

# %%
mine = atom_map(pattern, after, before)
known = dict(one.atom_map.pairs)
same = sum(known[product] == reactant for product, reactant in mine)
library = correct_atoms(read_atom_map(pattern, tokens, "argmax"), one.atom_map, tokens)
print(
    f"this reaction: {same} of {len(mine)} go to the atom they came from, {sum(library)} if atoms that symmetry "
    "makes equal count as equal"
)

# %% [markdown]
# **Predict.** All eight heads, at depth 10, over 60 reactions: how many of the product atoms does the next best head map
# right? Head 5 at depth 0, with the same weights? And with the molecules written differently (a SMILES may start at any
# atom)?

# %%
heads = [
    pattern_agreement(rxn, reactions, depth=10, head=h, method="argmax").share for h in range(8)
]
depths = (0, 1, 2, 4, 7, 10)
by_depth = [
    pattern_agreement(rxn, reactions, depth=d, head=5, method="argmax").share for d in depths
]
shuffled = pattern_agreement(rxn, generate(60, seed=1, writing="random"), method="argmax").share
figure = curve_with_band(
    depths,
    [e.value for e in by_depth],
    [e.low for e in by_depth],
    [e.high for e in by_depth],
    name="head 5, by depth",
    title="Product atoms whose largest attention is right, 60 reactions",
    x_title="depth",
    y_title="share right",
)
figure.add_scatter(
    x=[10] * 7,
    y=[e.value for h, e in enumerate(heads) if h != 5],
    mode="markers",
    name="other heads",
)
figure.add_scatter(x=[10], y=[shuffled.value], mode="markers", name="head 5, written at random")
figure.show(config=FIGURE_CONFIG)
print("head 5 by depth     ", *[f"{d}: {e.value:.2f}" for d, e in zip(depths, by_depth)])
print("heads at depth 10   ", *[f"{h}: {e.value:.2f}" for h, e in enumerate(heads)])
print("head 5 at depth 10  ", heads[5])
print("written at random   ", shuffled)

# %% [markdown]
# The authors are right: 0.97 of the product atoms, by nothing but the largest attention; the next best head has 0.40. The
# same weights at depth 0 have 0.23, at depth 2 0.87: what the head can find depends on what the visits before have
# written. And it depends on how the molecule is written: 0.76 when it starts at a random atom. The map is a fact about
# this head on reactions written as in its training data.
#
# ## 4. Read is not used
#
# So far this is a pattern, and section 2 was about patterns. Does the model *use* head 5? The task `atom-mapping` masks
# one atom of the product and asks for it; in the corrupt reaction one substituent is another (F for Cl, say), in the
# reactants and in the product. The metric is the logit of the right atom minus that of the corrupt one.
#
# First, where the answer is: patch the stream at the position where the atom stands in the reactants (the origin), or at
# the masked position, depth by depth.
#
# **Predict.** Draw the two curves. At what depth do they cross?

# %%
mapping = interp.task("atom-mapping", model=rxn, n=16, seed=0, metric="logit-diff")
print(mapping.prompts["clean"][0], " masked position", mapping.prompts["position"][0])
other = interp.Counterfactual(mapping.corrupt)
whole = (mapping.metric(rxn(mapping.clean)) - mapping.metric(rxn(mapping.corrupt))).mean().item()
places = {
    "origin": mapping.prompts["origin"].tolist(),
    "masked": mapping.prompts["position"].tolist(),
}
points = (0, 2, 4, 6, 7, 8, 9, 10, 11)
flow = torch.stack(
    [
        interp.effects(
            rxn,
            mapping.clean,
            [interp.Source(f"blocks.{d}.hook_resid_post", pos=p) for p in places.values()],
            mapping.metric,
            baseline=other,
        ).mean
        for d in points
    ]
)
figure = None
for name, line in zip(places, flow.T):
    figure = curve_with_band(
        points,
        line,
        name=f"{name} position",
        figure=figure,
        title="Patching the stream at one position",
        x_title="behind depth",
        y_title="effect, logits",
    )
figure.show(config=FIGURE_CONFIG)
print(f"clean minus corrupt: {whole:.1f} logits")
for d, line in zip(points, flow.tolist()):
    print(f"behind depth {d:2}: origin {line[0]:5.1f}   masked {line[1]:5.1f}")

# %% [markdown]
# At first the atom is known where it stands (8.7 logits at the origin, 0.1 at the mask), at the end only where it is asked
# for (0.0 and 19.6). They cross between depths 6 and 7. So somebody carries the atom from the reactants to the product,
# bit by bit, over many visits.
#
# Now the heads. One block is visited twelve times, so "head 5" is twelve nodes. `interp.effects` takes a *list* of
# sources to be removed together.
#
# ### Exercise 4: all visits of a head  (difficulty 2 of 5, 8 minutes)
# Return, for each head 0 to 7, the list of its sources (site `blocks.{depth}.attn.hook_z`) at the given depths.


# %% tags=["exercise"]
def visits(depths) -> list[list[interp.Source]]:
    raise NotImplementedError


# %% tags=["solution"]
def visits(depths) -> list[list[interp.Source]]:
    return [[interp.Source(f"blocks.{d}.attn.hook_z", head=h) for d in depths] for h in range(8)]


# %%
checks.visits(visits)

# %% [markdown]
# **Predict.** The best single visit of head 5, its twelve visits added up, its twelve visits removed together: order the
# three. How far behind is the next head?

# %%
singles = [interp.Source(f"blocks.{d}.attn.hook_z", head=5) for d in range(12)]
found = interp.effects(
    rxn,
    mapping.clean,
    [*singles, *visits(range(12))],
    mapping.metric,
    baseline=other,
    clusters=mapping.clusters,
)
alone, together = found.mean[:12], found.estimates()[12:]
figure = go.Figure(go.Bar(x=[f"head {h}" for h in range(8)], y=[e.value for e in together]))
styled(
    figure,
    title="All twelve visits of a head put at their corrupt values",
    y_title="effect, logits",
).show(config=FIGURE_CONFIG)
print("head 5, one visit at a time:", *[f"{value:.1f}" for value in alone.tolist()])
print(f"added up {alone.sum():.1f}; together {together[5]}")
print("the other heads:", *[f"{h}: {e.value:.1f}" for h, e in enumerate(together) if h != 5])

# %% [markdown]
# No visit of head 5 costs more than 2.3 of 19.6 logits. Added up they are 8.2. Together they are 11.2 [7.0, 15.8], more
# than half of what there is, and the next head has 4.2. One visit missing is made good by the next: the same head sits
# in each of the twelve. Whoever removes single nodes from a model with shared weights will conclude that attention
# hardly matters in it.
#
# So reading and use point at the same head, for this task. That had to be measured: in section 2 they did not.
#
# ## What could fool you
# - **A pretty map.** Attention over an image looks like an explanation because it lies on the object. So does the ink.
# - **A value that is the same in both.** A white patch exchanged for a white patch has no effect, whatever it is worth.
# - **One visit.** In a model with shared weights, nodes are visits. Remove the group before you call a head idle.
# - **A head with a meaning.** Head 5 maps 0.97 of the atoms in reactions that are written tidily and that our own
#   templates made. That is no sample of chemistry, and 0.76 is the same head on the same molecules.

# %%
dashboard("explore", m="garden/digits-vit", t="digits", row=1)
dashboard("explore", m="rxnmapper", t="atom-mapping:metric=logit-diff", n=16, h="L10H5")

# %% [markdown]
# ## Take away
# 1. Patches and atoms are positions: sites, patching and effects are the same for images, reactions and text.
# 2. Compare a picture of attention with the effects, and with something that knows nothing of the model, before you
#    believe it.
# 3. Where weights are shared, take all visits of a head away together.

# %%
# The story, asserted: this cell fails if something above is no longer true.
assert by_patch.mean(1).argmax() == 9 and 3.5 < grid[2, 1] < 3.9 and grid[:, [0, 3]].max() < 0.8
assert 18.5 < grid.sum() < 19.5 and 25 < every.mean() < 26.5
assert (
    accuracy > 0.97
    and int(np.argmin(without)) == 9
    and 0.78 < min(without) < 0.82
    and max(without) > accuracy
)
value = {name: estimate.value for name, estimate in agree.items()}
assert all(0.25 < value[f"attention received, layer {d}"] < 0.31 for d in range(2))
assert 0.30 < value["rollout"] < 0.36 and 0.26 < value["ink in the patch"] < 0.32
assert agree["rollout"].low < agree["ink in the patch"].high
assert 0.47 < value["one gradient"] < 0.53 and 0.66 < value["gradients along the way"] < 0.73
assert same == len(mine) == 12 and heads[5].value > 0.95 and 0.38 < heads[2].value < 0.42
assert max(e.value for h, e in enumerate(heads) if h not in (2, 5)) < 0.2
assert (
    0.2 < by_depth[0].value < 0.26
    and 0.84 < by_depth[2].value < 0.9
    and 0.72 < shuffled.value < 0.8
)
assert flow[0, 0] > 8 and flow[0, 1] < 0.2 and flow[-1, 0].abs() < 0.01 and 19 < flow[-1, 1] < 20
assert flow[3, 0] > flow[3, 1] and flow[4, 0] < flow[4, 1] and 19 < whole < 20
assert 2.2 < alone.max() < 2.4 and 8 < alone.sum() < 8.4 and 11 < together[5].value < 11.4
assert max(e.value for h, e in enumerate(together) if h != 5) < 4.4
