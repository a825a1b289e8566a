"""induction-2l: two attention-only layers on repeated random sequences, the smallest model with induction heads
(Elhage et al. 2021, A mathematical framework for transformer circuits; Olsson et al. 2022, arXiv 2209.11895).

A row is BOS, a lead of random length, and a block of different tokens repeated to the end, its length drawn for every
row: no head can solve it by looking a fixed number of tokens back. Without the lead, only the first tokens of a row are
ever looked up, and no head needs to know what came before the others.
"""

from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

from interp.garden.recipe import IGNORE, Batch, Recipe
from interp.hooks import Ablate, HookedModel, Mean
from interp.tasks import repeats

N_TOKENS, BOS, N_CTX = 64, 64, 64
PERIODS, LEAD = (5, 24), 32
HELD_OUT = (256, 20_000)  # rows, seed


def sequences(rows: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids [rows, 64], the period of every row and where its first block begins [rows].

    Tokens are 0 to 63, BOS is 64; lead and block have no token in common.
    """
    return repeats.sequences(rows, generator, n_tokens=N_TOKENS, n_ctx=N_CTX, periods=PERIODS, longest_lead=LEAD)


def data(rows: int, generator: Generator) -> Batch:
    """Every next token is predicted, the unpredictable first block too, as in a language model."""
    tokens, _, _ = sequences(rows, generator)
    targets = torch.full_like(tokens, IGNORE)
    targets[:, :-1] = tokens[:, 1:]
    return Batch(tokens, targets)


@cache
def held_out() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, True [rows, pos] where the next token has been seen behind the same token before, and
    True [rows, query, key] where the key is such an earlier next token of the query."""
    rows, seed = HELD_OUT
    tokens, _, _ = sequences(rows, torch.Generator().manual_seed(seed))
    return tokens, repeats.predictable(tokens), repeats.matches(tokens)


def metrics(model: HookedModel) -> dict[str, Any]:
    """Accuracy and loss (nats) on repeats, loss on first blocks, and what every head does (see `heads`)."""
    tokens, repeat, _ = held_out()
    first = ~repeat & (torch.arange(N_CTX) < N_CTX - 1)
    with torch.no_grad():
        logits = model(tokens)
    loss = _losses(logits, tokens)
    return {
        "repeat_accuracy": accuracy(logits, tokens, repeat),
        "repeat_loss": loss[repeat].mean().item(),
        "first_loss": loss[first].mean().item(),
        **heads(model),
        **removals(model),
    }


def accuracy(logits: Tensor, tokens: Tensor, where: Tensor) -> float:
    """Share of positions in `where` whose most likely next token is the true one."""
    right = logits[:, :-1].argmax(-1) == tokens[:, 1:]
    return right[where[:, :-1]].float().mean().item()


def _losses(logits: Tensor, tokens: Tensor) -> Tensor:
    target = tokens.roll(-1, 1)[..., None]  # the last column is never read
    return -logits.log_softmax(-1).gather(-1, target)[..., 0]


def heads(model: HookedModel) -> dict[str, list[list[float]]]:
    """[layer][head]: mean attention from new tokens to the token before (`previous_token`), and from a repeated
    token to those behind its earlier occurrences, added up (`prefix_matching`)."""
    tokens, repeat, match = held_out()
    _, cache = model.run_with_cache(tokens, "blocks.*.attn.hook_pattern")
    first = ~match.any(-1)  # once tokens repeat, nobody looks up what stands before them
    found: dict[str, list[list[float]]] = {"previous_token": [], "prefix_matching": []}
    for depth in range(model.n_layers):
        pattern = cache["pattern", depth]
        previous = pattern[:, :, 2:].diagonal(1, -2, -1).transpose(1, 2)  # [batch, pos, head]: query q looks at q - 1
        found["previous_token"].append(previous[first[:, 2:]].mean(0).tolist())
        found["prefix_matching"].append((pattern * match[:, None]).sum(-1).transpose(1, 2)[repeat].mean(0).tolist())
    return found


def removals(model: HookedModel) -> dict[str, Any]:
    """Accuracy on repeats without one head (`without_head` [layer][head]), and without all heads of a layer but one
    or all of them (`without_layer`): single removals hide heads that stand in for each other.

    Removed heads write their mean over the held-out rows at each position.
    """
    tokens, repeat, _ = held_out()

    def score(*removed: tuple[int, int]) -> float:
        names = [Ablate(f"blocks.{depth}.attn.hook_z", head=head, baseline=Mean(over=tokens))
                 for depth, head in removed]
        with model.edit(*names), torch.no_grad():
            return accuracy(model(tokens), tokens, repeat)

    n_heads = model.site("blocks.0.attn.hook_z").heads
    every = [[(depth, head) for head in range(n_heads)] for depth in range(model.n_layers)]
    return {
        "without_head": [[score(at) for at in layer] for layer in every],
        "only_head_of_its_layer": [[score(*(o for o in layer if o != at)) for at in layer] for layer in every],
        "without_layer": [score(*layer) for layer in every],
    }


RECIPE = Recipe(
    name="induction-2l",
    about="Predicts the next token of a repeated random block: tokens 0 to 63, and 64 for BOS in front.",
    architecture="attn-only-rotary",
    sizes={"d_model": 64, "n_layers": 2, "n_heads": 4, "d_vocab": N_TOKENS + 1, "n_ctx": N_CTX},
    steps=2000,
    batch=64,
    rate=2e-3,
    data=data,
    metrics=metrics,
)
