# %% [markdown]
# # 01 · Look inside
#
# **Goal.** *"I can run a model, name everything that happens in it, read any of it, and replace any of it."*
#
# You need Python and some PyTorch. The model is small and ships with `interp`, so everything here takes seconds.
# Terms in *italics* are explained where they first appear.
#
# Before every result there is a line that starts with **Predict**. Answer it for yourself, in a word or a number,
# before you run the cell: what surprises you is what you learn.

# %%
import plotly.graph_objects as go
import torch
from checks import look_inside as checks
from lesson import dashboard

import interp
from interp.garden.recipes.induction_2l import accuracy, held_out
from interp.results.plots import FIGURE_CONFIG, curve_with_band, heatmap, styled

torch.set_grad_enabled(False)

# %% [markdown]
# ## 1. Run
#
# `garden/induction-2l` is a transformer of two layers of attention and nothing else, trained on random tokens in which a
# block repeats: `... 2 32 58 7 ... 2 32 58 7 ...`. A *token* is a number from 0 to 63 here; 64 stands in front of every
# sequence. At each position the model gives a *logit* for every possible next token: a score, larger meaning likelier.
#
# **Predict.** A block of 9 different random tokens is shown three times. How often is the model's first guess for the next
# token right during the first showing? During the second?

# %%
model = interp.load("garden/induction-2l")
block = torch.tensor([5, 40, 17, 60, 2, 33, 21, 9, 50])
tokens = torch.cat([torch.tensor([64]), block.repeat(3)])[None]  # [batch, pos]
logits = model(tokens)  # [batch, pos, token]
logits.shape

# %%
chance = logits.softmax(-1)[0, :-1].gather(-1, tokens[0, 1:, None])[:, 0]  # of the token that really comes next
figure = curve_with_band(range(1, tokens.shape[1]), chance, title="Probability given to the token that comes next",
                         x_title="position of that token", y_title="probability")
figure.add_vline(x=9.5, line_dash="dot").add_vline(x=18.5, line_dash="dot")
figure.show(config=FIGURE_CONFIG)

# %% [markdown]
# Nobody can guess a random token, and the model does not: almost nothing until position 10, where the block starts again (that it
# does so cannot be known either). From then on it knows: it *learned in context*, from the sequence in front of it, with
# its weights as they were. The rest of this notebook looks at how that shows
# inside; notebook 03 proves how it works.

# %% [markdown]
# ## 2. Name
#
# A *site* is a named activation. Names are those of TransformerLens where it has one, and the same for every
# architecture: `blocks.1.attn.hook_pattern` is what the heads of the second layer look at, in a GPT and in a ViT.
#
# **Predict.** The model has two layers of attention and no MLP. What has to be computed in each of them? Think of five
# things, then look.

# %%
for site in model.sites("blocks.0.*"):
    print(f"{site.name:36} {list(site.axes)}")

# %%
_, everything = model.run_with_cache(tokens, "blocks.0.*")
names = [site.name for site in model.sites("blocks.0.*")]
bars = go.Figure(go.Bar(y=names, x=[everything[name].numel() for name in names], orientation="h"))
styled(bars, title="Numbers behind each name, for these 28 tokens", x_title="numbers")
bars.update_yaxes(autorange="reversed")
bars.show(config=FIGURE_CONFIG)

# %% [markdown]
# Two of these matter most. The *residual stream* (`hook_resid_pre` before a block, `hook_resid_post` behind it) is the vector
# of numbers that stands at every position and that every part of the model reads from and adds to. The *pattern*
# (`attn.hook_pattern`) says, for every *head* and every position (the query), how much it looks at each earlier position (the key);
# its rows sum to 1.
#
# ### Exercise 1: count the heads  (difficulty 1 of 5, 3 minutes)
# Return how many heads the whole model has, from its sites alone, without running it. A site knows its `.heads`.

# %% tags=["exercise"]
def count_heads(model) -> int:
    raise NotImplementedError

# %% tags=["solution"]
def count_heads(model) -> int:
    return sum(site.heads for site in model.sites("blocks.*.attn.hook_z"))

# %%
checks.count_heads(count_heads)

# %% [markdown]
# A name that does not exist is an error that says what is near, never an empty result. This is worth more than it looks:
# a hook on a name with a typo that silently does nothing is how wrong results are made.

# %%
try:
    model.run_with_cache(tokens, "blocks.0.attn.hook_patern")
except interp.InterpError as error:
    print(error)

# %% [markdown]
# ## 3. Read
#
# `run_with_cache` runs the model and keeps the sites you name (`*` for any), and nothing else.
#
# **Predict.** A head in layer 0 will turn out to look *one position back*. As a picture with queries down and keys across,
# what does that look like? And a head that looks at what followed the last showing of the current token, 8 positions back
# for a block of 9?

# %%
output, cache = model.run_with_cache(tokens, "blocks.*.attn.hook_pattern")
assert torch.equal(output, logits)  # reading changes nothing
pattern = cache["blocks.0.attn.hook_pattern"][0, 2]  # layer 0, head 2: [query, key]
heatmap(pattern, diverging=False, title="Layer 0, head 2", x_title="key: looked at", y_title="query: looks",
        unit="share").show(config=FIGURE_CONFIG)

# %%
heatmap(cache["blocks.1.attn.hook_pattern"][0, 3], diverging=False, title="Layer 1, head 3",
        x_title="key: looked at", y_title="query: looks", unit="share").show(config=FIGURE_CONFIG)

