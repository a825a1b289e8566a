"""What each state-space model of the catalog must do for its paper to be told right (`works_when` of seeds.tsv)."""

import pytest
import torch

from interp.architectures import build
from interp.architectures.ssm import hybrid
from interp.hooks import Ablate, Patch
from interp.lens import logit_lens
from interp.parts.lmu import by_fft, impulse, reconstruct, recurrent, system, toeplitz
from interp.results.errors import BadInput

TOKENS = torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(1))
SIZES = dict(d_model=32, d_state=4, d_vocab=50)


def _noise(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- 62 ------------------------------------------------------------------------------------------------------------


def test_works_when_62_mamba():
    """dt, B, C and the state are hooked and make the library's own output; the implicit matrix reproduces it; the
    logit lens ends in the logits."""
    model = build("mamba", seed=0, n_layers=2, **SIZES)
    names = [site.name for site in model.sites()]
    out, cache = model.run_with_cache(TOKENS, names)
    with torch.no_grad():
        own = model.module(TOKENS).logits
    assert (out - own).abs().max() < 1e-5 * own.abs().max()
    for depth in range(2):
        get = lambda point: cache[f"blocks.{depth}.ssm.hook_{point}"]  # noqa: E731, B023
        mixer = model.module.backbone.layers[depth].mixer
        state = torch.zeros(3, 64, 4)
        for t in range(11):
            decay = torch.exp(-get("dt")[:, t, :, None] * mixer.A_log.exp())
            state = decay * state + (get("dt") * get("x"))[:, t, :, None] * get("B")[:, t, None]
            assert torch.allclose(get("state")[:, t], state, atol=1e-6)
            y = (state * get("C")[:, t, None]).sum(-1) + mixer.D * get("x")[:, t]
            assert torch.allclose(get("y")[:, t], y, atol=1e-6)
        mixed = torch.einsum("bcqk,bkc->bqc", model.mixing_matrix(cache, depth), get("x"))
        gated = mixed * torch.nn.functional.silu(get("z"))
        write = mixer.out_proj(gated)
        assert torch.allclose(write, cache[f"blocks.{depth}.hook_mixer_out"], atol=1e-6)
    lens = logit_lens(model, TOKENS, None)
    first = model.module.lm_head(model.module.backbone.norm_f(cache["blocks.0.hook_resid_post"])).log_softmax(-1)
    p, last = first.exp(), out.log_softmax(-1)
    kl = lens.values["kl"][lens.sites.index("blocks.0.hook_resid_post")]
    assert torch.allclose(kl, (p * (first - last)).sum(-1), atol=1e-5) and kl.max() > 1e-5
    assert (lens.values["kl"][-1] == 0).all()


def test_a_patched_state_is_what_its_position_reads():
    model = build("mamba", seed=0, n_layers=1, **SIZES)
    seen = {}
    model.run_with_hooks(TOKENS, [
        ("blocks.0.ssm.hook_state", lambda value, site: torch.zeros_like(value)),
        ("blocks.0.ssm.hook_y", lambda value, site: seen.update(y=value.clone())),
        ("blocks.0.ssm.hook_x", lambda value, site: seen.update(x=value.clone()))])
    assert torch.allclose(seen["y"], model.module.backbone.layers[0].mixer.D * seen["x"])


# -- 97 ------------------------------------------------------------------------------------------------------------


def test_works_when_97_mamba2_hybrid():
    """A pattern of M, * and - builds, each letter with its own sites. That copying needs the attention is the
    slow test below."""
    model = hybrid("M*-M", **SIZES)
    kinds = [{site.kind for site in model.sites(f"blocks.{d}.*")} for d in range(4)]
    assert [("ssm.hook_y" in k, "attn.hook_pattern" in k, "mlp.hook_post" in k) for k in kinds] == [
        (True, False, False), (False, True, False), (False, False, True), (True, False, False)]
    assert [k & {"hook_mixer_out", "hook_attn_out", "hook_mlp_out"} for k in kinds] == [
        {"hook_mixer_out"}, {"hook_attn_out"}, {"hook_mlp_out"}, {"hook_mixer_out"}]
    with torch.no_grad():
        assert torch.allclose(model(TOKENS), model.module(TOKENS).logits, atol=1e-6)
    counts = build("mamba2-hybrid", n_layers=16).module.config.layers_block_type
    assert counts.count("mlp") == 8 and counts.count("full_attention") == 2
    with pytest.raises(BadInput, match="is no pattern"):
        hybrid("MxM")


@pytest.mark.slow
def test_works_when_97_mamba2_hybrid_copying_needs_the_attention():
    """A list of 8 to 16 words that is read again; each next word must be copied from the first reading. (A phonebook of
    names and numbers asks for one word in many, and takes longer to learn than a test may.)"""
    model = hybrid("M*", seed=0, d_model=64, d_state=1, n_heads=2, d_vocab=24)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0 if p.dim() == 2 else 1.0)  # at the library's deviation of 0.02 the start takes long
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(130):
        words, again = _lists(generator, 32)
        loss = torch.nn.functional.cross_entropy(model(words)[:, :-1][again], words[:, 1:][again])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    words, again = _lists(torch.Generator().manual_seed(9), 256)

    def accuracy() -> float:
        with torch.no_grad():
            return (model(words)[:, :-1].argmax(-1) == words[:, 1:])[again].float().mean().item()

    assert accuracy() > 0.9
    with model.edit(Ablate("blocks.1.hook_attn_out")):
        assert accuracy() < 0.2  # 1 of 24 by chance


