"""Small Transformer Program models of every kind, random from a seed, and inputs for them."""

import numpy as np
import torch

from interp.programs.hooked import build_program_model
from interp.programs.model import TransformerProgramModel
from interp.programs.sizes import ProgramSizes


def random_sizes(seed: int) -> ProgramSizes:
    """1 to 3 layers, with or without heads and MLPs of each kind, factors, causality, pooling."""
    random = np.random.default_rng(seed)

    def one(low: int, high: int) -> int:
        return int(random.integers(low, high + 1))

    cardinality, factors, cat_heads = one(4, 9), one(0, 2), one(0, 3)
    return ProgramSizes(
        d_vocab=20 if factors else one(3, cardinality), n_ctx=one(2, cardinality), d_vocab_out=4,
        cardinality=cardinality, n_layers=one(1, 3), cat_heads=cat_heads, num_heads=one(int(not cat_heads), 2),
        cat_mlps=one(0, 2), num_mlps=one(0, 2), d_mlp=16, factors=factors, causal=bool(one(0, 1)),
        pooled=bool(one(0, 1)),
    )


def random_model(seed: int, sizes: ProgramSizes | None = None) -> TransformerProgramModel:
    """A model in eval mode."""
    return build_program_model(sizes or random_sizes(seed), seed).eval()


def random_ids(sizes: ProgramSizes, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids with padding behind, and the mask of real ones."""
    random = np.random.default_rng([seed, 7])
    mask = np.arange(sizes.n_ctx) < random.integers(1, sizes.n_ctx + 1, size=(rows, 1))
    ids = np.where(mask, random.integers(0, sizes.pad, size=mask.shape), sizes.pad)
    return torch.from_numpy(ids), torch.from_numpy(mask)
