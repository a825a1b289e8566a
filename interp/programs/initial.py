"""How a Transformer Program starts: as torch does, with choices of unit variance, or with the published scales."""

import torch
from torch import nn

from interp.programs.gates import Gates
from interp.programs.heads import Predicates
from interp.programs.mlps import Mlps
from interp.programs.model import TransformerProgramModel


@torch.no_grad()
def published(model: TransformerProgramModel, seed: int) -> TransformerProgramModel:
    """The same model with initial weights scaled as in the code of Friedman, Wettig & Chen 2023 (arXiv 2306.01128).

    Deviations: gates 1 / sqrt(variables), predicates 1 / sqrt(cardinality), MLPs 1 / sqrt(d_mlp) and 1 / sqrt(values)
    without biases, readout 1 / sqrt(labels). Choices start nearly open, so that early noise decides less. Weights
    depend on `seed` alone.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(weight: nn.Parameter, deviation: float) -> None:
        weight.normal_(0.0, deviation, generator=generator)

    for module in model.modules():
        if isinstance(module, Gates) and module.logits is not None:
            draw(module.logits, module.variables**-0.5)
        elif isinstance(module, Predicates):
            draw(module.logits, module.logits.shape[-1] ** -0.5)
        elif isinstance(module, Mlps):
            draw(module.w_in, module.w_in.shape[1] ** -0.5)
            draw(module.w_out, module.cardinality**-0.5)
            module.b_in.zero_(), module.b_out.zero_()
    draw(model.unembed.weight, model.sizes.d_vocab_out**-0.5)
    return model
