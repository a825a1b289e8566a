"""What each attention of the catalog must do for its paper to be told right (`works_when` of seeds.tsv)."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from interp.adapters.transformers import library
from interp.architectures import build
from interp.architectures.attention import filtered
from interp.architectures.gpt import GPT
from interp.parts.aaren import prefix_scan, update
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.filters import Momentum, ShortConv, Smear
from interp.parts.model import build_model
from interp.parts.sitemap import hook
from interp.parts.spec import Spec
from interp.parts.weights import Sigmoid, Urpe, buckets

SIZES = dict(d_model=32, n_layers=1, n_heads=4, d_vocab=50, n_ctx=16)


def _tokens(n_pos: int = 16, batch: int = 3) -> torch.Tensor:
    return torch.randint(0, 50, (batch, n_pos), generator=torch.Generator().manual_seed(1))


def _noise(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


def _attention(spec: Spec, **options) -> Attention:
    """One attention with weights of unit gain, in float64."""
    attention = Attention.of(spec, **options).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for part in attention.modules():
            if own := getattr(part, "initialise", None):
                own(0.02, generator)
        for p in (attention.q, attention.k, attention.v, attention.o):
            p.weight.copy_(torch.randn(p.weight.shape, generator=generator, dtype=torch.float64) / 32**0.5)
    return attention


def _context(n_pos: int) -> Context:
    return Context(torch.zeros(1, n_pos, dtype=torch.long))


SPEC = replace(GPT, **SIZES)


# -- 52 ------------------------------------------------------------------------------------------------------------


def test_works_when_52_sigmoid():
    """Rows do not sum to one; with b = -log n an untrained output is as large as softmax's, without b n/2 times."""
    model = build("sigmoid-attention", seed=0, **SIZES)
    pattern = model.run_with_cache(_tokens())[1]["blocks.0.attn.hook_pattern"]
    assert (pattern.sum(-1) - 1).abs().max() > 0.1 and 0 <= pattern.min() and pattern.max() < 1
    n = SPEC.n_ctx
    x = _noise(8, n, 32)
    last = {}  # the last query sees all n keys
    for name, weights in (("softmax", None), ("scaled", Sigmoid), ("plain", partial(Sigmoid, bias=0.0))):
        attention = _attention(SPEC, weights=weights)
        attention.q.weight.data *= 0.3  # as small as scores are before training
        last[name] = attention(x, _context(n))[:, -1].norm().item()
    assert last["scaled"] / last["softmax"] == pytest.approx(1, abs=0.1)
    assert last["plain"] / last["softmax"] == pytest.approx(n / 2, rel=0.1)


def test_sigmoid_weights_are_by_hand():
    attention = _attention(SPEC, weights=partial(Sigmoid, bias=-1.5))
    x = _noise(1, 5, 32)
    q, k, v = (p(x).view(5, 4, 8) for p in (attention.q, attention.k, attention.v))
    z = torch.zeros(5, 4, 8, dtype=torch.float64)
    for t in range(5):
        for h in range(4):
            for u in range(t + 1):
                z[t, h] += torch.sigmoid(q[t, h] @ k[u, h] / 8**0.5 - 1.5) * v[u, h]
    assert torch.allclose(attention(x, _context(5))[0], attention.o(z.flatten(1)), atol=1e-12)


@pytest.mark.slow
def test_works_when_52_sigmoid_trains_stably():
    losses = _train_copying(build("sigmoid-attention", seed=0, d_vocab=24).module, 300)
    assert losses[-1] < losses[0] - 0.3
    assert all(after < before + 0.2 for before, after in zip(losses, losses[1:]))  # no spike


# -- 96 ------------------------------------------------------------------------------------------------------------


def test_works_when_96_urpe():
    """With ones for C it is attention with a relative bias; where all tokens are alike only C tells positions apart."""
    attention = _attention(replace(SPEC, position=None), weights=Urpe)
    urpe = attention.weights
    with torch.no_grad():
        urpe.relative.table.copy_(_noise(*urpe.relative.table.shape))
    x, context = _noise(2, 12, 32), _context(12)
    plain = _attention(replace(SPEC, position=None))
    plain.load_state_dict(attention.state_dict(), strict=False)
    plain.alibi = lambda place, dtype: urpe.relative(context)  # added to the scores, as any relative bias
    assert (attention(x, context) - plain(x, context)).abs().max() < 1e-12
    alike = x[:, :1].expand(-1, 12, -1)
    out = attention(alike, context)
    assert (out - out[:, :1]).abs().max() < 1e-12  # a right stochastic matrix cannot
    with torch.no_grad():
        urpe.multiplier.table.copy_(_noise(*urpe.multiplier.table.shape))
    out = attention(alike, context)
    assert all((out[:, t] - out[:, t - 1]).abs().max() > 1e-3 for t in range(1, 12))


@pytest.mark.parametrize("causal", [True, False])
def test_urpe_buckets_are_t5s(causal):
    distance = torch.arange(-300, 301)
    t5 = library().models.t5.modeling_t5.T5Attention._relative_position_bucket
    assert torch.equal(buckets(distance, 32, 128, causal), t5(distance, not causal, 32, 128))


