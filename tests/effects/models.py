"""The tiny model of every adapter family, with weights large enough that nothing about it is nearly linear."""

from functools import cache

import torch

from interp.adapters import hook
from interp.hooks import HookedModel
from tests.adapters.tiny import _DECODER, _MAMBA, _MAMBA2, CASES, REFUSED, of

V = 50  # vocabulary

# The library rounds the logits of Mamba to float32, so in float64 its base models are tested.
FAMILIES = CASES | {
    "mamba": of("MambaModel", "MambaConfig", **_MAMBA),
    "mamba2": of("Mamba2Model", "Mamba2Config", **_MAMBA2),
}
NAMES = list(FAMILIES)
# The same with outputs that are linear in the final stream: `direct` stops there.
LINEAR_HEADS = {
    "gemma2": of("Gemma2ForCausalLM", "Gemma2Config", head_dim=8, sliding_window=4, final_logit_softcapping=None,
                 **_DECODER),
    "bert": REFUSED["BertModel"],
    "albert": REFUSED["AlbertModel"],
}
# CaiT's class token starts from a parameter, in a stream of its own that reads the patches.
CLASS_STREAM = {"timm_cait": "blocks.2.hook_resid_pre"}
IMAGES = {name: case.takes for name, case in FAMILIES.items() if isinstance(case.takes, int)}
PAIRS = {name for name, case in FAMILIES.items() if case.takes == "pair"}


@cache
def tiny(name: str, dtype: torch.dtype = torch.float64, linear_head: bool = False) -> HookedModel:
    """The tiny model of a family; the same object each time, so tests leave it as it was."""
    case = (LINEAR_HEADS if linear_head else FAMILIES).get(name, FAMILIES[name])
    return hook(randomise(case.module(dtype)), name=name)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights of unit gain, gains near 1, biases near 0: drawn in float64, so that all dtypes share a model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, p in module.named_parameters():
            drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            if p.dim() >= 2 and not path.endswith("A_log"):
                embeds = "embed" in path or "wte" in path or "wpe" in path
                fan_in = 1.0 if embeds else p[0].numel()
                p.copy_((0.7 if embeds else 1.0) * drawn / fan_in**0.5)
            elif p.dim() == 1:
                mean = 1.0 if path.endswith("weight") or "scale" in path or "lambda" in path or "gamma" in path else 0.0
                p.copy_(mean + 0.2 * drawn)
    return module


def inputs(name: str, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64, n_pos: int = 6):
    """Ids, pixels, or for T5 a mapping of both streams."""
    generator = torch.Generator().manual_seed(seed)
    if name in IMAGES:
        return torch.randn(batch, 3, IMAGES[name], IMAGES[name], generator=generator, dtype=torch.float64).to(dtype)
    ids = torch.randint(1, V, (batch, n_pos), generator=generator)
    return {"input_ids": ids, "decoder_input_ids": ids[:, 1:].flip(1)} if name in PAIRS else ids


def weights_of(output: torch.Tensor, seed: int = 5) -> torch.Tensor:
    """One fixed random direction for all outputs of a shape."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(output.shape[1:], generator=generator, dtype=torch.float64)
    return drawn.to(output) / drawn.numel() ** 0.5


def linear_metric(output: torch.Tensor) -> torch.Tensor:
    """A linear reading of the whole output, [batch]."""
    return (output * weights_of(output)).flatten(1).sum(1)


def curved_metric(output: torch.Tensor) -> torch.Tensor:
    """A user's metric that is not linear, [batch]."""
    return linear_metric(output) + torch.tanh((output * weights_of(output, 6)).flatten(1).sum(1))
