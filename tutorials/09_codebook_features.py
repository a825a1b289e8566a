# %% [markdown]
# # 09 · Codebook features: a finite state machine, then text
#
# **Goal.** *"I can put a codebook into a model, so that what it says at a place is one of a few codes. I can find out what
# codes stand for, write with them, and say honestly what they are better at than something simpler, and what they are
# not."*
#
# An activation is a vector of numbers, most of which mean nothing by themselves. A *codebook* replaces it by the nearest
# of a list of vectors, the *codes*: then the model says "code 17" (Tamkin, Taufeeque and Goodman 2023, arXiv
# 2310.17230). You need notebook 01. Some thirty seconds are training.

# %%
import dataclasses

import numpy as np
import plotly.graph_objects as go
import torch
from checks import codebook_features as checks
from lesson import dashboard
from torch.nn.functional import cross_entropy, layer_norm

import interp
from interp.codebook import TokenCodes, attach, detectors, measure
from interp.codebook.circuits import Code
from interp.codebook.classify import neurons
from interp.codebook.steering import activated, addition, steer
from interp.results import bootstrap_mean
from interp.results.estimate import bootstrap_ratio
from interp.results.plots import FIGURE_CONFIG, forest, heatmap, styled
from interp.tasks.corpus import documents
from interp.tasks.tokfsm import TokFSM

torch.set_num_threads(1)

# %% [markdown]
# ## 1. A machine, and a model of it
#
# *TokFSM* is a machine with 25 states. From each one can go to 5 others, all equally likely. A state is written as two
# digits in base 5, so no single token says which state it is: state 13 is `2 3`, and the 3 alone could be five states.
# A model that predicts the next token has to put the two together.
#
# **Predict.** A small transformer (two layers, width 64) is trained on random walks for 450 steps. It then writes walks
# itself. What share of its steps will be allowed? (5 of 25 would be chance.)

# %%
fsm, LENGTH = TokFSM(n_states=25, n_edges=5, base=5, seed=0), 32