def _lists(generator: torch.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[n, 32]: lists without repetition, over and over; and where the next word has been read before."""
    words = torch.rand(n, 24, generator=generator).argsort(1)
    length = torch.randint(8, 17, (n, 1), generator=generator)
    place = torch.arange(32)
    return words.gather(1, place % length), place[:-1] >= length


# -- 26 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 40])
def test_works_when_26_lmuformer(n):
    """Recurrent, FFT and Toeplitz forwards agree. That the memory gives its window back are the next two tests."""
    u = _noise(2, n)
    step_by_step = recurrent(u, 8, 16.0)
    assert (by_fft(u, 8, 16.0) - step_by_step).abs().max() < 1e-10
    assert (torch.einsum("qko,bk->bqo", toeplitz(8, 16.0, n), u) - step_by_step).abs().max() < 1e-10


def test_works_when_26_lmuformer_memory_holds_its_window():
    order, window, n = 12, 64, 200
    wave = 1 + torch.sin(2 * torch.pi * torch.arange(n, dtype=torch.float64) / 50)
    m = recurrent(wave[None], order, float(window))[0, -1]
    ages = torch.arange(2, window - 2)
    back = reconstruct(m, (ages.double() + 0.5) / window)  # the middle of the step that each u is held for
    assert (back - wave[n - 1 - ages]).abs().max() < 0.02


def test_works_when_26_lmuformer_memory_site_gives_its_window_back():
    """A model's own sites: a wave put in at `hook_u` is read off `hook_memory` at its last token, at every age."""
    n = 16
    model = build("lmuformer", seed=0, d_model=32, d_vocab=50, n_ctx=n).to(torch.float64)
    wave = 1 + torch.sin(2 * torch.pi * torch.arange(n, dtype=torch.float64) / n)
    with model.edit(Patch("blocks.0.mixer.hook_u", wave[:, None])):
        memory = model.run_with_cache(torch.zeros(1, n, dtype=torch.long))[1]["blocks.0.mixer.hook_memory"]
    ages = torch.arange(2, n - 2)
    back = reconstruct(memory[0, -1], (ages.double() + 0.5) / n)
    assert (back - wave[n - 1 - ages]).abs().max() < 0.05 < wave.std()


def test_memory_site_is_the_recurrence_of_the_u_site():
    model = build("lmuformer", seed=0, d_model=32, d_vocab=50, n_ctx=16).to(torch.float64)
    cache = model.run_with_cache(TOKENS)[1]
    for depth in range(2):
        u, memory = (cache[f"blocks.{depth}.mixer.hook_{point}"] for point in ("u", "memory"))
        assert u.min() == 0 and u.max() > 0
        assert (recurrent(u[..., 0], 8, 16.0) - memory).abs().max() < 1e-12
        mixed = torch.einsum("boqk,bk->bqo", model.mixing_matrix(cache, depth), u[..., 0])
        assert (mixed - memory).abs().max() < 1e-12


def test_discrete_memory_is_exact_for_held_inputs():
    """Against a fine Euler integration of m' = (a m + b u) / window, one unit of time, u = 1."""
    A, B = system(4, 8.0)
    i = torch.arange(4, dtype=torch.float64)
    sign = torch.tensor([[-1.0 if r < c else (-1.0) ** (r - c + 1) for c in range(4)] for r in range(4)]).double()
    a, b = (2 * i[:, None] + 1) * sign / 8, (2 * i + 1) * (-1.0) ** i / 8
    start = _noise(4)
    m = start.clone()
    for _ in range(20000):
        m = m + (a @ m + b) / 20000
    assert torch.allclose(A @ start + B, m, atol=1e-3)
    assert torch.allclose(impulse(4, 8.0, 3)[2], A @ A @ B)
