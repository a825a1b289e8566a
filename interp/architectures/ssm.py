"""State-space models of `transformers` (no second implementation: site maps over its modules), and LMUFormer.

    mamba          x += W (y * silu(z)),  y_t = C_t h_t + D x_t,  h_t = exp(dt_t A) h_t-1 + dt_t B_t x_t
    mamba2-hybrid  one branch a block by a pattern: Mamba-2 (M), attention (*), MLP (-); no positions
    lmuformer      x += lmu x;  x += mlp x     batch norms inside the branches, none of the stream, no positions

None knows how long a prompt is at most. LMUFormer embeds tokens, where the paper convolves frames of sound; its spiking
variant is not here. What the sizes do not say follows from them: an inner width of twice d_model, Mamba-2 heads of 8.
"""

from collections.abc import Callable

import torch

from interp.adapters.transformers import hook, library
from interp.architectures.entry import Entry, member
from interp.architectures.real_library import RealLibrary, hook_library
from interp.hooks.model import HookedModel
from interp.parts.block import Sublayer
from interp.parts.lmu import BatchNormMlp, Lmu
from interp.parts.real_model import REALS, RealModel, real_sizes
from interp.parts.spec import Spec
from interp.results.errors import BadInput

Rows = list[tuple[str, str]]
PATTERN = "M-*-M-M-"  # half of it MLPs and one attention in eight; the paper's 56 blocks have one in fourteen


def _library_model(kind: str, config: dict, seed: int, name: str, reals: tuple[int, int] | None = None) -> HookedModel:
    """A model of transformers from a config, its weights drawn from the seed alone; of numbers where `reals` says their
    widths."""
    transformers = library()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = getattr(transformers, f"{kind}Config")(**config)
        if reals is not None:
            return hook_library(getattr(transformers, f"{kind}Model")(own).eval(), reals, seed, name)
        return hook(getattr(transformers, f"{kind}ForCausalLM")(own).eval(), name=name)


def hybrid(pattern: str, *, seed: int = 0, **sizes: int) -> HookedModel:
    """A hybrid with one block for each letter of `pattern`: M Mamba-2, * attention, - MLP.

    `sizes` are those of "mamba2-hybrid" but n_layers. Raises BadInput for other letters, or sizes that do not fit.
    """
    if not pattern or set(pattern) - set("M*-"):
        raise BadInput(f"{pattern!r} is no pattern; write one letter a block: M (Mamba-2), * (attention), - (MLP)")
    sizes = {size: value for size, value in HYBRID_SIZES.items() if size != "n_layers"} | sizes
    return _library_model("NemotronH", _hybrid_config(pattern, **sizes), seed, f"hybrid {pattern}")


def _mamba_config(d_model: int, n_layers: int, d_state: int, d_vocab: int) -> dict:
    return {"hidden_size": d_model, "num_hidden_layers": n_layers, "state_size": d_state, "vocab_size": d_vocab,
            "residual_in_fp32": False, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}


HYBRID_SIZES = {"d_model": 64, "n_layers": 8, "n_heads": 4, "d_state": 8, "d_mlp": 256, "d_vocab": 128}


def _hybrid_config(pattern: str, d_model: int, n_heads: int, d_state: int, d_mlp: int, d_vocab: int) -> dict:
    if d_model % 8 or d_model % n_heads:
        raise BadInput(f"d_model {d_model} is no multiple of 8 (two groups of Mamba-2 heads) and of n_heads {n_heads}")
    return {"hidden_size": d_model, "hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern),
            "num_attention_heads": n_heads, "num_key_value_heads": n_heads, "head_dim": d_model // n_heads,
            "mamba_num_heads": d_model // 4, "mamba_head_dim": 8, "n_groups": 2, "ssm_state_size": d_state,
            "intermediate_size": d_mlp, "vocab_size": d_vocab, "chunk_size": 16}


def _evenly(n_layers: int, **sizes: int) -> dict:
    return _hybrid_config((PATTERN * n_layers)[:n_layers], **sizes)


_MAMBA: Rows = [
    ("z, x = u W_in", "ssm.hook_z"),
    ("x = silu(conv(x)), the last 4 tokens channel by channel", "ssm.hook_x"),
    ("dt, B, C = softplus(x W_dt + b), x W_B, x W_C", "ssm.hook_dt|B|C"),
]
_MAMBA2: Rows = [
    ("z, x, B, C, dt = u W_in", "ssm.hook_z"),
    ("x, B, C = silu(conv(x, B, C)), the last 4 tokens channel by channel", "ssm.hook_x|B|C"),
    ("dt = softplus(dt + b), one a head of 8 channels", "ssm.hook_dt"),
]
_SCAN: Rows = [
    ("h_t = exp(dt_t A) h_t-1 + dt_t B_t x_t, A < 0", "ssm.hook_state"),
    ("y_t = C_t h_t + D x_t", "ssm.hook_y"),
]
_STEM: Rows = [("x = E[tokens]", "hook_embed")]
_BLOCK: Rows = [("  resid_pre = x", "hook_resid_pre"), ("  u = ln1(resid_pre)", "ln1.hook_scale|hook_normalized")]
_END: Rows = [
    ("x = ln_final(x)", "ln_final.hook_scale|hook_normalized"), ("logits = x W_U", "output"),
    ("where ln1(x) = x / sqrt(mean x^2 + 1e-05) * w", ""),
]


