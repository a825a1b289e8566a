"""Text generated under interventions, and how likely the clean model finds it."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from interp.hooks import HookedModel
from interp.hooks.interventions import Intervention
from interp.results.errors import BadInput
from interp.results.progress import progress


@torch.no_grad()
def generate(
    model: HookedModel, ids: Int[Tensor, "batch pos"], n_new: int, *interventions: Intervention,
    temperature: float = 1.0, seed: int = 0,
) -> Int[Tensor, "batch longer"]:
    """Prompts with `n_new` tokens drawn after them; the interventions hold at every step, on the whole of the text.

    Temperature 0 takes the likeliest token. The same seed draws with the same random numbers, steered or not. Text
    longer than the context loses its beginning, for the model only.
    Raises BadInput for a model that is not causal.
    """
    if not model.map.causal or model.map.d_vocab is None:
        raise BadInput(f"{model.name} does not predict the next token, so it cannot continue a text")
    generator = Generator().manual_seed(seed)
    with model.edit(*interventions):
        for _ in progress(range(n_new), "generating"):
            logits = model(ids[:, -model.map.n_ctx :] if model.map.n_ctx else ids)[:, -1].float().cpu()
            if temperature == 0:
                new = logits.argmax(-1, keepdim=True)
            else:
                # the inverse of the distribution function, so that one number decides one token
                drawn = torch.rand(len(ids), 1, generator=generator)
                new = torch.searchsorted((logits / temperature).softmax(-1).cumsum(-1), drawn)
            ids = torch.cat([ids, new.clamp(max=logits.shape[-1] - 1).to(ids)], 1)
    return ids


@torch.no_grad()
def perplexity(model: HookedModel, ids: Int[Tensor, "batch pos"], start: int) -> Float[Tensor, " batch"]:
    """Perplexity of each row's tokens from position `start` on, given those before: how fluent they are.

    Raises BadInput where there is no token before or after `start`, or the text does not fit the context.
    """
    if not 1 <= start < ids.shape[1]:
        raise BadInput(f"texts of {ids.shape[1]} tokens have no continuation from token {start}")
    logits = model(ids)[:, start - 1 : -1]
    loss = cross_entropy(logits.movedim(-1, 1).float(), ids[:, start:], reduction="none")
    return loss.mean(1).exp()