# %% [markdown]
# ### Exercise 2: how far back does a head look?  (difficulty 2 of 5, 8 minutes)
# Given a pattern `[query, key]`, return the mean share of attention that goes exactly `back` positions back, over all
# queries that have such a key.

# %% tags=["exercise"]
def share_back(pattern: torch.Tensor, back: int) -> float:
    raise NotImplementedError

# %% tags=["solution"]
def share_back(pattern: torch.Tensor, back: int) -> float:
    return pattern.diagonal(-back).mean().item()

# %%
checks.share_back(share_back)

# %% [markdown]
# ## 4. Replace
#
# Reading tells what is there, not what it is for. An *intervention* replaces an activation and lets the rest of the model run
# on. `Ablate` sets a head's output to zero (or to its mean, or to what it is on another input), `Patch` to a value of yours.
#
# One block of nine tokens is an anecdote, so this is measured on 256 other sequences with blocks of 5 to 24 tokens, as
# *accuracy*: how often the model's first guess is right where the token has been seen before.
#
# **Predict.** Which hurts more: taking away layer 0, head 2, the one that looks one back, or layer 1, head 3, one of those
# that look behind the earlier showing? Put a number to each.

# %%
many, repeat, _ = held_out()  # tokens [256, 64], and True [256, 64] where the next token can be known


def accuracy_without(*heads: tuple[int, int]) -> float:
    """Accuracy on repeats with the outputs of some heads, given as (layer, head), set to zero."""
    with model.edit(*[interp.Ablate(f"blocks.{depth}.attn.hook_z", head=head) for depth, head in heads]):
        return accuracy(model(many), many, repeat)


heads = [(depth, head) for depth in range(2) for head in range(4)]
without = {f"L{depth}H{head}": accuracy_without((depth, head)) for depth, head in heads}
bars = go.Figure(go.Bar(x=["nothing", *without], y=[accuracy_without(), *without.values()]))
styled(bars, title="Accuracy on repeats", x_title="head taken away", y_title="share right").show(config=FIGURE_CONFIG)

# %% [markdown]
# Layer 0 has one head that everything rests on and three that can go. In layer 1 the work is shared: each of four heads is
# worth a third of the accuracy, and none of them is indispensable. The patterns alone would not have told you: the two you
# saw above look equally clean.
#
# ### Exercise 3: take away several heads at once  (difficulty 3 of 5, 10 minutes)
# If each head of layer 1 costs a third alone, what do two cost together? `model.edit` takes any number of interventions.
# Return the accuracy (use `accuracy(model(many), many, repeat)`) with the given heads of layer 1 set to zero.

# %% tags=["exercise"]
def without_heads(model, heads: list[int]) -> float:
    raise NotImplementedError

# %% tags=["solution"]
def without_heads(model, heads: list[int]) -> float:
    with model.edit(*[interp.Ablate("blocks.1.attn.hook_z", head=head) for head in heads]):
        return accuracy(model(many), many, repeat)

# %%
checks.without_heads(without_heads, model)

# %% [markdown]
# An edit ends with its `with` block: the model is as it was. A hook is another way to write the same, in the words
# of TransformerLens: a function from the value to a new value.

# %%
def swap_halves(value: torch.Tensor, hook) -> torch.Tensor:
    return value.flip(1)  # the heads see the sequence backwards


strange = model.run_with_hooks(tokens, hooks=[("blocks.0.attn.hook_v", swap_halves)])
assert torch.equal(model(tokens), logits)  # nothing is left behind
heatmap((strange - logits)[0, :, :12], title="Change of the logits of tokens 0 to 11", x_title="token",
        y_title="position", unit="logits").show(config=FIGURE_CONFIG)

# %% [markdown]
# ## What could fool you
# - **A hook that never fired.** With a fused attention kernel there is no pattern to read. `interp` switches the kernel off while a
#   site inside it is wanted, and raises if a site that was asked for did not fire.
# - **Zero is not nothing.** A head's output of zero is something the model never saw; part of an effect can be the shock.
#   Means or values from another input are gentler (notebook 05).
# - **One sequence.** On the single sequence of section 1, taking away three heads of layer 1 leaves *more* probability than taking
#   away head 3 alone. A demonstration on one input can say anything; evidence takes many, and an interval (notebook 03).
# - **One head at a time.** Heads that stand in for each other look unimportant alone (exercise 3).

# %%
dashboard("explore", m="garden/induction-2l", t="induction", h="L0H2")

# %% [markdown]
# ## Take away
# 1. A site is a name for an activation; `model.sites()` lists them, `run_with_cache` reads them, `edit` replaces them.
# 2. Reading changes nothing; replacing is undone when the block ends; a name that does not exist is an error.
# 3. What a head looks at and what a head is needed for are two questions, and only an intervention answers the second.

# %%
# The story, asserted: this cell fails if something above is no longer true.
assert chance[:10].max() < 0.2 and chance[10:].min() > 0.9
assert accuracy_without() > 0.99 and without["L0H2"] < 0.05
assert all(0.5 < without[f"L1H{head}"] < 0.75 for head in range(4))
assert all(without[f"L0H{head}"] > 0.95 for head in (0, 1, 3))
assert cache["blocks.0.attn.hook_pattern"][0, 2].diagonal(-1).mean() > 0.8
