"""What must be true of ladder, GTrXL, three-phase and dual-stream models, by their numbers in the seed list."""

import pytest
import torch
from torch import nn

import interp
from interp.architectures import build
from interp.parts.gru_gate import GruGate
from interp.parts.head_mix import HeadMix
from interp.parts.phases import Horn, Turn
from tests.architectures.training import train

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=24)


def _tokens(n_pos: int = 11) -> torch.Tensor:
    return torch.randint(0, 50, (3, n_pos), generator=torch.Generator().manual_seed(3))


def _shaken(name: str, size: float = 0.2, **sizes):
    model = build(name, seed=0, **sizes).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(size * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def _cache(model, x=None):
    return model.run_with_cache(_tokens() if x is None else x)[1]


# -- 90 Ladder residual ----------------------------------------------------------------------------------------------


def test_works_when_90_ladder_has_no_edge_to_the_next_branch():
    """Ablating branch k changes what branch k + 2 reads and, with k + 1 held, nothing of k + 1."""
    model = _shaken("ladder", **SIZES)
    clean = _cache(model)
    branches = [f"blocks.{d}.hook_{branch}_out" for d in range(3) for branch in ("attn", "mlp")]
    for k, branch in enumerate(branches[:-1]):
        with model.edit(interp.Ablate(branch)):
            cut = _cache(model)
        assert torch.equal(cut[branches[k + 1]], clean[branches[k + 1]])
        for later in branches[k + 2:]:
            assert (cut[later] - clean[later]).abs().max() > 1e-3


def test_works_when_90_ladder_stream_is_the_sum_of_all_outputs():
    model = _shaken("ladder", **SIZES)
    cache = _cache(model)
    total = cache["hook_embed"] + cache["hook_pos_embed"]
    total = total + sum(cache[f"blocks.{d}.hook_{branch}_out"] for d in range(3) for branch in ("attn", "mlp"))
    assert torch.allclose(total, cache["blocks.2.hook_resid_post"], atol=1e-10)


def test_ladder_reads_are_those_of_the_definition():
    """Branch k reads the sum of all writes before branch k - 1, from the weights by hand."""
    model = _shaken("ladder", **SIZES)
    cache = _cache(model)
    streams = [cache["hook_embed"] + cache["hook_pos_embed"]]
    for d in range(3):
        for branch in ("attn", "mlp"):
            streams.append(streams[-1] + cache[f"blocks.{d}.hook_{branch}_out"])
    for k in range(6):
        norm = ("ln1", "ln2")[k % 2]
        read = streams[max(k - 1, 0)]
        wanted = nn.functional.layer_norm(read, read.shape[-1:], eps=1e-5)
        assert torch.allclose(wanted, cache[f"blocks.{k // 2}.{norm}.hook_normalized"], atol=1e-10)


def test_a_ladder_of_one_block_is_the_parallel_model():
    """With one block nothing is late: the model is the parallel one."""
    sizes = SIZES | {"n_layers": 1}
    ladder, parallel = _shaken("ladder", **sizes), _shaken("parallel", **sizes)
    parallel.module.load_state_dict(ladder.state_dict())
    with torch.no_grad():
        assert torch.allclose(ladder(_tokens()), parallel(_tokens()), atol=1e-10)


# -- 167 GTrXL -------------------------------------------------------------------------------------------------------


def test_works_when_167_gtrxl_is_the_identity_at_a_high_bias():
    model = build("gtrxl", seed=0, **SIZES)
    with torch.no_grad():
        for gate in (part for part in model.module.modules() if isinstance(part, GruGate)):
            gate.keep.fill_(30.0)
    cache = _cache(model)
    start, end = cache["blocks.0.hook_resid_pre"], cache["blocks.2.hook_resid_post"]
    assert (start - end).abs().max() <= 1e-6 * start.abs().max()


def test_works_when_167_gtrxl_gates_are_hooked():
    model = _shaken("gtrxl", **SIZES)
    cache = _cache(model)
    for gate in ("reset", "update"):
        value = cache[f"blocks.1.attn_gate.hook_{gate}"]
        assert 0 < value.min() and value.max() < 1 and value.std() > 0.01
    with model.edit(interp.Ablate("blocks.1.mlp_gate.hook_update")):
        closed = _cache(model)
    assert torch.equal(closed["blocks.1.hook_resid_post"], closed["blocks.1.hook_resid_mid"])


def test_gru_gate_equals_torchs_gru_cell():
    """A GRU cell with the stream as its state, the branch as its input and z for 1 - z; its reset acts after U_h."""
    gate = GruGate(6).double()
    cell = nn.GRUCell(6, 6).double()
    x, y = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        reset, update, candidate = gate.of_branch.weight.chunk(3)
        cell.weight_ih.copy_(torch.cat([reset, -update, candidate]))
        cell.weight_hh[:12].copy_(torch.cat([gate.of_stream.weight[:6], -gate.of_stream.weight[6:]]))
        cell.bias_ih[6:12].copy_(gate.keep)
        gate.of_reset.weight.zero_()  # where the two differ in order
        assert torch.allclose(gate(x, y), cell(y, x), atol=1e-12)


def test_gtrxl_equals_segments_one_after_another_with_memory():
    """Transformer-XL's recurrence by hand: every layer attends to its own inputs of the segment before."""
    model = _shaken("gtrxl", **SIZES)
    module, tokens = model.module, _tokens(24)
    with torch.no_grad():
        whole, outs = model(tokens), []
        memory: list = [None] * len(module.blocks)
        for s in range(3):
            x = module.embed(tokens[:, 8 * s: 8 * s + 8])
            for depth, block in enumerate(module.blocks):
                seen = x if memory[depth] is None else torch.cat([memory[depth], x], 1)
                memory[depth] = x
                y = _attend(block.attn, block.ln1(seen), len(x[0]), 8 * s)
                x = block.attn_gate(x, y.relu())
                x = block.mlp_gate(x, block.mlp(block.ln2(x)).relu())
            outs.append(module.unembed(module.ln_final(x)))
    assert torch.allclose(torch.cat(outs, 1), whole, atol=1e-10)


def _attend(attn, seen, n, start):
    """Attention of the last n of `seen`, whose places end at start + n."""
    place = torch.arange(start + n - seen.shape[1], start + n)[None]
    q, k, v = (part(seen).unflatten(-1, (4, -1)).transpose(1, 2) for part in (attn.q, attn.k, attn.v))
    q, k = attn.rotary(q, place)[:, :, -n:], attn.rotary(k, place)
    scores = q @ k.transpose(-1, -2) / 8**0.5
    hidden = place[0] > place[0, -n:, None]
    z = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
    return attn.o(z.transpose(1, 2).flatten(2))


@pytest.mark.slow
def test_works_when_167_gtrxl_solves_a_task_of_memory():
    """Name the first token after 15 others, two segments of 8 later: only memory can."""
    def loss(model, generator, n=64):
        tokens = torch.randint(8, 16, (n, 16), generator=generator)
        tokens[:, 0] = torch.randint(0, 8, (n,), generator=generator)
        tokens[:, -1] = 16
        return nn.functional.cross_entropy(model(tokens)[:, -1], tokens[:, 0])

    model = build("gtrxl", seed=0, d_model=32, n_layers=2, n_heads=4, d_vocab=17, n_ctx=16)
    train(model, loss, 300)
    with torch.no_grad():
        assert loss(model, torch.Generator().manual_seed(7), 256) < 0.1  # nats; guessing costs 2.08


# -- 193 Three-phase -------------------------------------------------------------------------------------------------


def test_works_when_193_three_phase_rotation_keeps_the_norm():
    model = _shaken("three-phase", n_layers=3, d_vocab=50)
    cache = _cache(model)
    for d in range(3):
        before, after = cache[f"blocks.{d}.hook_resid_mid"], cache[f"blocks.{d}.hook_resid_turned"]
        assert torch.allclose(before.norm(dim=-1), after.norm(dim=-1), atol=1e-10)
        assert (before - after).abs().max() > 0.1


def test_works_when_193_three_phase_dc_is_orthogonal_to_the_channels():
    """The horn lies in the shared direction u wholly; channels are what the stream is without u."""
    horn = Horn(24, 48)(torch.arange(24)[None])
    u = torch.full((48,), 48**-0.5)
    assert torch.allclose(horn @ u, 1 / torch.arange(1.0, 25.0)[None], atol=1e-6)
    assert (horn - (horn @ u)[..., None] * u).abs().max() < 1e-6
    stream = _cache(_shaken("three-phase", d_vocab=50))["blocks.0.hook_resid_pre"]
    channels = stream - stream.mean(-1, keepdim=True)
    assert (channels @ u.double()).abs().max() < 1e-10 < stream.mean(-1).abs().max()


def test_works_when_193_three_phase_angles_step_by_a_third_of_a_turn():
    """The angles of every depth are read off the module: [phase, pair], for whoever plots their drift."""
    model = _shaken("three-phase", n_layers=3, d_vocab=50)
    angles = torch.stack([block.turn.angles for block in model.module.blocks])
    assert angles.shape == (3, 3, 8)
    assert torch.allclose(angles[:, 1:] - angles[:, :-1], torch.full((3, 2, 8), 2 * torch.pi / 3).double())
    three = nn.Sequential(*[Turn(12, 3).double() for _ in range(3)])  # theta = 0: three turns of i/3 are i whole ones
    x = torch.randn(2, 4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(three(x), x, atol=1e-12)


def test_one_phase_without_angle_is_a_llama_with_a_horn():
    sizes = dict(n_layers=2, d_vocab=50)
    one = build("three-phase", seed=0, n_phases=1, d_phase=32, heads_per_phase=4, **sizes)
    llama = build("llama", seed=0, d_model=32, n_heads=4, n_kv_heads=4, **sizes)
    state = {key: value for key, value in one.state_dict().items() if "turn" not in key}
    llama.module.load_state_dict(state)
    with torch.no_grad():
        for block in one.module.blocks:
            block.turn.theta.zero_()
        horn = Horn(24, 32)(torch.arange(11)[None])
        wanted = llama.run_with_hooks(_tokens(), [("hook_embed", lambda value, site: value + horn)])
        assert (one(_tokens()) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


# -- 203 Dual-stream -------------------------------------------------------------------------------------------------


def test_works_when_203_dual_stream_token_part_is_attentions_alone():
    """At the depth of an ablated MLP the token stream stays; attention alone writes to it, MLPs alone to the other."""
    model = _shaken("dual-stream", **SIZES)
    clean = _cache(model)
    for d in range(3):
        with model.edit(interp.Ablate(f"context.blocks.{d}.hook_mlp_out")):
            cut = _cache(model)
        assert torch.equal(cut[f"token.blocks.{d}.hook_resid_post"], clean[f"token.blocks.{d}.hook_resid_post"])
        assert not torch.equal(cut["output"], clean["output"])
    writers = {stream: set(model.contributions(clean, stream=stream)) for stream in ("token", "context")}
    assert writers["token"] == {"embed", *(f"token.blocks.{d}.attn_out" for d in range(3))}
    assert writers["context"] == {"embed", *(f"context.blocks.{d}.mlp_out" for d in range(3))}
    assert not clean["context.blocks.0.hook_resid_pre"].any()


def test_works_when_203_dual_stream_kronecker_with_free_blocks_is_dense():
    """[M_ij B_ij] with B free is every matrix; with B = 1 it is the Kronecker product; the diagonal is independent."""
    dense, kronecker, independent = (HeadMix(4, 8, mixing).double() for mixing in (
        "dense", "kronecker", "independent"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for mix in (dense, kronecker, independent):
            mix.initialise(1.0, generator)
        assert torch.equal(kronecker.weight, torch.kron(kronecker.blocks, torch.eye(8).double()))
        assert torch.equal(independent.weight, torch.block_diag(*independent.blocks))
        matrix = torch.randn(32, 32, generator=generator).double()
        for other in (matrix, kronecker.weight, independent.weight):
            dense.blocks.copy_(other.unflatten(0, (4, 8)).unflatten(2, (4, 8)).transpose(1, 2))
            assert torch.equal(dense.weight, other)


def test_dual_stream_with_its_sum_in_one_stream_is_gpt():
    """Reads are of the sum, so with dense mixing the sum is the stream of a GPT with rotary positions."""
    dual = _shaken("dual-stream-dense", **SIZES)
    gpt = build("rotary", seed=0, **SIZES).to(torch.float64)
    state = gpt.state_dict()
    for key in state:
        _, d, inside = key.split(".", 2) if key.startswith("blocks") else ("", "", "")
        path = f"{'token' if inside.startswith(('ln1', 'attn')) else 'context'}_blocks.{d}.{inside}" if inside else key
        path, _, name = path.rpartition(".")
        value = getattr(dual.module.get_submodule(path), name)  # HeadMix computes its weight, and has no bias
        state[key] = torch.zeros_like(state[key]) if value is None else value.detach()
    gpt.module.unembed.weight = nn.Parameter(state["unembed.weight"].clone())
    gpt.module.load_state_dict(state)
    with torch.no_grad():
        assert torch.allclose(dual(_tokens()), gpt(_tokens()), atol=1e-10)


def test_works_when_203_dual_stream_amplified_attention():
    """Sweep of factors on the scores: 1 changes nothing, more sharpens every row towards one key."""
    model = _shaken("dual-stream", 0.3, **SIZES)
    plain, peaks = _cache(model)["output"], []
    for factor in (1.0, 2.0, 4.0, 16.0):
        def amplify(value, site, factor=factor):
            return torch.where(value > -1e30, value * factor, value)

        with model.firing([(site.name, amplify) for site in model.sites("token.*.attn.hook_attn_scores")]):
            cache = _cache(model)
        peaks.append(float(cache["token.blocks.0.attn.hook_pattern"].amax(-1).mean()))
        assert torch.isfinite(cache["output"]).all()
        assert torch.equal(cache["output"], plain) == (factor == 1.0)
    assert peaks == sorted(peaks) and peaks[-1] > 1.2 * peaks[0]
