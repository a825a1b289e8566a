"""What models that look parameters up must do for their papers to be told right (`works_when` of seeds.tsv)."""

import pytest
import torch

from interp.architectures import build
from interp.codebook.classify import detectors
from interp.parts.hash_layer import HashLayer
from interp.parts.omega_memory import GATES, gradient, learn, monomials, newton_schulz, read
from interp.parts.pattention import Pattention, grow
from interp.parts.sitemap import hook
from interp.results.errors import BadInput
from tests.architectures.training import next_token_loss, train

SIZES = dict(d_model=32, n_layers=2, n_heads=4, d_vocab=50, n_ctx=16)
TOKENS = torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(1))


def _noise(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- 64 ------------------------------------------------------------------------------------------------------------


def test_works_when_64_tokenformer():
    """Appended zero keys leave logits as they were while the scale is held, and not with the new sqrt(n); scores of
    parameter tokens are hooked like neurons."""
    model = build("tokenformer", seed=0, **SIZES).to(torch.float64)
    grown = hook(grow(model.module, 7))
    with torch.no_grad():
        plain = model(TOKENS)
        assert (grown(TOKENS) - plain).abs().max() < 1e-10
        for layer in grown.module.modules():
            if isinstance(layer, Pattention):
                layer.scale = len(layer.keys) ** 0.5
        assert (grown(TOKENS) - plain).abs().max() > 1e-4
    cache = grown.run_with_cache(TOKENS)[1]
    assert cache["blocks.0.attn.hook_param_q"].shape == (3, 11, 39)
    assert cache["blocks.1.mlp.hook_post"].shape == (3, 11, 135)
    assert not cache["blocks.1.mlp.hook_post"][..., 128:].any()
    neuron = cache["blocks.1.mlp.hook_post"][..., 5].abs().amax()
    with torch.no_grad():
        without = grown.run_with_hooks(TOKENS, [("blocks.1.mlp.hook_post", lambda value, site: value.index_fill(
            -1, torch.tensor([5]), 0.0))])
    assert neuron > 0 and (without - grown(TOKENS)).abs().max() > 1e-6


def test_grown_tokens_can_learn():
    grown = grow(build("tokenformer", seed=0, **SIZES).module, 3)
    grown(TOKENS).pow(2).sum().backward()
    assert all(layer.keys.grad[-3:].any() for layer in grown.modules() if isinstance(layer, Pattention))
    with pytest.raises(BadInput, match="no Pattention"):
        grow(build("gpt").module, 3)
    with pytest.raises(BadInput, match="1 or more"):
        grow(grown, 0)


def test_pattention_by_hand():
    layer = Pattention(4, 3, 5).double()
    with torch.no_grad():
        layer.initialise(1.0, torch.Generator().manual_seed(0))
    x = _noise(1, 1, 4)
    a = torch.stack([x[0, 0] @ key for key in layer.keys])
    s = torch.nn.functional.gelu(a / (a**2).sum().sqrt() * 5**0.5)
    assert torch.allclose(layer(x)[0, 0], sum(s[i] * layer.values[i] for i in range(5)), atol=1e-10)


# -- 36 ------------------------------------------------------------------------------------------------------------


def _layer(bits: int = 3, tau: float = 0.7) -> HashLayer:
    layer = HashLayer(6, 5, bits, tau).double()
    with torch.no_grad():
        layer.initialise(1.0, torch.Generator().manual_seed(0))
    return layer


def test_works_when_36_memoryformer():
    """Buckets are a discrete code of every token: integers, the same for the same input, and all that tables need but
    for their shares. That it trains is the slow test below."""
    model = build("memoryformer", seed=0, **SIZES)
    cache = model.run_with_cache(TOKENS)[1]
    codes = cache["blocks.0.attn.hook_bucket_q"]
    assert codes.dtype == torch.int64 and codes.shape == (3, 11, 8) and 0 <= codes.min() and codes.max() < 16
    assert len(codes.flatten(0, 1).unique(dim=0)) > 20  # tokens and places are told apart
    layer = model.module.blocks[0].attn.q
    share = cache["blocks.0.attn.hook_share_q"]
    out = sum(share[..., k, None] * layer.tables[k, codes[..., k]] for k in range(8))
    assert torch.allclose(out, cache["blocks.0.attn.hook_q"].flatten(2), atol=1e-6)
    moved = model.run_with_hooks(TOKENS, [("blocks.0.attn.hook_bucket_v", lambda value, site: (value + 1) % 16)])
    with torch.no_grad():
        assert (moved - model(TOKENS)).abs().max() > 1e-6  # a code can be set


def test_works_when_36_memoryformer_buckets_are_codebook_features():
    """As codes that the codebook tools take, untrained: for each of six words some bucket stands for it alone, chosen
    on half of the prompts and scored on the others (by chance a sixth)."""
    model = build("memoryformer", seed=0, **SIZES)
    tokens = torch.randint(0, 6, (128, 6), generator=torch.Generator().manual_seed(4))
    codes = model.run_with_cache(tokens, "blocks.0.attn.hook_bucket_q")[1]["blocks.0.attn.hook_bucket_q"]
    found = detectors({"bucket": codes[..., None]}, tokens, 16, select=torch.arange(128) < 64).frame()
    assert len(found) == 6 and found.precision.min() > 0.9 and found.recall.min() > 0.05


def test_share_is_the_softmax_over_all_corners():
    layer, z = _layer(), _noise(1, 1, 6)[0, 0]
    wanted = torch.zeros(5, dtype=torch.float64)
    corners = torch.tensor([[1.0 if i >> j & 1 else -1.0 for j in range(3)] for i in range(8)]).double()
    for k in range(2):
        weights = (corners @ z[3 * k : 3 * k + 3] / 0.7).softmax(0)
        wanted += weights.max() * layer.tables[k, weights.argmax()]
    assert torch.allclose(layer(z[None, None])[0, 0], wanted, atol=1e-12)


def test_sizes_that_do_not_split_are_refused():
    with pytest.raises(BadInput, match="chunks of 4"):
        build("memoryformer", d_model=30, n_heads=3)


@pytest.mark.slow
@pytest.mark.parametrize("name, steps", [("memoryformer", 150), ("tokenformer", 150), ("atlas", 50)])
def test_it_trains_on_a_toy_language(name, steps):
    """Every word has one that usually follows: the entropy of that is 1.1 nats, of no knowledge 3.5."""
    follows = torch.randperm(32, generator=torch.Generator().manual_seed(3))

    def text(n: int, generator: torch.Generator) -> torch.Tensor:
        tokens = torch.randint(0, 32, (n, 8), generator=generator)
        usual = torch.rand(n, 8, generator=generator) < 0.8
        for t in range(1, 8):
            tokens[:, t] = torch.where(usual[:, t], follows[tokens[:, t - 1]], tokens[:, t])
        return tokens

    model = build(name, seed=0, d_model=32, d_vocab=32, n_layers=1)
    train(model, lambda model, generator: next_token_loss(model, text(32, generator)), steps, lr=1e-2)
    assert next_token_loss(model, text(256, torch.Generator().manual_seed(9))).item() < 2.5


# -- 124 -----------------------------------------------------------------------------------------------------------


def _gates(n: int, heads: int = 2, **given: float) -> dict[str, torch.Tensor]:
    return {name: torch.full((1, n, heads), given.get(name, 1.0), dtype=torch.float64) if name in given else
            torch.sigmoid(_noise(1, n, heads, seed=i)) for i, name in enumerate(GATES)}


def test_works_when_124_atlas():
    """With a window of one, no Muon and a memory of one matrix the Omega rule is Titans' rule, and without momentum
    and forgetting the delta rule. Weights are hooked, behind every token. That recall improves with the window is the
    last test below."""
    n, start, f, v = 6, _noise(2, 3, 5), _noise(1, 6, 2, 5, seed=3), _noise(1, 6, 2, 3, seed=4)
    titans = _gates(n)
    (found,) = learn([start], f, v, titans, window=1, muon=False)
    for h in range(2):
        memory, speed = start[h], torch.zeros(3, 5, dtype=torch.float64)
        for t in range(n):
            a, p, e, w = (titans[name][0, t, h] for name in ("retain", "momentum", "step", "weight"))
            surprise = 2 * w * torch.outer(memory @ f[0, t, h] - v[0, t, h], f[0, t, h])
            speed = p * speed + surprise
            memory = a * memory - e * speed
            assert torch.allclose(found[0, t, h], memory, atol=1e-12)
    delta = _gates(n, weight=0.5, retain=1.0, momentum=0.0)
    (found,) = learn([start], f, v, delta, window=1, muon=False)
    memory = start[0]
    for t in range(n):
        k, beta = f[0, t, 0], delta["step"][0, t, 0]
        memory = memory @ (torch.eye(5).double() - beta * torch.outer(k, k)) + beta * torch.outer(v[0, t, 0], k)
        assert torch.allclose(found[0, t, 0], memory, atol=1e-12)
    model = build("atlas", seed=0, **SIZES)
    _, cache = model.run_with_cache(TOKENS, ["blocks.0.memory.hook_params", "blocks.0.mixer.hook_z"])
    params = cache["blocks.0.memory.hook_params"]
    assert params.shape == (3, 11, 4, 16 * 45 + 8 * 16) and (params[:, 1:] - params[:, :-1]).abs().amax(-1).min() > 0
    seen = {}
    model.run_with_hooks(TOKENS, [("blocks.0.memory.hook_params", lambda value, site: value * 0),
                                  ("blocks.0.mixer.hook_z", lambda value, site: seen.update(z=value.clone()))])
    assert not seen["z"].any()


def test_omega_gradient_is_autograds_and_windows_end_where_they_should():
    start = [_noise(2, 4, 5), _noise(2, 3, 4, seed=5)]
    f, v, weight = _noise(2, 6, 5, seed=6), _noise(2, 6, 3, seed=7), torch.rand(2, 6).double()
    leaves = [w.clone().requires_grad_() for w in start]
    loss = sum(weight[h, i] * ((read([w[h] for w in leaves], f[h, i]) - v[h, i]) ** 2).sum()
               for h in range(2) for i in range(6))
    for ours, theirs in zip(gradient(start, f, v, weight), torch.autograd.grad(loss, leaves)):
        assert torch.allclose(ours, theirs, atol=1e-10)
    f, v, gates = f[None].transpose(1, 2), v[None].transpose(1, 2), _gates(6, momentum=0.0)
    before = learn(start, f, v, gates, 3)
    changed = v.clone()
    changed[:, 1] += 1
    after = learn(start, f, changed, gates, 3)
    gaps = [(a - b).abs().amax((0, 2, 3, 4)) for a, b in zip(after, before)]
    assert all(gap[0] == 0 and gap[1:].min() > 0 for gap in gaps)  # what was learned of it stays


def test_newton_schulz_keeps_singular_vectors_and_evens_values():
    for shape in ((4, 7), (7, 4)):
        x = _noise(*shape)
        u, _, v = torch.linalg.svd(x, full_matrices=False)
        found = u.T @ newton_schulz(x) @ v.T
        assert (found - torch.diag(found.diag())).abs().max() < 1e-8
        assert 0.6 < found.diag().min() and found.diag().max() < 1.3
    assert not newton_schulz(torch.zeros(3, 4)).any()


def test_monomials_by_hand():
    out = monomials(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 1.0, 0.5]))
    assert out.tolist() == [1, 2, 3, 2, 3, 4.5]


def test_works_when_124_atlas_recall_improves_with_the_window():
    """A memory of one matrix, given pairs one after the other and then asked for all of them: the error falls as the
    window grows, at one step of learning a token (random keys and values, no training; median of 20 draws)."""
    errors = {}
    for window in (1, 4, 16):
        runs = []
        for seed in range(20):
            keys = torch.nn.functional.normalize(_noise(1, 16, 1, 24, seed=seed), dim=-1)
            values = _noise(1, 16, 1, 8, seed=100 + seed)
            gates = _gates(16, heads=1, weight=1.0, retain=1.0, momentum=0.0, step=0.25)
            (memory,) = learn([torch.zeros(1, 8, 24).double()], keys, values, gates, window, muon=False)
            back = keys[0, :, 0] @ memory[0, -1, 0].T
            runs.append((back - values[0, :, 0]).square().mean().item())
        errors[window] = sorted(runs)[10]
    assert errors[16] < errors[4] < errors[1]
