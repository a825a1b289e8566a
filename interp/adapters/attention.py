"""The attention of every `transformers` model that uses its attention-function registry, with its inside marked."""

from dataclasses import dataclass
from functools import partial

from torch import nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.results.errors import BadInput

NAME = "interp"
_HARMLESS = {"dropout", "is_causal", "sliding_window", "position_ids", "cache_position", "use_cache",
             "output_attentions", "past_key_values", "num_items_in_batch", "output_hidden_states", "return_dict",
             "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "encoder_hidden_states", "layer_past"}


def attention_forward(
    module, query, key, value, attention_mask, scaling=None, softcap=None, position_bias=None, **kwargs
):
    """Eager softmax attention of the registry's signature: (z [batch, query, head, d], pattern)."""
    unknown = [k for k, v in kwargs.items() if v is not None and k not in _HARMLESS]
    if unknown:
        raise BadInput(
            f"{type(module).__name__} passes {unknown} to its attention function, which interp's form does not know; "
            "sites inside this attention cannot be read"
        )
    if kwargs.get("dropout"):
        raise BadInput("attention dropout is on; call model.eval() before reading inside attention")
    patterns = []

    def keep(point, tensor):
        tensor = mark(module, point, tensor)
        if point == "pattern":
            patterns.append(tensor)
        return tensor

    bias = attention_mask
    if position_bias is not None:
        bias = position_bias if bias is None else position_bias + bias
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    z = semantic.attention(query, key, value, bias=bias, scale=scale, softcap=softcap, mark=keep)
    return z.transpose(1, 2), patterns[0] if patterns else None


def register() -> None:
    """Make our function and its mask known to transformers (idempotent)."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attention_forward)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)


@dataclass(frozen=True)
class RegistryAttention:
    """Role of an attention module that asks the registry for its function by the name in its config."""

    def install(self, module: nn.Module):
        before = module.config._attn_implementation
        if before == NAME:  # layers share one config, and setting it is slow
            return lambda: None
        register()
        module.config._attn_implementation = NAME
        return partial(setattr, module.config, "_attn_implementation", before)


REGISTRY = RegistryAttention()