def draw(rows: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and next tokens, [row, 32]."""
    return fsm.batch(rows, LENGTH, generator)


SIZES = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_vocab": 6, "n_ctx": LENGTH}
model = interp.build("gpt", **SIZES, seed=0)
optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
generator, steps = torch.Generator().manual_seed(0), 450
for step in range(steps):
    for group in optimiser.param_groups:  # warm up, and slow down in the last third
        group["lr"] = 2e-3 * min(1, (step + 1) / 50, 3 * (steps - step) / steps)
    tokens, following = draw(64, generator)
    loss = cross_entropy(model(tokens).flatten(0, 1), following.flatten())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
model.eval()
torch.set_grad_enabled(False)
base_accuracy = fsm.state_accuracy(model)
print("share of allowed steps:", base_accuracy)
print("a row:", *tokens[0, :9].tolist(), "(5 opens it); states", *fsm.read(tokens)[0, :4].tolist())

# %%
starts = fsm.write(fsm.states(200, 4, torch.Generator().manual_seed(3)))
ends = fsm.read(starts)[:, -1]
says = fsm.next_states(model, starts)
table = torch.stack([says[ends == state].mean(0) for state in range(25)])
heatmap(
    table,
    diverging=False,
    title="Behind each state: the model's probability of each next state",
    x_title="next state",
    y_title="state",
    unit="probability",
).show(config=FIGURE_CONFIG)
allowed_mass = table[fsm.edges].sum().item() / 25
print(f"probability on the five allowed states, mean over states: {allowed_mass:.3f}")

# %% [markdown]
# 0.984 [0.978, 0.991] of the steps that it writes are allowed, and 0.98 of its probability is on allowed states. It knows
# the machine.
#
# ## 2. Put a codebook in
#
# Books at what the two MLPs write: 200 codes each, one code at a time. `attach` puts them there, `with
# model.edit(books)` runs through them, `detach` takes them out again. Three things are compared: the model; codes that
# are the centres of clusters of its activations (*k-means*; the model stays as it is); and codes that were trained for
# 300 steps together with the model.
#
# ### Exercise 1: the nearest code  (difficulty 2 of 5, 8 minutes)
# Nearest means: largest *cosine* (the product of two vectors divided by their lengths). Return for each of `vectors`
# [n, d] the number of the nearest of `codes` [m, d].


# %% tags=["exercise"]
def nearest_code(vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError


# %% tags=["solution"]
def nearest_code(vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    vectors, codes = (x / x.norm(dim=-1, keepdim=True) for x in (vectors, codes))
    return (vectors @ codes.T).argmax(-1)


# %%
checks.nearest_code(nearest_code)

# %% [markdown]
# **Predict.** An MLP's output is 64 numbers; a code out of 200 is less than 8 bits. How much worse will the model be
# through k-means codes? Through trained ones?

# %%
SITES = "blocks.*.hook_mlp_out"
held = fsm.batch(256, LENGTH, torch.Generator().manual_seed(1_000_000))
example = draw(128, torch.Generator().manual_seed(5))[0]
plain = interp.build("gpt", **SIZES, seed=0)  # a copy, which stays as it is
plain.module.load_state_dict(model.module.state_dict())
clusters = attach(
    plain, SITES, n_codes=200, k=1, pre_norm="layer", init="kmeans", example=example, seed=0
)
written = model.read(held[0], "blocks.0.hook_mlp_out")["blocks.0.hook_mlp_out"]
by_hand = nearest_code(
    layer_norm(written, (64,)).flatten(0, 1), clusters.of("blocks.0.hook_mlp_out").codes[0]
)
cluster_codes = clusters.codes(held[0])
same = (by_hand == cluster_codes["blocks.0.hook_mlp_out"].flatten()).float().mean().item()
print(f"your nearest code is the library's in {same:.4f} of {len(by_hand)} places")


def quality(books) -> dict:
    scores = measure(books, *held).scores
    with books.model.edit(books):
        return {"loss": scores["loss"], "allowed": fsm.state_accuracy(books.model)}


without = measure(clusters, *held).scores["loss without books"]
reached = {
    "the model": {"loss": without, "allowed": base_accuracy},
    "k-means codes": quality(clusters),
}
units = torch.cat(
    [*model.read(held[0], ["blocks.*.hook_mlp_out", "blocks.*.mlp.hook_post"]).values()], -1
)
books = attach(model, SITES, n_codes=200, k=1, pre_norm="layer", seed=0)
with torch.enable_grad():
    training = books.train(
        draw, steps=300, batch=64, rate=1e-3, model_rate=1e-3, replace_every=50, seed=1
    )
reached["trained codes"] = quality(books)
forest(
    {name: found["allowed"] for name, found in reached.items()},
    title="Share of allowed steps",
    x_title="share",
).show(config=FIGURE_CONFIG)
for name, found in reached.items():
    loss, allowed = found["loss"], found["allowed"]
    print(
        f"{name:14} loss {loss.value:.3f} [{loss.low:.3f}, {loss.high:.3f}]   "
        f"allowed {allowed.value:.3f} [{allowed.low:.3f}, {allowed.high:.3f}]"
    )
print(
    measure(books, *held).frame()[["site", "live", "unexplained"]].round(3).to_string(index=False)
)

# %% [markdown]
# Through k-means codes the loss (0.870 nats) goes up to 1.209 and 0.829 of the steps are allowed; through trained ones it
# is 0.927, and 0.948 are. So 8 bits do for most of it, and training with books wins back five sixths of what they cost.
# Of 200 codes of each book about 120 are in use at the end.
#
# ## 3. What do codes stand for?
#
# A code *detects* a state if it is active where the state's last digit is. *Precision*: of the places where the code is
# active, how many end this state? *Recall*: of the places that end this state, how many have the code? For each state
# the code is chosen on one half of 256 walks and scored on the other.
#
# ### Exercise 2: score a detector  (difficulty 1 of 5, 6 minutes)
# `ids` [row, pos] is the code at each token, `labels` [row, pos] the state that ends there (-100 where none does).
# Return precision and recall of `code` as a detector of `state` (0 where nothing is active).


# %% tags=["exercise"]
def detects(ids: torch.Tensor, labels: torch.Tensor, code: int, state: int) -> tuple[float, float]:
    raise NotImplementedError


# %% tags=["solution"]
def detects(ids: torch.Tensor, labels: torch.Tensor, code: int, state: int) -> tuple[float, float]:
    active, there = ids == code, labels == state
    both = (active & there).sum().item()
    return both / max(active.sum().item(), 1), both / max(there.sum().item(), 1)


# %%
checks.detects(detects)

# %% [markdown]
# **Predict.** Mean precision of the best code of each state in layer 0: of trained codes, of k-means codes (nothing was
# trained), of the best single *neuron* of all (MLP outputs and hidden units of both layers, with the threshold that
# gives it half the recall), and of trained codes with the states' names shuffled.

# %%
labels, half = fsm.labels(held[0]), torch.arange(256) % 2 == 0
codes = books.codes(held[0])
mixed = labels.clone()
there = labels >= 0
mixed[there] = labels[there][
    torch.randperm(int(there.sum()), generator=torch.Generator().manual_seed(0))
]
found = {
    "trained codes": detectors(codes, labels, 200, select=half),
    "k-means codes": detectors(cluster_codes, labels, 200, select=half),
    "trained codes, shuffled states": detectors(codes, mixed, 200, select=half),
}
precision = {}
for name, one in found.items():
    for layer in range(2):
        rows = one.frame().query(f"site == 'blocks.{layer}.hook_mlp_out'").fillna(0.0)
        precision[f"{name}, layer {layer}"] = bootstrap_mean(rows["precision"], unit="states")
        print(
            f"{name:31} layer {layer}: precision {rows['precision'].mean():.2f}, recall {rows['recall'].mean():.2f}"
        )
single = neurons(units, labels, dict.fromkeys(range(25), 0.5), select=half)
precision["best neuron of 640, at recall 0.5"] = bootstrap_mean(
    [p for p, _ in single.values()], unit="states"
)
print(
    f"best neuron of {units.shape[-1]}: precision {np.mean([p for p, _ in single.values()]):.2f} at recall "
    f"{np.mean([r for _, r in single.values()]):.2f}"
)
forest(
    precision, title="Detectors of states, held out, mean over 25 states", x_title="precision"
).show(config=FIGURE_CONFIG)

# %% [markdown]
# Codes are detectors: 0.96 in layer 0, with shuffled states 0.02. But look at the line below. k-means centres of the
# untouched model have 1.00, without any training, at a lower recall (0.33 against 0.72: more centres share a state). And
# the best neuron of each state has 0.85 at half the recall. The paper compares codes with neurons; on this machine most
# of the margin is *clustering*, and what training buys is the other thing, a model that works through its codes. In layer
# 1 codes are worse detectors (0.68): there the model has gone on to the next digit.
#
# `docs/codebook.md` has this with 500 codes, beside an autoencoder and a probe: clusters of the untouched model and the
# autoencoder detect states at least as well as trained codes there, too.
#
# ## 4. Write with codes
#
# What codes are for: they can be exchanged. Take pairs of walks that end in different states, a and b. Run the model on
# a, but with the codes that it had on b at the last two tokens. If the codes are the state, the model goes on as from b.
#
# ### Exercise 3: another state's codes  (difficulty 3 of 5, 12 minutes)
# `books.put(site, ids, pos=slice(-2, None))` is an edit that puts given codes at the last two positions; it has a `put`
# again, for the next site. `books.codes(x)` gives {site: ids}. Return the logits at the last position [row, token] of
# the run on `a` with the codes of `b` at the given `sites`.


# %% tags=["exercise"]
def with_codes_of(books, a: torch.Tensor, b: torch.Tensor, sites: list[str]) -> torch.Tensor:
    raise NotImplementedError


# %% tags=["solution"]
def with_codes_of(books, a: torch.Tensor, b: torch.Tensor, sites: list[str]) -> torch.Tensor:
    ids, edited = books.codes(b), books
    for site in sites:
        edited = edited.put(site, ids[site], pos=slice(-2, None))
    with books.model.edit(edited):
        return books.model(a)[:, -1]


# %%
checks.with_codes_of(with_codes_of, books, fsm)

# %% [markdown]
# **Predict.** How much of the difference between what the model says behind a and behind b is left: with the codes of
# layer 0, of layer 1, of both?

# %%
a, b = (fsm.write(fsm.states(400, 8, torch.Generator().manual_seed(seed))) for seed in (7, 8))
differ = fsm.read(a)[:, -1] != fsm.read(b)[:, -1]
a, b = a[differ], b[differ]


def divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence of distributions [row, n]: 0 where they are the same, nats."""
    middle = (p + q) / 2
    return (
        sum(
            (x * (x.clamp(min=1e-12).log() - middle.clamp(min=1e-12).log())).sum(-1) for x in (p, q)
        )
        / 2
    )


left, after = {}, {}
for kind, some in (("trained", books), ("k-means", clusters)):
    wanted, other = (some(x)[:, -1].softmax(-1) for x in (b, a))
    for name, sites in {
        "layer 0": some.sites[:1],
        "layer 1": some.sites[1:],
        "both": some.sites,
    }.items():
        after[kind, name] = with_codes_of(some, a, b, sites).softmax(-1)
        left[f"{kind} codes, {name}"] = bootstrap_ratio(
            divergence(wanted, after[kind, name]), divergence(wanted, other), unit="pairs"
        )
forest(left, title="What is left of the difference between a and b", x_title="share").show(
    config=FIGURE_CONFIG
)
for name, estimate in left.items():
    print(f"{name:23} {estimate}")

# %%
wanted, other = (books(x)[:, -1].softmax(-1) for x in (b, a))
pair = 0
figure = go.Figure(
    [
        go.Bar(name=name, x=[f"digit {i}" for i in range(5)], y=p[pair, :5])
        for name, p in (
            ("run on a", other),
            ("run on b", wanted),
            ("run on a with b's codes", after["trained", "both"]),
        )
    ]
)
states = [int(fsm.read(x)[pair, -1]) for x in (a, b)]
styled(
    figure,
    title=f"What comes next, a ends in state {states[0]}, b in state {states[1]}",
    y_title="probability",
).show(config=FIGURE_CONFIG)

# %% [markdown]
# With the trained codes of both layers 0.02 of the difference is left, with those of layer 0 alone 0.06, of layer 1
# alone 0.60. The state is in the codes, most of it in layer 0, and whoever exchanges them exchanges the state. With
# k-means codes of both layers it is 0.02 as well (0.14 with layer 0 alone): for this, too, nothing had to be trained.
# What training bought is in section 2, a model that makes fewer mistakes through its codes.
#
# ## 5. Text is not a finite state machine
#
# The paper steers language models: switch on a code, and texts turn to football or to dragons. Try it on
# `garden/text-small` (0.8 million parameters, presidents' addresses): a book of 512 codes on each of its 16 heads, 8
# codes at a time, k-means centres of 15,240 tokens. The topic is war. Codes are chosen on training text: the best
# detector of the topic's words in each head. For comparison, *activation addition*: add to the stream, at every token, the mean over texts that name the topic minus
# that over others.
#
# What is counted: texts that name the topic, of 40 (four neutral beginnings, ten texts each, 40 tokens), and their
# *perplexity* for the model without books (how surprised it is by a token; lower is more fluent).
#
# **Predict.** Without steering 2.5 % name it. With codes? With the addition, eight times? And what will it cost in
# perplexity?

# %%
text = interp.load("garden/text-small")
texts = [d.text[i : i + 1500] for d in documents() if d.split == "train" for i in (0, 4500)][-120:]
rows = torch.tensor(
    [ids[:127] for t in texts if len(ids := text.tokenizer(t, verbose=False).input_ids) > 127]
)
on_heads = attach(
    text, "blocks.*.attn.hook_z", n_codes=512, k=8, init="kmeans", example=rows, seed=0
)
WAR = "war|wars|battle|army|navy|troops|military|soldiers"
seen = TokenCodes.of(on_heads, texts)
best = {}
for row in seen.search(WAR, by="f1", n=40).frame().itertuples():
    best.setdefault((row.site, row.group), Code(row.site, int(row.group), int(row.code)))
ordered = list(best.values())  # best detector first
vector = addition(text, seen.tokens, WAR, "blocks.1.hook_resid_post")
ways = {
    "the model": None,
    "with books": on_heads,
    f"a code in {len(ordered)} heads, one slot": activated(on_heads, ordered),
    "codes in 2 heads, all slots": activated(on_heads, ordered[:2], every_slot=True),
    "addition x 8": dataclasses.replace(vector, scale=8.0),
}
steered = steer(
    on_heads,
    ("The", "We have", "It is", "In the last year"),
    ways,
    WAR,
    samples=10,
    length=40,
    seed=0,
    clean=["addition x 8"],
)
steered.figure().show(config=FIGURE_CONFIG)
print(
    seen.search(WAR, by="f1", n=3)
    .frame()[["site", "group", "code", "precision", "recall"]]
    .round(2)
    .to_string()
)
for name, rate in steered.rates.items():
    middle = steered.frame().set_index("way").loc[name, "perplexity"]
    print(
        f"{name:30} names war: {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]   perplexity {middle:.0f}"
    )
for name in ("with books", "addition x 8"):
    print(f"\n{name}: In the last year" + steered.texts.query("way == @name").iloc[30]["text"])

# %% [markdown]
# These codes do not steer this model. The texts that name war are 1 of 40 without steering and 0 or 1 of 40 with codes,
# and the books alone take the median perplexity from 27 to 61. The best detector of war words has a precision of 0.04 on
# new texts, so there was hardly a code for war to switch on. Adding a vector names war in 5 of 40 at a perplexity of 27.
# The interval, 0.025 to 0.25, touches what happens without steering: with 40 texts even that is no proof.
#
# Where is the paper's football? Its models are at least twenty times larger, its books are trained with the model for
# long, and have twenty times as many codes. (`docs/codebook.md` says what other ways to train and to choose codes reach
# on this model.) On a machine with 25 states a code has something to stand for. That is no promise about text.
#
# ## What could fool you
# - **Precision alone.** A code that is active twice can be right twice. Ask for recall, and for places that had no part in
#   choosing the code.
# - **The weak rival.** Codes beat the neurons of one layer easily. k-means and an autoencoder, at the same number of
#   bits, are the comparison that says what *training with codes* adds.
# - **Best of many.** With 200 codes and 25 states something fits. The shuffled states show how well: 0.02 here.
# - **Steering that counts words.** Word salad full of "war" would be a success by the first number. Report fluency
#   beside it, and a plain vector as the rival.

# %%
dashboard("codes", m="garden/text-small")

# %% [markdown]
# ## Take away
# 1. A codebook makes a model speak in codes, which can be searched, counted and exchanged; the cost is a number (loss with
#    and without).
# 2. That codes mean something has to beat shuffled labels, neurons, and clusters of the untouched model. Here it beats the
#    first two.
# 3. Success on a small machine with clean states does not carry over to text by itself: measure it there.

# %%
# The story, asserted: this cell fails if something above is no longer true.
assert 0.975 < base_accuracy.value < 0.992 and allowed_mass > 0.97 and same > 0.999
loss = {name: found["loss"].value for name, found in reached.items()}
allowed = {name: found["allowed"].value for name, found in reached.items()}
assert (
    0.86 < loss["the model"] < 0.88
    and 1.15 < loss["k-means codes"] < 1.27
    and 0.90 < loss["trained codes"] < 0.95
)
won_back = (loss["k-means codes"] - loss["trained codes"]) / (
    loss["k-means codes"] - loss["the model"]
)
assert (
    0.79 < won_back < 0.87
    and 0.8 < allowed["k-means codes"] < 0.86
    and 0.93 < allowed["trained codes"] < 0.97
)
value = {name: estimate.value for name, estimate in precision.items()}
assert 0.93 < value["trained codes, layer 0"] < 0.99 and value["k-means codes, layer 0"] > 0.99
assert (
    0.6 < value["trained codes, layer 1"] < 0.76
    and value["trained codes, shuffled states, layer 0"] < 0.05
)
assert 0.8 < value["best neuron of 640, at recall 0.5"] < 0.9 and units.shape[-1] == 640
assert (
    left["trained codes, both"].value < 0.04 and 0.04 < left["trained codes, layer 0"].value < 0.09
)
assert 0.5 < left["trained codes, layer 1"].value < 0.7 and left["k-means codes, both"].value < 0.04
assert left["k-means codes, layer 0"].value > 0.1
assert seen.search(WAR, by="f1", n=1).frame()["precision"][0] < 0.06
assert len(rows) == 120 and [rate.value for rate in steered.rates.values()][0] == 0.025
by_codes = [name for name in ways if name.startswith(("a code", "codes", "with books"))]
assert max(steered.rates[name].value for name in by_codes) <= 0.05
assert 0.1 <= steered.rates["addition x 8"].value <= 0.15
fluency = steered.frame().set_index("way")["perplexity"]
assert (
    fluency["with books"] > 1.5 * fluency["the model"]
    and fluency["codes in 2 heads, all slots"] > 2 * fluency["the model"]
)
assert fluency["addition x 8"] < 1.2 * fluency["the model"]
