"""A mixture of experts from transformers: right where its code can be followed, refused by name where it cannot."""

import pytest
import torch
import transformers as T
from torch.nn import functional as F

from interp.effects.decomposed_tensor import Decomposed, NoRule
from interp.effects.decomposition_rules import CDT
from tests.effects.test_decomposed_ops import applied, drawn

CONFIG = dict(vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
              num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=2, pad_token_id=0)


def mixtral(experts: str):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = T.MixtralForCausalLM(T.MixtralConfig(**CONFIG)).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / p.shape[-1] ** 0.5)
    model.set_experts_implementation(experts)
    return model.model.layers[0].mlp


def literal(block, x: torch.Tensor, r: torch.Tensor):
    """(total, relevant) of one token [d]: cdt's rules with the experts that the total chooses."""
    def rest(f, t, part):
        return f(t) - f(t - part)

    def probabilities(v):
        return torch.softmax(v.float(), -1)  # the library rounds the router's logits

    logits, own = block.gate.weight @ x, block.gate.weight @ r
    p, p_r = probabilities(logits), probabilities(logits) - probabilities(logits.float() - own.float())
    chosen = p.topk(2).indices
    weight = p[chosen] / p[chosen].sum()
    whole, whole_r = p[chosen].sum(), p_r[chosen].sum()
    weight_r = p_r[chosen] * (1 / whole - 1 / (whole - whole_r))
    total, relevant = torch.zeros_like(x), torch.zeros_like(x)
    for w, w_r, expert in zip(weight, weight_r, chosen):
        up, down = block.experts.gate_up_proj[expert], block.experts.down_proj[expert]
        (gate, linear), (gate_r, linear_r) = (up @ x).chunk(2), (up @ r).chunk(2)
        hidden, hidden_r = F.silu(gate) * linear, rest(F.silu, gate, gate_r) * linear_r
        total, relevant = total + w * (down @ hidden), relevant + w_r * (down @ hidden_r)
    return total, relevant


def test_routing_is_frozen_at_the_total_where_experts_are_gathered():
    block = mixtral("batched_mm")
    x, parts = drawn(1, 6, 16), 0.3 * drawn(2, 1, 6, 16, seed=1)
    got = applied(block, Decomposed(x, parts))
    with torch.no_grad():
        torch.testing.assert_close(got.total, block(x), rtol=0, atol=1e-6)
        chosen = {tuple(row.tolist()) for row in block.gate(x[0])[2].sort().values}
        assert len(chosen) > 1  # tokens go to different experts
        for token in range(6):
            for k in range(2):
                total, relevant = literal(block, x[0, token], parts[k, 0, token])
                torch.testing.assert_close(got.total[0, token], total, rtol=0, atol=1e-6)
                torch.testing.assert_close(got.relevant[k, 0, token], relevant, rtol=0, atol=1e-5)
    assert got.relevant.abs().max() > 1e-2


@pytest.mark.parametrize("experts, operation", [("eager", "index_add_"), ("grouped_mm", "_grouped_mm")])
def test_experts_that_write_into_a_buffer_or_use_a_fused_kernel_are_refused(experts, operation):
    with pytest.raises(NoRule, match=f"{operation}.*ablation"):
        applied(mixtral(experts), Decomposed(drawn(1, 6, 16), drawn(2, 1, 6, 16, seed=1)))


def test_a_frozen_choice_is_where_ablation_differs():
    """The same source may change which expert runs: the decomposition keeps the choice, a patched run does not."""
    weight = torch.eye(2, dtype=torch.float64)

    def routed(v):
        top = torch.topk(v @ weight, 1)
        return v.gather(-1, top.indices) * 10

    x = Decomposed(torch.tensor([[2.0, 1.0]]).double(), torch.tensor([[[1.5, 0.0]]]).double())
    got = applied(routed, x, rules=CDT)
    assert got.relevant.item() == 15.0 and got.total.item() == 20.0
    assert routed(x.total).item() - routed(x.irrelevant[0]).item() == 10.0  # 20 - 10 * the other entry