def _whole(model: HookedModel, rows: Rows) -> Rows:
    """The rows between those of input and output, which are tokens or numbers."""
    if isinstance(model.module, RealLibrary):
        first, last = RealModel.ends
        return [(first, "hook_embed"), *rows, _END[0], (last, "output"), *_END[2:]]
    return [*_STEM, *rows, *_END]


def _mamba_rows(model: HookedModel) -> Rows:
    return _whole(model, [
        (f"for d = 0 .. {model.n_layers - 1}:", ""), *_BLOCK, *_inside(_MAMBA + _SCAN),
        ("  mixer_out = (y * silu(z)) W_out", "hook_mixer_out"), ("  resid_post = x + mixer_out", "hook_resid_post"),
    ])


def _hybrid_rows(model: HookedModel) -> Rows:
    config = getattr(model.module, "base", model.module).config
    word = {"linear_attention": "M", "full_attention": "*", "mlp": "-"}
    pattern = "".join(word[kind] for kind in config.layers_block_type)
    dh = config.head_dim
    rows = [(f"for d, kind in {pattern}:", ""), *_BLOCK,
            ("  kind M, Mamba-2:", ""), *_inside(_MAMBA2 + _SCAN, 4),
            ("    mixer_out = rms(y * silu(z)) W_out, rms in 2 groups", "hook_mixer_out"),
            ("  kind *, attention:", ""),
            ("    q_h, k_h, v_h = u W_q, u W_k, u W_v", "attn.hook_q|k|v"),
            (f"    s_h = q_h k_h^T / sqrt({dh}), key <= query", "attn.hook_attn_scores"),
            ("    A_h = softmax(s_h)", "attn.hook_pattern"), ("    z_h = A_h v_h", "attn.hook_z"),
            ("    attn_out = sum_h z_h W_o,h", "attn.hook_result, hook_attn_out")]
    if "-" in pattern:
        rows += [("  kind -, MLP:", ""), ("    pre = u W_up", "mlp.hook_pre"),
                 ("    post = relu(pre)^2", "mlp.hook_post"), ("    mlp_out = post W_down", "hook_mlp_out")]
    return _whole(model, [*rows, ("  resid_post = x + what its kind wrote", "hook_resid_post")])


def _inside(rows: Rows, spaces: int = 2) -> Rows:
    return [(" " * spaces + equation, sites) for equation, sites in rows]


def _member(name: str, title: str, kind: str, config: Callable[..., dict], rows, sizes: dict, **facts) -> Entry:
    sizes = sizes | dict.fromkeys(REALS)

    def make(*, seed: int, **given: int | None) -> HookedModel:
        chosen = sizes | given
        reals = real_sizes(chosen)
        own = {size: value for size, value in chosen.items() if size not in REALS}
        for size, value in own.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadInput(f"{size} is {value!r}; a whole number of at least 1 is needed")
        model = _library_model(kind, config(**own), seed, name, reals)
        model.recipe = {"source": "catalog", "name": name, "sizes": chosen}
        return model

    return Entry(name=name, title=title, family="ssm", kind="language model", make=make, sizes=sizes, equations=rows,
                 **facts)


LMUFORMER = Spec(
    block=(Sublayer(name="mixer", op=Lmu, writes="resid_mid"),
           Sublayer(name="mlp", op=BatchNormMlp, reads="resid_mid")),
    norm=None, position=None,
)

MEMBERS: tuple[Entry, ...] = (
    _member("mamba", "selective state-space model, one branch a block", "Mamba", _mamba_config, _mamba_rows,
            {"d_model": 64, "n_layers": 2, "d_state": 8, "d_vocab": 128}, paper=62,
            citation="Gu & Dao 2023, Mamba, arXiv 2312.00752"),
    _member("mamba2-hybrid", "Mamba-2 with a few attention and MLP blocks", "NemotronH", _evenly, _hybrid_rows,
            HYBRID_SIZES, paper=97,
            citation="Waleffe et al. 2024, An empirical study of Mamba-based language models, arXiv 2406.07887"),
    member("lmuformer", "fixed Legendre memories between batch-normed layers", LMUFORMER, family="ssm", paper=26,
           citation="Liu et al. 2024, LMUFormer: low complexity yet powerful spiking model, arXiv 2402.04882"),
)
