# %% [markdown]
# # 03 · Train a model and find its induction circuit
#
# **Goal.** *"I can train a small transformer, see the moment at which it learns, and prove which parts of it do the
# work. I also know the choice of data that would have made me prove something false."*
#
# *Induction* means: after `... A B ... A`, say `B`, whatever A and B are. It is the simplest thing that a language
# model learns from its context. You need notebook 01 (run, read, replace); training takes under a minute.

# %%
import torch
from checks import train_and_find_induction as checks
from lesson import dashboard
from torch.nn.functional import cross_entropy

import interp
from interp.icl import composition, head_scores
from interp.results import bootstrap_mean
from interp.results.plots import FIGURE_CONFIG, curve_with_band, forest
from interp.tasks import repeats

torch.set_num_threads(1)
N_TOKENS, BOS, LENGTH = 32, 32, 40

# %% [markdown]
# ## 1. Train, and watch the jump
#
# A row of data begins with a *BOS* (a token that only marks the beginning), then a *lead* of 0 to 12 random tokens,
# then a block of random tokens that repeats to the end. The length of the block, the *period*, is drawn anew for every
# row, from 4 to 14.
#
# The model has two layers of four attention heads and no MLP. Next to it we train a *control*: the same model with one
# layer.


# %%
def rows(n: int, seed: int, periods=(4, 14)) -> torch.Tensor:
    """Token ids [n, 40]."""
    generator = torch.Generator().manual_seed(seed)
    return repeats.sequences(n, generator, n_tokens=N_TOKENS, n_ctx=LENGTH, periods=periods, longest_lead=12)[0]


def right(model, tokens: torch.Tensor) -> torch.Tensor:
    """Share of correct first guesses in every row, where the next token can be known."""
    with torch.no_grad():
        hits = model(tokens)[:, :-1].argmax(-1) == tokens[:, 1:]
    known = repeats.predictable(tokens)[:, :-1]
    return (hits & known).sum(1) / known.sum(1)


