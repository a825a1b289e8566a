"""What contextual decomposition cannot see, on the smallest case there is; docs/cdt.md says it in words."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from interp.adapters import At, hook
from interp.effects import decompose, effects
from interp.hooks import Source

TOKENS = torch.tensor([[0, 1, 2]])


class OneHead(nn.Module):
    """Units 0 and 1 of a token say what it asks for and what it answers to, unit 2 what it carries."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(torch.tensor([
            [1.0, 0.0, 3.0],  # answers; carries 3
            [-1.0, 0.0, 1.0],  # answers the opposite; carries 1
            [0.0, 2.0, 0.0],  # asks for an answer
        ]).double())
        self.query = nn.Linear(3, 1, bias=False).double()
        self.key = nn.Linear(3, 1, bias=False).double()
        self.value = nn.Linear(3, 1, bias=False).double()
        self.out = nn.Identity()
        with torch.no_grad():
            for layer, unit in ((self.query, 1), (self.key, 0), (self.value, 2)):
                layer.weight.copy_(torch.eye(3)[unit])

    def forward(self, ids):
        x = self.embed(ids)
        return self.out(F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x), scale=1.0))


def one_head():
    return hook(OneHead(), sites={"hook_embed": "embed", "blocks.0.attn.hook_z": At("out", "in", heads=1)})


def last(output):
    return output[:, -1, 0]


# what is asked (queries), what answers (keys), and both: none of them touches what is carried
SOURCES = {"queries": [Source("hook_embed", unit=1)], "keys": [Source("hook_embed", unit=0)],
           "both": [Source("hook_embed", unit=0), Source("hook_embed", unit=1)]}


def true_change(unit_zeroed) -> float:
    """By hand: softmax over the three scores 2, -2, 0 against an even mix of what the tokens carry."""
    carried = torch.tensor([3.0, 1.0, 0.0]).double()
    return float(torch.softmax(torch.tensor([2.0, -2.0, 0.0]).double(), 0) @ carried - carried.mean())


@pytest.mark.parametrize("through", SOURCES)
def test_limit_cdt_is_blind_to_sources_that_act_through_queries_and_keys(through):
    model, group = one_head(), SOURCES[through]
    true = true_change(through)
    assert true > 1.2
    value = {rules: float(effects(model, TOKENS, [group], last, rules).values) for rules in
             ("ablation", "cdt", "cdt-published", "local-shapley")}
    assert value["ablation"] == pytest.approx(true, abs=1e-12)
    assert value["cdt"] == 0.0 and value["cdt-published"] == 0.0  # exactly: V_r = 0
    assert value["local-shapley"] == pytest.approx(true / 2, abs=1e-12)  # mean of z - attn(i) and attn(r) = 0
    z = decompose(model, TOKENS, [group], ["blocks.0.attn.hook_z"], "cdt")
    assert (z.relevant["blocks.0.attn.hook_z"] == 0).all()


def test_limit_two_passes_see_it_where_queries_and_keys_are_the_targets():
    """The paper's search finds such a source by asking how much of q and k is due to it."""
    model = tiny_gpt2()
    targets = [Source(f"blocks.1.attn.hook_{x}", head=2) for x in "qk"]
    source = Source("blocks.0.attn.hook_z", head=1)
    found = decompose(model, ids(), [source], targets, "cdt")
    assert all((r != 0).any() for r in found.relevant.values())
    # while what acts through these very queries and keys alone has no part in the head's value
    group = [Source(t.site, head=2) for t in targets]
    z = decompose(model, ids(), [group], [Source("blocks.1.attn.hook_z", head=2), "output"], "cdt")
    assert all((r == 0).all() for r in z.relevant.values())
    assert decompose(model, ids(), [group], rules="ablation").relevant["output"].abs().max() > 1e-2


def test_a_source_that_acts_through_values_is_seen_by_all():
    model, source = one_head(), Source("hook_embed", unit=2)
    found = {rules: float(effects(model, TOKENS, [source], last, rules).values) for rules in
             ("ablation", "cdt", "local-shapley")}
    even = 4 / 3  # cdt: the relevant scores are 0, so the relevant pattern is an even mix, not the model's own
    whole = float(torch.softmax(torch.tensor([2.0, -2.0, 0.0]).double(), 0) @ torch.tensor([3.0, 1.0, 0.0]).double())
    assert found["ablation"] == pytest.approx(whole) and found["cdt"] == pytest.approx(even)
    assert found["local-shapley"] == pytest.approx((whole + even) / 2)


def tiny_gpt2():
    from tests.effects.models import tiny

    return tiny("gpt2")


def ids():
    from tests.effects.models import inputs

    return inputs("gpt2")
