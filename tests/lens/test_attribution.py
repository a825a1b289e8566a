"""Direct logit attribution against the unembedding by hand."""

import pytest
import torch

from interp.garden.catalog import build
from interp.lens import direct_attribution

SIZES = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_vocab": 23, "n_ctx": 12}


def metric(output: torch.Tensor) -> torch.Tensor:
    return output[:, -1, 3] - output[:, -1, 7]


@pytest.mark.parametrize("name", ["gpt", "post-norm", "peri-ln", "parallel", "ladder", "looped", "llama"])
def test_writers_and_rest_are_the_metric_and_the_rest_is_one_constant(name):
    model, x = build(name, **SIZES), torch.randint(23, (4, 9), generator=torch.Generator().manual_seed(0))
    found = direct_attribution(model, x, metric)
    assert torch.allclose(found.values.sum(0) + found.rest, metric(model(x)), atol=1e-6)
    assert torch.allclose(found.rest, found.rest[:1].expand(4), atol=1e-6)  # biases do not depend on the prompt
    assert found.frame()["writer"].tolist()[-1] == "rest" and found.figure().data


def test_a_writer_is_its_write_through_the_norm_and_the_unembedding():
    model, x = build("gpt", **SIZES), torch.randint(23, (4, 9), generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(model.module.ln_final.weight)
    _, cache = model.run_with_cache(x)
    direction = model.module.unembed.weight[3] - model.module.unembed.weight[7]
    found = direct_attribution(model, x, metric)
    for name in ("blocks.0.attn_out", "blocks.1.mlp_out"):
        write = cache[name.replace(".attn", ".hook_attn").replace(".mlp", ".hook_mlp")][:, -1]
        centred = (write - write.mean(-1, keepdim=True)) / cache["ln_final.hook_scale"][:, -1]
        by_hand = (centred * model.module.ln_final.weight) @ direction
        assert torch.allclose(found.values[found.writers.index(name)], by_hand, atol=1e-6)
