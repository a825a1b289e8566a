"""What each linear attention of the catalog must do for its paper to be told right (`works_when` of seeds.tsv)."""

from dataclasses import replace

import pytest
import torch

from interp.architectures import build
from interp.architectures.linear_attention import FLOWFORMER, GLA, SLAB
from interp.parts.context import Context
from interp.parts.flow import EPS, Flow, linear, quadratic
from interp.parts.gla import GatedLinear, parallel, states
from interp.parts.prepbn import PRepBN, fuse, progress
from interp.results.errors import BadInput
from tests.architectures.training import next_token_loss, repeated, train

SIZES = dict(d_model=32, n_layers=2, n_heads=4, d_vocab=50, n_ctx=16)
N = 9


def _noise(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _cached(name: str):
    """A model in float64 with weights that matter, and its cache on a prompt."""
    model = build(name, seed=1, **SIZES).to(torch.float64)
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.add_(0.3 * _noise(*p.shape, seed=i))
    tokens = torch.randint(0, 50, (3, N), generator=torch.Generator().manual_seed(1))
    return model, tokens, model.run_with_cache(tokens)[1]


def _mixed(model, cache, depth: int = 0) -> torch.Tensor:
    values = cache[f"blocks.{depth}.mixer.hook_v"].flatten(2)
    matrix = model.mixing_matrix(cache, depth)
    matrix = matrix.repeat_interleave(values.shape[-1] // matrix.shape[1], 1)
    return torch.einsum("bcqk,bkc->bqc", matrix, values)


@pytest.mark.parametrize("name", ["gla", "flowformer", "flowformer-bidirectional", "slab"])
@pytest.mark.parametrize("depth", [0, 1])
def test_mixing_matrix_gives_what_the_mixer_mixed(name, depth):
    model, _, cache = _cached(name)
    z = cache[f"blocks.{depth}.mixer.hook_z"].flatten(2)
    assert (_mixed(model, cache, depth) - z).abs().max() < 1e-10 * z.abs().max()


# -- 24 ------------------------------------------------------------------------------------------------------------


def test_works_when_24_gla():
    """Recurrent and parallel forms agree; states are hooked, and what is put into one is what its query reads."""
    q, k, v = _noise(2, N, 3, 4, seed=1), _noise(2, N, 3, 4, seed=2), _noise(2, N, 3, 8, seed=3)
    decay = torch.sigmoid(_noise(2, N, 3, 4, seed=4))
    recurrent = torch.einsum("bthk,bthkd->bthd", q, states(k, v, decay)) / 2
    at_once = torch.einsum("bhtu,buhd->bthd", parallel(*(x.transpose(1, 2) for x in (q, k, decay))), v)
    assert (recurrent - at_once).abs().max() < 1e-10
    model, tokens, cache = _cached("gla")
    name = "blocks.0.mixer.hook_state"
    assert cache[name].shape == (3, N, 4, 4, 8)
    z = torch.einsum("bthk,bthkd->bthd", cache["blocks.0.mixer.hook_q"], cache[name]) / 2
    assert torch.allclose(z, cache["blocks.0.mixer.hook_z"])
    seen = {}
    model.run_with_hooks(tokens, [(name, lambda value, site: value * 0),
                                  ("blocks.0.mixer.hook_z", lambda value, site: seen.update(z=value.clone()))])
    assert not seen["z"].any()


def test_gla_without_decay_is_linear_attention_and_with_full_decay_sees_itself():
    q, k = _noise(1, 2, N, 4, seed=1), _noise(1, 2, N, 4, seed=2)
    assert torch.allclose(parallel(q, k, torch.ones_like(k)), (q @ k.transpose(-1, -2)).tril() / 2)
    alone = parallel(q, k, torch.full_like(k, 1e-30))
    assert torch.allclose(alone, torch.diag_embed((q * k).sum(-1) / 2), atol=1e-12)


@pytest.mark.slow
def test_works_when_24_gla_trains():
    model = build("gla", seed=0, d_vocab=32)
    tokens = repeated(256, torch.Generator().manual_seed(9))
    before = next_token_loss(model, tokens, 12).item()
    train(model, lambda model, generator: next_token_loss(model, repeated(32, generator), 12), 300)
    assert next_token_loss(model, tokens, 12).item() < before - 0.5


# -- 101 -----------------------------------------------------------------------------------------------------------


def _flow_by_hand(q, k, v, causal: bool):
    """The authors' equations token by token, one head of one prompt: q, k [pos, d]."""
    n = len(q)

    def seen(t):  # up to its own position, or all
        return range(t + 1) if causal else range(n)

    def flow(a, t, b):  # mean in the causal form, sum in the other
        total = (a[t] + EPS) @ (sum(b[u] for u in seen(t)) + EPS)
        return total / (t + 1) if causal else total

    inflow = torch.stack([flow(q, t, k) for t in range(n)])
    outflow = torch.stack([flow(k, t, q) for t in range(n)])
    allocation = torch.stack([flow(q, t, k / outflow[:, None]) for t in range(n)]).sigmoid()
    source = torch.stack([flow(k, t, q / inflow[:, None]) for t in range(n)]).clamp(-1, 1).exp()
    competition = torch.stack([source[t] / sum(source[u] for u in seen(t)) * len(seen(t)) for t in range(n)])
    z = torch.zeros_like(v)
    for t in range(n):
        share = inflow[t] * ((t + 1) if causal else 1)
        z[t] = allocation[t] * sum((q[t] @ k[u]) * competition[u] * v[u] for u in seen(t)) / share
    return z, allocation, competition


@pytest.mark.parametrize("causal", [True, False])
def test_works_when_101_flowformer(causal):
    """Linear form, quadratic form (the law above) and the equations by hand agree, in both forms; competition and
    allocation are hooked, and a head whose allocation is taken away writes nothing."""
    name = "flowformer" if causal else "flowformer-bidirectional"
    model, tokens, cache = _cached(name)
    get = lambda point: cache[f"blocks.0.mixer.hook_{point}"]  # noqa: E731
    for b, h in ((0, 0), (2, 3)):
        z, allocation, competition = _flow_by_hand(get("kernel_q")[b, :, h], get("kernel_k")[b, :, h],
                                                   get("v")[b, :, h], causal)
        assert torch.allclose(z, get("z")[b, :, h], atol=1e-10)
        assert torch.allclose(allocation, get("allocation")[b, :, h], atol=1e-10)
        assert torch.allclose(competition, get("competition")[b, :, h], atol=1e-10)
    seen = {}
    for point in ("allocation", "competition"):
        model.run_with_hooks(tokens, [
            (f"blocks.0.mixer.hook_{point}", lambda value, site: value * torch.tensor([0.0, 1, 1, 1])),
            ("blocks.0.mixer.hook_z", lambda value, site: seen.update(z=value.clone()))])
        assert not seen["z"][:, :, 0].any() and torch.allclose(seen["z"][:, :, 1:], get("z")[:, :, 1:])


@pytest.mark.parametrize("causal", [True, False])
def test_linear_and_quadratic_form_of_flow_agree(causal):
    q, k, v = (_noise(2, N, 3, 4, seed=seed) for seed in (1, 2, 3))
    assert (linear(q, k, v, causal) - quadratic(q, k, v, causal)).abs().max() < 1e-12


def test_bidirectional_competition_is_a_distribution_times_n():
    _, _, cache = _cached("flowformer-bidirectional")
    assert torch.allclose(cache["blocks.1.mixer.hook_competition"].sum(1), torch.full((3, 4), float(N)).double())


def test_bidirectional_flow_takes_padding_for_nothing():
    torch.manual_seed(0)
    flow = Flow(replace(FLOWFORMER, **SIZES), causal=False).double()
    x = _noise(2, N, 32)
    real = torch.ones(2, N + 3, dtype=torch.long)
    real[:, :3] = 0
    padded = torch.cat([_noise(2, 3, 32), x], 1)
    alone, beside = flow(x, Context(real[:, 3:])), flow(padded, Context(real, real))
    assert torch.allclose(alone, beside[:, 3:], atol=1e-10)


# -- 45 ------------------------------------------------------------------------------------------------------------


def _prepbn() -> PRepBN:
    norm = PRepBN(32).double()
    with torch.no_grad():
        for i, p in enumerate([*norm.parameters(), norm.mean]):
            p.copy_(_noise(*p.shape, seed=i))
        norm.variance.copy_(_noise(32).exp())
    return norm.eval()


def test_works_when_45_slab():
    """l = 1 is LayerNorm, l = 0 fuses into the next linear map exactly; simplified linear attention is its quadratic
    form with the convolution beside it."""
    norm, x = _prepbn(), _noise(2, N, 32, seed=9)
    layer = torch.nn.functional.layer_norm(x, (32,), norm.weight, norm.bias, 1e-5)
    progress(norm, 0.0)
    assert torch.allclose(norm(x), layer, atol=1e-12)
    linear = torch.nn.Linear(32, 5).double()
    with pytest.raises(BadInput, match="share of 1"):
        fuse(norm, linear)
    progress(norm, 1.0)
    assert (fuse(norm, linear)(x) - linear(norm(x))).abs().max() < 1e-10
    model, _, cache = _cached("slab")
    q, k, v = (cache[f"blocks.0.mixer.hook_{p}"] for p in ("kernel_q", "kernel_k", "v"))
    taps = model.module.blocks[0].mixer.local.weight[:, 0]
    wanted = torch.zeros_like(v)
    for t in range(N):
        weight = torch.einsum("bhk,buhk->bhu", q[:, t], k)
        wanted[:, t] = torch.einsum("bhu,buhd->bhd", weight / (weight.sum(-1, keepdim=True) + 1e-6), v)
        for j in range(5):
            if 0 <= t + j - 2 < N:
                wanted[:, t] += taps[:, j] * v[:, t + j - 2]
    assert torch.allclose(wanted, cache["blocks.0.mixer.hook_z"], atol=1e-10)


def test_prepbn_learns_running_statistics_and_keeps_them_in_eval():
    norm, x = PRepBN(32).double(), 3 + 2 * _noise(64, N, 32)
    with torch.no_grad():
        norm.initialise(0.0, torch.Generator())
    for _ in range(60):
        norm.train()(x)
    progress(norm.eval(), 1.0)
    rows = x.flatten(0, 1)
    assert torch.allclose(norm.mean, rows.mean(0), atol=0.05) and torch.allclose(norm.variance, rows.var(0), rtol=0.05)
    standard = (x - rows.mean(0)) / rows.std(0) + x  # alpha is 1
    assert (norm(x) - standard).abs().max() < 0.1
    assert torch.equal(norm(x[:1]), norm(x)[:1])  # prompts do not meet


def test_progress_is_refused_where_it_means_nothing():
    with pytest.raises(BadInput, match="no PRepBN"):
        progress(build("gpt").module, 0.5)
    with pytest.raises(BadInput, match="from 0 to 1"):
        progress(build("prepbn").module, 1.5)


@pytest.mark.slow
def test_prepbn_trains_through_its_whole_schedule():
    model = build("prepbn", seed=0, d_vocab=32)
    tokens = repeated(256, torch.Generator().manual_seed(9))
    before = next_token_loss(model, tokens, 12).item()
    for done in (0.0, 0.25, 0.5, 0.75, 1.0):
        progress(model.module, done)
        train(model, lambda model, generator: next_token_loss(model, repeated(32, generator), 12), 60)
    assert next_token_loss(model, tokens, 12).item() < before - 0.5


def test_specs_are_what_they_say():
    assert GLA.position is None and GLA.norm is not SLAB.norm is PRepBN
    assert isinstance(build("gla").module.blocks[0].mixer, GatedLinear)
