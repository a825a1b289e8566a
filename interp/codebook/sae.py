"""A small top-k sparse autoencoder, to compare codebooks with: n latents, k of them active, trained on vectors.

Gao et al. 2024, "Scaling and evaluating sparse autoencoders", arXiv 2406.04093: x -> relu(top-k(W (x - b))) -> V z + b.
"""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from interp.codebook.book import EMPTY
from interp.codebook.nearest import largest
from interp.results.errors import BadInput


class TopKAutoencoder(nn.Module):
    """One autoencoder per group: `encoder` and `decoder` [group, n, d], `centre` [group, 1, d].

    Raises BadInput for k outside 1 to n.
    """

    def __init__(self, n: int, d: int, k: int, groups: int = 1, seed: int = 0):
        super().__init__()
        if not 1 <= k <= n:
            raise BadInput(f"k={k} latents of {n} were asked for: give k from 1 to {n}")
        start = F.normalize(torch.randn(groups, n, d, generator=Generator().manual_seed(seed)), dim=-1)
        self.encoder, self.decoder = nn.Parameter(start.clone()), nn.Parameter(start.clone())
        self.centre = nn.Parameter(torch.zeros(groups, 1, d))
        self.k = k

    def active(self, x: Float[Tensor, "token group d"]) -> tuple[Tensor, Int[Tensor, "group token k"]]:
        """(activations, latents) of the k largest, [group, token, k]; an activation of 0 is one that is off."""
        scores = (x.transpose(0, 1) - self.centre) @ self.encoder.mT
        ids = largest(scores.detach(), self.k)[1]
        return scores.gather(-1, ids).relu(), ids

    def encode(self, x: Float[Tensor, "token group d"]) -> Int[Tensor, "token group k"]:
        """Numbers of the active latents, -1 where fewer than k are on."""
        values, ids = self.active(x)
        return ids.masked_fill(values <= 0, EMPTY).transpose(0, 1)

    def forward(self, x: Float[Tensor, "token group d"]) -> Float[Tensor, "token group d"]:
        values, ids = self.active(x)
        rows = torch.stack([F.embedding_bag(i, d, mode="sum", per_sample_weights=v)
                            for i, v, d in zip(ids, values, self.decoder)])
        return (rows + self.centre).transpose(0, 1)

    def fit(self, x: Float[Tensor, "token group d"], *, steps: int = 600, batch: int = 1024, rate: float = 2e-3,
            seed: int = 0) -> "TopKAutoencoder":
        """Train on vectors with Adam. Decoder rows keep length 1; every 100 steps, latents that were not used since are
        put at the vectors that are represented worst."""
        generator = Generator().manual_seed(seed)
        with torch.no_grad():
            self.centre.copy_(x.mean(0)[:, None])
        optimiser = torch.optim.Adam(self.parameters(), lr=rate)
        used = torch.zeros(self.encoder.shape[:2], dtype=torch.bool)
        for step in range(steps):
            part = x[torch.randint(len(x), (batch,), generator=generator)]
            error = (self(part) - part).square().sum(-1)
            optimiser.zero_grad(set_to_none=True)
            error.mean().backward()
            optimiser.step()
            with torch.no_grad():
                self.decoder.copy_(F.normalize(self.decoder, dim=-1))
                values, ids = self.active(part)
                for group, (v, i) in enumerate(zip(values, ids)):
                    used[group, i[v > 0]] = True
                if (step + 1) % 100 == 0 and step + 1 < steps:
                    self._revive(part, error, used)
                    used.zero_()
        return self

    def _revive(self, x: Tensor, error: Tensor, used: Tensor) -> None:
        for group in range(len(used)):
            dead = (~used[group]).nonzero()[:, 0]
            worst = error[:, group].argsort(descending=True)[torch.arange(len(dead)) % len(x)]
            new = F.normalize(x[worst, group] - self.centre[group], dim=-1)
            self.encoder[group, dead] = new
            self.decoder[group, dead] = new
