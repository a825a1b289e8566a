"""What `run_with_cache(x)` of a GPT-2 collects, by plain torch hooks written for that model alone.

The yardstick for "cache everything": the same tensors under the same names, nothing checked, nothing editable.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "benchmarks_keep"
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)


def inputs_and_outputs(module: GPT2LMHeadModel, x: Tensor, paths: set[str]) -> Callable[[], dict]:
    """The cheapest hooks there are: raw inputs and outputs of the modules, and the library's own patterns.

    Statistics of the norms, scores, heads and the middle of the stream are not among them.
    """
    def run():
        kept, handles = {}, []
        for path in paths:
            handles.append(module.get_submodule(path).register_forward_hook(
                lambda m, args, out, path=path: kept.__setitem__(path, (args, out))
            ))
        module(x, use_cache=False, output_attentions=True)
        for handle in handles:
            handle.remove()
        return kept

    return run


def same_tensors(module: GPT2LMHeadModel, x: Tensor) -> Callable[[], dict[str, Tensor]]:
    """Every tensor of `run_with_cache(x)`, by hand: hooks, and an attention function that keeps its inside."""
    def run():
        kept: dict[str, Tensor] = {}
        module.config._attn_implementation = _attention_that_keeps(kept)
        handles = _hooks(module, kept)
        kept["output"] = module(x, use_cache=False).logits
        for handle in handles:
            handle.remove()
        module.config._attn_implementation = "eager"
        return kept

    return run


def _attention_that_keeps(kept: dict[str, Tensor]) -> str:
    def attention(part, q, k, v, mask, scaling=None, **_):
        logits = torch.matmul(q, k.transpose(-1, -2)) * scaling
        logits = logits if mask is None else logits + mask
        pattern = torch.softmax(logits, -1)
        name = f"blocks.{part.layer_idx}.attn"
        kept[f"{name}.hook_attn_scores"], kept[f"{name}.hook_pattern"] = logits, pattern
        return torch.matmul(pattern, v).transpose(1, 2), pattern

    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    return NAME


def _hooks(module: GPT2LMHeadModel, kept: dict[str, Tensor]) -> list:
    base, heads = module.transformer, module.config.n_head

    def split(value: Tensor) -> Tensor:
        return value.view(*value.shape[:-1], heads, -1)

    def output(name):
        return lambda m, args, out: kept.__setitem__(name, out)

    def norm(name):
        def hook(m, args, out):
            value, _, inverse = torch.native_layer_norm(args[0], m.normalized_shape, None, None, m.eps)
            kept[f"{name}.hook_normalized"], kept[f"{name}.hook_scale"] = value, inverse.reciprocal()
        return hook

    handles = [base.wte.register_forward_hook(output("hook_embed")),
               base.wpe.register_forward_hook(output("hook_pos_embed")),
               base.ln_f.register_forward_hook(norm("ln_final"))]
    for i, block in enumerate(base.h):
        at = f"blocks.{i}"

        def before(m, args, at=at):
            kept[f"{at}.hook_resid_pre"] = args[0]

        def qkv(m, args, out, at=at):
            for letter, part in zip("qkv", out.split(out.shape[-1] // 3, -1)):
                kept[f"{at}.attn.hook_{letter}"] = split(part)

        def projection(m, args, out, at=at):
            kept[f"{at}.attn.hook_z"] = split(args[0])

        def attention(m, args, out, at=at):
            kept[f"{at}.hook_attn_out"] = out[0]
            kept[f"{at}.hook_resid_mid"] = out[0] + kept[f"{at}.hook_resid_pre"]

        def last(m, args, out, at=at):
            kept[f"{at}.mlp.hook_post"] = args[0]

        handles += [
            block.register_forward_pre_hook(before), block.register_forward_hook(output(f"{at}.hook_resid_post")),
            block.ln_1.register_forward_hook(norm(f"{at}.ln1")), block.ln_2.register_forward_hook(norm(f"{at}.ln2")),
            block.attn.register_forward_hook(attention), block.attn.c_attn.register_forward_hook(qkv),
            block.attn.c_proj.register_forward_hook(projection),
            block.mlp.register_forward_hook(output(f"{at}.hook_mlp_out")),
            block.mlp.c_fc.register_forward_hook(output(f"{at}.mlp.hook_pre")),
            block.mlp.c_proj.register_forward_hook(last),
        ]
    return handles
