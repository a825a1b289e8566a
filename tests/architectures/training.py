"""Short real trainings for statements about trained models: repeated random text, cross-entropy, Adam, one seed."""

import torch
from torch.nn.functional import cross_entropy

from interp.hooks import HookedModel


def repeated(n: int, generator: torch.Generator, half: int = 12, d_vocab: int = 32) -> torch.Tensor:
    """[n, 2 * half]: random tokens, then the same again; the second half can be predicted."""
    first = torch.randint(0, d_vocab, (n, half), generator=generator)
    return torch.cat([first, first], 1)


def next_token_loss(model: HookedModel, tokens: torch.Tensor, start: int = 0) -> torch.Tensor:
    """Mean cross-entropy in nats of the tokens behind position `start`."""
    logits = model(tokens)[:, start:-1]
    return cross_entropy(logits.flatten(0, 1), tokens[:, start + 1:].flatten())


def train(model: HookedModel, loss, steps: int, lr: float = 3e-3) -> HookedModel:
    """The model after `steps` of Adam on `loss(model, generator)`; left in eval mode. Single-threaded, seeded."""
    generator = torch.Generator().manual_seed(0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=lr)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss(model, generator).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    return model.eval()