def train(layers: int, periods=(4, 14), steps: int = 400):
    """A trained model, and its accuracy on new rows every 25 steps."""
    model = interp.build(
        "attn-only-rotary", d_model=48, n_layers=layers, n_heads=4, d_vocab=N_TOKENS + 1, n_ctx=LENGTH, seed=0
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    new, curve = rows(64, 1_000_000, periods), {}
    for step in range(steps):
        if step % 25 == 0:
            curve[step] = right(model, new).mean().item()
        for group in optimiser.param_groups:  # warm up, and slow down in the last third
            group["lr"] = 3e-3 * min(1, (step + 1) / 50, 3 * (steps - step) / steps)
        tokens = rows(48, step, periods)
        loss = cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    curve[steps] = right(model, new).mean().item()
    model.name = f"{layers} layer{'s' * (layers > 1)}"
    return model.eval(), curve


# %% [markdown]
# **Predict.** Does accuracy rise evenly, or with a jump? Where does one layer end: at chance (1 in 32), at 100 %, or
# between?

# %%
two, two_curve = train(layers=2)
one, one_curve = train(layers=1)
figure = curve_with_band(
    two_curve,
    list(two_curve.values()),
    name="2 layers",
    title="Accuracy where the next token can be known",
    x_title="training step",
    y_title="share right",
)
curve_with_band(one_curve, list(one_curve.values()), name="1 layer", figure=figure).show(config=FIGURE_CONFIG)

# %% [markdown]
# %% [markdown]
# Two layers stay at one in five until step 150, then go from 0.31 at step 175 to 0.91 at step 250. One layer stays at
# one in five. That is above chance, and the next cell shows how: it has no idea which token comes next, but it knows
# which tokens are about.

# %%
guess = one(new := rows(64, 1_000_000)).argmax(-1)
about = torch.stack([torch.isin(row, seen) for row, seen in zip(guess[:, -8:], new)]).float().mean().item()
print(f"one layer guesses a token that is in the row in {about:.0%} of the last 8 places")

# %% [markdown]
# ## 2. What the heads look at
#
# A *pattern* says how much each position (the *query*) looks at each earlier one (the *key*). Four summaries of it,
# each a share of attention from 0 to 1: *previous token* (how much a new token looks at the one before it), *duplicate
# token* (at earlier copies of itself), *induction* (at what followed the first copy), and *prefix matching* (at what
# followed any copy).
#
# **Predict.** Which of the four will be high in layer 0, in how many of its heads? Which in layer 1?

# %%
torch.set_grad_enabled(False)
scores = head_scores(two, vocabulary=N_TOKENS, bos=BOS, length=12)
scores.figure().show(config=FIGURE_CONFIG)
_, previous, _ = scores.top("previous_token", 1)[0]
control = head_scores(one, vocabulary=N_TOKENS, bos=BOS, length=12)
print(f"layer 0, head {previous}, previous token: {scores.estimate('previous_token', 0, previous)}")
print(f"an even look at everything would score     {scores.uniform['previous_token']:.2f}")
print(
    f"best induction score, 2 layers {scores.top('induction', 1)[0][2]:.2f}, "
    f"1 layer {control.top('induction', 1)[0][2]:.2f}, "
    f"even {scores.uniform['induction']:.2f}"
)

# %% [markdown]
# One head of layer 0 looks one back; all four of layer 1 look behind the earlier copy. No head of the one-layer control
# does much more than an even look would (0.10 against 0.07). A story suggests itself: layer 0 writes into every
# position *which token stood before it*, and layer 1 searches for the position whose note says "before me stood an A".
# So far it is only a story.
#
# ## 3. Who reads whom: composition
#
# If the story is true, what the head of layer 0 writes is read by layer 1 when it makes its **keys** (what a position
# offers to those who look for something). This is *K-composition*. It would be Q-composition if it were read for
# queries, V-composition for the values that are carried over. From the weights alone one can compute how well what one
# head writes fits what another reads.
#
# **Predict.** There are 4 x 4 pairs of heads and three kinds. Which cells will stand out?

# %%
weights = composition(two)
weights.figure().show(config=FIGURE_CONFIG)
table = weights.frame().query("kind == 'K'").groupby("writer")[["score", "baseline", "highest_random"]].mean()
print(table.round(3))

# %% [markdown]
# The head that looks one back stands out in K, at 0.46 where two random heads have 0.14. But see the other heads of
# layer 0: head 2 has 0.27, which is above the highest of 200 random pairs too. Is it part of the circuit? Weights say
# what *could* be read. What *is* used, an intervention says.
#
# Take the head of layer 0 away (put its output at its mean, so that it says nothing about this sequence), but let only
# one reader of layer 1 notice: the keys, or the queries, or the values.
#
# **Predict.** Which of the three costs accuracy? What do keys and queries together cost, as the sum of the two?

# %%
many = rows(256, 2_000_000)
typical = interp.Mean(over=rows(256, 3_000_000), per="all")


def removed(*heads: tuple[int, int]):
    """Interventions that put heads, given as (layer, head), at their mean output."""
    return [interp.Ablate(f"blocks.{layer}.attn.hook_z", head=head, baseline=typical) for layer, head in heads]


with two.edit(*removed((0, previous))):
    _, unaware = two.run_with_cache(many, "blocks.1.attn.hook_[qkv]")
through = {}
for letters in ("", "q", "k", "v", "qk", "qkv"):
    with two.edit(
        *[interp.Patch(f"blocks.1.attn.hook_{x}", unaware[f"blocks.1.attn.hook_{x}"]) for x in letters]
    ):
        through[", ".join(letters) or "nobody"] = bootstrap_mean(right(two, many))
forest(through, title=f"Layer 0, head {previous} is gone, and only these notice", x_title="accuracy").show(
    config=FIGURE_CONFIG
)

# %% [markdown]
# Keys alone: accuracy falls from 1.00 to 0.37. Queries alone, values alone: nothing. So it is K-composition. Keys and
# queries *together* end at 0.14, which is all that there is to lose: the queries matter too, but only once the keys are
# gone. One part at a time would never have shown that.
#
# ## 4. Take away: one head, and groups
#
# **Predict.** All four heads of layer 1 have the same job. What does taking one away cost? Three? And does head 2 of
# layer 0, with its high composition score, matter?


# %%
def accuracy_without(*heads: tuple[int, int]):
    with two.edit(*removed(*heads)):
        return bootstrap_mean(right(two, many))


others = [(0, head) for head in range(4) if head != previous]
taken = {
    "nothing": accuracy_without(),
    f"L0H{previous}, looks one back": accuracy_without((0, previous)),
    "L0H2, high K score": accuracy_without((0, 2)),
    "all of layer 0 but one": accuracy_without(*others),
}
taken |= {f"L1H{head} alone": accuracy_without((1, head)) for head in range(4)}
taken |= {f"{n} heads of layer 1": accuracy_without(*[(1, head) for head in range(n)]) for n in (2, 3, 4)}
forest(
    taken, title="Accuracy when heads are taken away (256 new rows, 95 % intervals)", x_title="accuracy"
).show(config=FIGURE_CONFIG)

# %% [markdown]
# In layer 0 everything rests on the one head; the other three together are worth 3 points, and head 2 alone nothing:
# its composition score was no reason to believe in it. In layer 1 any single head can go for 4 to 8 points. Three gone
# leave 0.44, four leave 0.03. A study that takes heads away one at a time would have said that layer 1 hardly matters.
#
# The circuit: layer 0, head 3 notes the previous token; layer 1 finds the note through its keys and copies what stands
# there. The patterns suggested it, the weights fitted it, the interventions show it, and one layer, which cannot do it,
# does not.
#
# ### Exercise 1: the group that hides  (difficulty 2 of 5, 8 minutes)
# Write a function that takes a model and a list of (layer, head) and returns how much *more* accuracy is lost when they
# are taken away together (set to zero) than is lost one by one, added up. `score(model)` gives the accuracy.


# %% tags=["exercise"]
def together_minus_alone(model, heads: list[tuple[int, int]], score) -> float:
    raise NotImplementedError


# %% tags=["solution"]
def together_minus_alone(model, heads: list[tuple[int, int]], score) -> float:
    def lost(some):
        with model.edit(*[interp.Ablate(f"blocks.{layer}.attn.hook_z", head=head) for layer, head in some]):
            return whole - score(model)

    whole = score(model)
    return lost(heads) - sum(lost([head]) for head in heads)


# %%
checks.together_minus_alone(together_minus_alone)

# %% [markdown]
# ## 5. The pitfall: a fixed period
#
# Now the same training with one change that looks harmless: every block has 8 tokens. And only *one layer*, which
# cannot do induction.
#
# **Predict.** What accuracy does one layer reach now? Suppose you look at its heads on such rows and compute the share
# of attention on what followed an earlier copy, the mark of an induction head. What do you find?

# %%
torch.set_grad_enabled(True)
fixed, fixed_curve = train(layers=1, periods=(8, 8), steps=200)
torch.set_grad_enabled(False)
eights = rows(128, 5_000_000, periods=(8, 8))
_, cache = fixed.run_with_cache(eights, "blocks.0.attn.hook_pattern")
pattern = cache["pattern", 0][:, :, -12:]  # the last 12 queries of every row, all of them in a repeated block
induction = (
    (pattern * repeats.matches(eights)[:, None, -12:]).sum(-1).mean((0, 2))
)  # on what followed an earlier copy
offset = cache["pattern", 0].diagonal(-7, 2, 3)[..., -12:].mean((0, 2))  # exactly 7 back, whatever stands there
for head in range(4):
    print(f"head {head}: induction {induction[head]:.3f}, seven back {offset[head]:.3f}")

# %%
periods = range(4, 15)
tests = {p: rows(128, 4_000_000 + p, periods=(p, p)) for p in periods}
lines = {
    name: [right(model, tests[p]).mean().item() for p in periods]
    for name, model in (("2 layers, periods 4 to 14", two), ("1 layer, period 8 only", fixed))
}
figure = None
for name, line in lines.items():
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
# One layer is perfect on its own kind of data, after 200 steps, and its heads have induction scores of up to 0.94. Each
# of these scores is, to the digit, the share that goes exactly seven back. With a fixed period "what followed the last
# A" and "seven back" are the same place, so no measurement on such rows can tell a head that looks something up from
# one that counts. On other periods the model is worth nothing, except on 4, where seven back is right by accident (it
# is two blocks back).
#
# Nothing about the analysis was wrong. The data allowed two stories, and only other data can decide.
#
# ### Exercise 2: seven back  (difficulty 2 of 5, 6 minutes)
# Given a pattern [row, head, query, key] and a period, return for every head the share that goes exactly to the place
# an offset head would use, averaged over rows and over all queries that have such a key.


# %% tags=["exercise"]
def offset_score(pattern: torch.Tensor, period: int) -> torch.Tensor:
    raise NotImplementedError


# %% tags=["solution"]
def offset_score(pattern: torch.Tensor, period: int) -> torch.Tensor:
    return pattern.diagonal(1 - period, 2, 3).mean((0, 2))


# %%
checks.offset_score(offset_score)

# %% [markdown]
# ### Exercise 3: does it look things up?  (difficulty 3 of 5, 10 minutes)
# Write a test that no counting model passes: return True if the model's accuracy is at least 0.9 on *each* of several
# periods. `make(period)` gives rows of one period, `score(model, rows)` the accuracy.


# %% tags=["exercise"]
def looks_things_up(model, make, score) -> bool:
    raise NotImplementedError


# %% tags=["solution"]
def looks_things_up(model, make, score) -> bool:
    return all(score(model, make(period)) >= 0.9 for period in (5, 8, 11, 14))


# %%
checks.looks_things_up(looks_things_up)

# %% [markdown]
# ## What could fool you
# - **Data with two solutions.** A fixed period, but also a fixed place of the answer, or one length for all prompts: if
#   two algorithms agree on every row, a score on those rows is evidence for both.
# - **A score above chance.** Fourteen of the sixteen K-composition scores are above every random pair; one row of four
#   matters. A large score is a reason to intervene, not a finding.
# - **One removal at a time.** It hides four heads that stand in for each other, and the queries behind the keys.
# - **One training run.** This is one seed. Which head looks one back is an accident of it; that one is needed is not,
#   but only more seeds can say so.

# %%
dashboard("circuit", m="garden/induction-2l", t="induction", h="L0H2")

# %% [markdown]
# ## Take away
# 1. Training has a jump: within some 75 steps the model goes from guessing to looking things up, and one layer never
#    does.
# 2. A circuit is proved by taking away: the right reader (keys), groups as well as single heads, and a control that
#    lacks the part.
# 3. Draw the data so that a false mechanism fails on it: here, a new period for every row.

# %%
# The story, asserted: this cell fails if something above is no longer true.
one_at_a_time = [taken[f"L1H{head} alone"].value for head in range(4)]
assert two_curve[150] < 0.35 and two_curve[300] > 0.9 and two_curve[400] > 0.98  # the jump
assert max(one_curve.values()) < 0.3 and about > 0.95  # the control
assert scores.means("previous_token", 0)[previous] > 0.7 and scores.means("induction", 1).min() > 0.5
assert control.top("induction", 1)[0][2] < 0.2
assert (
    table["score"].idxmax() == f"L0H{previous}"
    and table["score"].max() > 0.4 > 0.2 > table["highest_random"].max()
)
assert weights.frame().query("kind == 'K'")["above_all_random"].sum() >= 12
assert (
    table.loc["L0H2", "score"] > table.loc["L0H2", "highest_random"]
    and taken["L0H2, high K score"].value > 0.97
)
assert (
    through["k"].high < 0.5 < 0.97 < through["q"].low
    and through["v"].low > 0.97
    and through["q, k"].high < 0.25
)
assert taken[f"L0H{previous}, looks one back"].high < 0.25 and min(one_at_a_time) > 0.85
assert taken["3 heads of layer 1"].high < 0.6 and taken["4 heads of layer 1"].high < 0.1
assert fixed_curve[200] > 0.99 and (induction - offset).abs().max() < 0.01 and induction.max() > 0.85
counts = lines["1 layer, period 8 only"]
assert (
    counts[periods.index(8)] > 0.99 and max(value for p, value in zip(periods, counts) if p not in (4, 8)) < 0.1
)
assert min(lines["2 layers, periods 4 to 14"]) > 0.95
