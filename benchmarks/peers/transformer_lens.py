"""TransformerLens 4.3: what is timed, in its own words. Imported only in its own environment."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformer_lens.patching import get_act_patch_attn_head_out_all_pos
from transformer_lens.tools.analysis.attribution_patching import EdgeAttributionConfig, attribution_patch
from transformers import GPT2LMHeadModel

from benchmarks.hooks_cost import RESID_POST

NAME = "TransformerLens"


def bridge(module: GPT2LMHeadModel):
    """`module` as a TransformerBridge, which takes the module over: give it one of its own."""
    return build_bridge_from_module(module, architecture="GPT2LMHeadModel", hf_config=module.config).eval()


def forwards(module: GPT2LMHeadModel, x: Tensor) -> dict[str, Callable[[], object]]:
    """No hooks, 12 sites, everything."""
    model = bridge(module)
    return {
        "no hooks": lambda: model(x),
        "12 sites cached": lambda: model.run_with_cache(x, names_filter=RESID_POST),
        "everything cached": lambda: model.run_with_cache(x),
    }


def entries(result) -> list:
    """What a full cache holds: tensors by name, several names for some."""
    return list(result[1].values())


def discovery(module: GPT2LMHeadModel, clean: Tensor, corrupt: Tensor, metric) -> dict[str, Callable[[], Tensor]]:
    """Exact effects of all heads, and first-order scores of nodes, as it offers them; both return [head].

    Its patching goes from the corrupt to the clean run. Given the two the other way round it is our noising: the
    clean run with one head of the corrupt one. Its attribution takes one prompt at a time and scores every position.
    """
    model = bridge(module)
    heads = [(layer, head) for layer in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]

    def patching() -> Tensor:
        with torch.no_grad():
            base = metric(model(clean)).mean()
            _, cache = model.run_with_cache(corrupt)
            patched = get_act_patch_attn_head_out_all_pos(model, clean, cache, lambda logits: metric(logits).mean())
        return (base - patched).flatten()

    def attribution() -> Tensor:
        with torch.enable_grad():  # swapped too: its gradient is then the clean run's
            config = EdgeAttributionConfig(granularity="node")
            result = attribution_patch(model, corrupt, clean, lambda logits: metric(logits).mean(), config)
        scores = dict.fromkeys(heads, 0.0)
        for node, score in result.node_scores.items():
            if node.head is not None:
                scores[node.layer, node.head] -= score
        return torch.tensor(list(scores.values()))

    return {"patching of 144 heads": patching, "attribution_patch, nodes": attribution}