# -- 131 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_works_when_131_aaren(n):
    """The scan, the streaming update and the masked softmax are one thing; every row is one prefix pattern."""
    scores, v = 5 * _noise(2, 4, n), _noise(2, 4, n, 8)
    masked = scores[:, :, None].expand(-1, -1, n, -1).masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
    wanted = masked.softmax(-1) @ v
    assert (prefix_scan(scores, v).read() - wanted).abs().max() < 1e-10
    state = None
    for t in range(n):
        state = update(state, scores[..., t], v[:, :, t])
        assert (state.read()[:, :, 0] - wanted[:, :, t]).abs().max() < 1e-10


def test_aaren_states_survive_large_scores():
    scores, v = torch.tensor([[[-900.0, 900.0, 899.0]]]), torch.tensor([[[[1.0], [2.0], [3.0]]]])
    assert prefix_scan(scores, v).read().flatten().tolist() == pytest.approx([1, 2, 2 + 1 / (1 + 2.718281828)])


def test_works_when_131_aaren_model_equals_its_states_and_caches_one_pattern():
    model = build("aaren", seed=1, **SIZES)
    cache = model.run_with_cache(_tokens())[1]
    q, k, v = (cache[f"blocks.0.attn.hook_{letter}"] for letter in "qkv")
    assert (q == q[:1, :1]).all()
    scores = torch.einsum("bphd,bphd->bhp", q, k) / 8**0.5
    z = prefix_scan(scores, v.transpose(1, 2)).read().transpose(1, 2)
    assert (z - cache["blocks.0.attn.hook_z"]).abs().max() < 1e-6
    pattern = cache["blocks.0.attn.hook_pattern"]
    for t in range(16):
        row = pattern[:, :, -1, : t + 1]
        assert torch.allclose(pattern[:, :, t, : t + 1], row / row.sum(-1, True), atol=1e-6)


# -- 199 -----------------------------------------------------------------------------------------------------------


def test_works_when_199_momentum():
    """gamma = 0 is the baseline exactly, and the gain of a wave is the high-pass filter of the Bode plot. That one
    layer learns induction only with gamma > 0 is the slow test below."""
    base = build("attn-only-rotary", seed=4, **SIZES)
    still = hook(build_model(replace(filtered(filter=partial(Momentum, gamma=0.0)), **SIZES), 4))
    moved = build("momentum", seed=4, **SIZES)
    with torch.no_grad():
        assert torch.equal(base(_tokens()), still(_tokens()))
        assert (base(_tokens()) - moved(_tokens())).abs().max() > 1e-4
    filter = Momentum(1, 1, gamma=0.8)
    t = torch.arange(400, dtype=torch.float64)
    for omega in (0.0, 0.3, 1.0, 2.0, torch.pi):
        wave = torch.stack([(omega * t).cos(), (omega * t).sin()], -1)[None, None]
        out = filter(wave, wave, _context(400))[0][0, 0, 1:]
        gain = out.norm(dim=-1)  # both phases at once: the same at every t
        assert torch.allclose(gain, filter.response(torch.tensor(omega, dtype=torch.float64)), atol=1e-10)
    assert filter.response(torch.tensor([0.0, torch.pi])).tolist() == pytest.approx([1, 2.6])


def test_filters_by_hand():
    k = _noise(1, 1, 3, 2)
    k0, k1, k2 = k[0, 0]
    smear = Smear(1, 2).double()
    s = torch.sigmoid(smear.logit.data.fill_(0.7)).item()
    out = smear(k, k, _context(3))
    assert torch.equal(out[0], k) and torch.allclose(out[1][0, 0], torch.stack([k0, s * k1 + (1 - s) * k0,
                                                                                s * k2 + (1 - s) * k1]))
    conv = ShortConv(1, 2).double()
    w = conv.weight.data.copy_(_noise(3, 1, 1, 2))[:, 0, 0]
    assert torch.allclose(conv(k, k, _context(3))[1][0, 0], torch.stack([
        w[0] * k0, w[0] * k1 + w[1] * k0, w[0] * k2 + w[1] * k1 + w[2] * k0]))


@pytest.mark.slow
@pytest.mark.parametrize("filter, learns", [
    (partial(Momentum, gamma=0.0), False), (partial(Momentum, gamma=1.0), True), (Smear, True),
])
def test_works_when_199_momentum_learns_induction_in_one_layer(filter, learns):
    model = build_model(replace(filtered(filter=filter), n_layers=1, n_heads=2, d_vocab=24), 0)
    _train_copying(model)
    ids, repeated = _repeats(torch.Generator().manual_seed(9), 256)
    with torch.no_grad():
        right = model(ids)[:, :-1].argmax(-1) == ids[:, 1:]
    accuracy = right[repeated].float().mean().item()
    assert accuracy > 0.7 if learns else accuracy < 0.5


def _repeats(generator: torch.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that repeat 8 to 16 different tokens, and where the next token is one that stood before: the distance to it
    differs from row to row, so that no fixed offset helps."""
    tokens = torch.rand(n, 24, generator=generator).argsort(1)
    period = torch.randint(8, 17, (n, 1), generator=generator)
    place = torch.arange(32)
    return tokens.gather(1, place % period), place[:-1] >= period


def _train_copying(model, steps: int = 500) -> list[float]:
    """Train on repeated rows; the loss every 50 steps."""
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for step in range(steps):
        ids, repeated = _repeats(generator, 64)
        right = model(ids)[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        loss = -right[repeated].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 49:
            losses.append(loss.item())
    return losses
