"""Rule sets against the same models written out by hand, and `direct` against the formula of logit attribution."""

import pytest
import torch

from interp.effects import effects
from interp.hooks import Source
from tests.effects import literal
from tests.effects.models import inputs, linear_metric, tiny
from tests.effects.oracles import close

HAND = {"gpt2": literal.gpt2, "llama": literal.llama}
EXACT = 1e-10
# rotary angles are float32 in the library's Llama, whatever the model's dtype
LITERAL = {"gpt2": EXACT, "llama": 1e-6}


@pytest.mark.parametrize("name", HAND)
def test_the_hand_written_model_is_the_model(name):
    model, x = tiny(name), inputs(name)
    with torch.no_grad(), model.edit():
        wanted = model(x)
    for rules in ("tangent", "frozen"):
        close(HAND[name](model.module, x, rules)[0].detach(), wanted, LITERAL[name])


@pytest.mark.parametrize("name", HAND)
@pytest.mark.parametrize("rules", ["tangent", "relp", "frozen"])
def test_rule_set_equals_the_hand_written_one(name, rules):
    model, x = tiny(name), inputs(name)
    logits, path = HAND[name](model.module, x, rules)
    grads = torch.autograd.grad(linear_metric(logits).sum(), list(path.values()), allow_unused=True)
    wanted = torch.stack([
        torch.zeros(len(x), dtype=torch.float64) if g is None else (g * v.detach()).flatten(1).sum(1)
        for g, v in zip(grads, path.values())
    ])
    got = effects(model, x, [Source(site) for site in path], linear_metric, rules).values
    close(got, wanted, LITERAL[name])
    blind = [site for site in path if site.endswith(("hook_q", "mlp.hook_pre"))]
    if rules == "frozen":  # queries and gates are exactly what it cannot see
        seen = [got[list(path).index(s)] for s in blind if name == "llama" or s.endswith("hook_q")]
        assert all((effect == 0).all() for effect in seen)


def unembedding_direction(model, x, token: int) -> torch.Tensor:
    """[batch, d_model]: what one unit along the final stream at the last position adds to a logit, scale held."""
    _, cache = model.run_with_cache(x, names="ln_final.hook_scale")
    scale = cache["ln_final.hook_scale"][:, -1]
    norm = model.module.transformer.ln_f if model.name == "gpt2" else model.module.model.norm
    row = norm.weight * model.module.lm_head.weight[token]
    row = row - row.mean() if model.name == "gpt2" else row
    return (row / scale).detach()


@pytest.mark.parametrize("name", HAND)
def test_direct_is_the_logit_attribution_of_every_head_and_mlp(name):
    model, x, token = tiny(name), inputs(name), 7
    direction = unembedding_direction(model, x, token)
    _, cache = model.run_with_cache(x)
    sources, wanted = [], []
    for depth in range(2):
        block = (model.module.transformer.h if name == "gpt2" else model.module.model.layers)[depth]
        weight = block.attn.c_proj.weight if name == "gpt2" else block.self_attn.o_proj.weight.T
        z = cache[f"blocks.{depth}.attn.hook_z"][:, -1]  # [batch, head, d_head]
        for head in range(4):
            sources.append(Source(f"blocks.{depth}.attn.hook_z", head=head))
            wanted.append((z[:, head] @ weight[head * 8 : head * 8 + 8] * direction).sum(-1).detach())
        sources.append(Source(f"blocks.{depth}.hook_mlp_out"))
        wanted.append((cache[f"blocks.{depth}.hook_mlp_out"][:, -1] * direction).sum(-1))
        down = block.mlp.c_proj.weight[5] if name == "gpt2" else block.mlp.down_proj.weight[:, 5]
        sources.append(Source(f"blocks.{depth}.mlp.hook_post", unit=5))  # one neuron's own write
        wanted.append((cache[f"blocks.{depth}.mlp.hook_post"][:, -1, 5:6] * down * direction).sum(-1).detach())
    sources.append(Source("hook_embed"))
    wanted.append((cache["hook_embed"][:, -1] * direction).sum(-1))
    got = effects(model, x, sources, lambda out: out[:, -1, token], "direct").values
    close(got, torch.stack(wanted), EXACT)


def test_direct_of_a_value_goes_through_its_own_head_only():
    model, x, token = tiny("gpt2"), inputs("gpt2"), 7
    direction = unembedding_direction(model, x, token)
    _, cache = model.run_with_cache(x)
    pattern, v = cache["blocks.0.attn.hook_pattern"], cache["blocks.0.attn.hook_v"]
    weight = model.module.transformer.h[0].attn.c_proj.weight[8:16]
    wanted = ((pattern[:, 1, -1, :, None] * v[:, :, 1]).sum(1) @ weight * direction).sum(-1).detach()
    got = effects(model, x, [Source("blocks.0.attn.hook_v", head=1)], lambda out: out[:, -1, token], "direct").values
    close(got, wanted[None], EXACT)
