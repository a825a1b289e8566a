"""Text generated under interventions, and how likely the clean model finds it."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from interp.hooks import HookedModel
from interp.hooks.interventions import Intervention
from interp.results.errors import BadInput
from interp.results.progress import progress

_ROWS = 8  # texts whose logits are held at once


@torch.no_grad()
def generate(
    model: HookedModel, ids: Int[Tensor, "batch pos"], n_new: int, *interventions: Intervention,
    temperature: float = 1.0, seed: int = 0, past: bool = False,
) -> Int[Tensor, "batch longer"]:
    """Prompts with `n_new` tokens drawn after them; the interventions hold at every step, on the whole of the text.

    Temperature 0 takes the likeliest token. The same seed draws with the same random numbers, steered or not. Text
    longer than the context loses its beginning, for the model only. With `past`, keys and values of the text so far are
    kept and only new tokens are run, which is the same for interventions that do at a token what they do at any other.
    Raises BadInput for a model that is not causal, fewer than one token, a temperature below 0; with `past`, for a
    model that keeps none, for interventions that name positions, and for text that does not fit the context.
    """
    if not model.map.causal or model.map.d_vocab is None:
        raise BadInput(f"{model.name} does not predict the next token, so it cannot continue a text")
    if n_new < 1 or temperature < 0:
        raise BadInput(f"{n_new} tokens at temperature {temperature} were asked for: give 1 or more, and 0 or more")
    if past:
        _check_past(model, ids.shape[1] + n_new, interventions)
    generator, kept = Generator().manual_seed(seed), None
    with model.edit(*interventions):
        for step in progress(range(n_new), "generating"):
            if past:
                output, kept = model.step(ids if step == 0 else ids[:, -1:], kept)
            else:
                output = model(ids[:, -model.map.n_ctx :] if model.map.n_ctx else ids)
            logits = output[:, -1].float().cpu()
            if temperature == 0:
                new = logits.argmax(-1, keepdim=True)
            else:
                # the inverse of the distribution function, so that one number decides one token
                drawn = torch.rand(len(ids), 1, generator=generator)
                new = torch.searchsorted((logits / temperature).softmax(-1).cumsum(-1), drawn)
            ids = torch.cat([ids, new.clamp(max=logits.shape[-1] - 1).to(ids)], 1)
    return ids


def fits(model: HookedModel, length: int) -> bool:
    """Whether a text of so many tokens is within the context of the model."""
    return model.map.n_ctx is None or length <= model.map.n_ctx


def _check_past(model: HookedModel, length: int, interventions: tuple[Intervention, ...]) -> None:
    parts = [part for one in interventions for part in getattr(one, "changes", [one])]
    if any(getattr(part, "pos", None) is not None for part in parts):
        raise BadInput("an intervention names positions, which a run of the newest token alone does not have: leave "
                       "past out")
    if not fits(model, length):
        raise BadInput(f"texts of {length} tokens do not fit the context of {model.name}, {model.map.n_ctx}: leave "
                       "past out, and their beginnings are dropped")


@torch.no_grad()
def perplexity(model: HookedModel, ids: Int[Tensor, "batch pos"], start: int) -> Float[Tensor, " batch"]:
    """Perplexity of each row's tokens from position `start` on, given those before: how fluent they are.

    Raises BadInput where there is no token before or after `start`, or the text does not fit the context.
    """
    if not 1 <= start < ids.shape[1]:
        raise BadInput(f"texts of {ids.shape[1]} tokens have no continuation from token {start}")
    losses = []
    for part in ids.split(_ROWS):
        logits = model(part)[:, start - 1 : -1].movedim(-1, 1).float()
        losses.append(cross_entropy(logits, part[:, start:].to(logits.device), reduction="none").mean(1).cpu())
    return torch.cat(losses).exp()
