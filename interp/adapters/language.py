"""Site maps of `transformers` language models: one short function per family, its equation stated.

Each takes the base model (without head) and its config, and returns a `SiteMap` with paths relative to it.
"""

from interp.adapters.attention import REGISTRY
from interp.adapters.declare import Declare
from interp.hooks.roles import Norm
from interp.hooks.sitemap import Add, NormRef, SiteMap
from interp.hooks.tap import Heads, Tap

RMS = Norm(center=False, eps="variance_epsilon")
RMS_PLUS_ONE = Norm(center=False, plus_one=True)


def _start(config, *embeddings: tuple[str, str], **facts) -> SiteMap:
    """A map with its embedding sites; `embeddings` are (kind, path)."""
    m = SiteMap(input_name="input_ids", d_vocab=config.vocab_size, **facts)
    for kind, path in embeddings:
        m.add(kind, Tap(path))
    return m


def _stem(m: SiteMap, *writes: str, norm: NormRef | None = None) -> None:
    m.stem = Add("", writes, "blocks.0.hook_resid_pre", norm)


def _final_norm(m: SiteMap, path: str, role: Norm, stream: str = "") -> None:
    m.roles[path] = role
    m.add(f"{stream}ln_final.hook_scale", Tap(path, "scale"))
    m.add(f"{stream}ln_final.hook_normalized", Tap(path, "normalized"))
    m.final_norm = NormRef(path, role, f"{stream}ln_final.hook_scale")


def gpt2(base, config) -> SiteMap:
    """x += attn(ln1 x); x += mlp(ln2 x). Fused qkv as (part, head, d); Conv1D weights are [in, out]."""
    m = _start(config, ("hook_embed", "wte"), ("hook_pos_embed", "wpe"), causal=True, n_ctx=config.n_positions)
    _stem(m, "hook_embed", "hook_pos_embed")
    heads = config.n_head
    for i in range(config.n_layer):
        d = Declare(m, f"blocks.{i}", f"h.{i}", i)
        d.resid_pre()
        d.norm("ln1", "ln_1")
        q, k, v = (("attn.c_attn", Heads(heads, part, 3)) for part in range(3))
        d.attention("attn", q=q, k=k, v=v, out="attn.c_proj", heads=heads, role=REGISTRY, transposed=True)
        d.site("hook_attn_out", "attn")
        d.after("hook_resid_mid", "attn")
        d.norm("ln2", "ln_2")
        d.mlp(pre="mlp.c_fc", act="mlp.act", out="mlp.c_proj")
        d.site("hook_mlp_out", "mlp")
        d.site("hook_resid_post", "")
        d.pre_norm()
    _final_norm(m, "ln_f", Norm())
    return m


def llama(base, config) -> SiteMap:
    """x += attn(rms x); x += glu(rms x). Rotary positions, grouped queries (Llama, Mistral, Qwen2, SmolLM2 ...)."""
    return _llama_like(config, pre=("input_layernorm", "post_attention_layernorm"), role=RMS)


def gemma2(base, config) -> SiteMap:
    """x += rms(attn(rms x)); x += rms(glu(rms x)). Softcapped scores, scaled embedding, gains stored minus one."""
    return _llama_like(
        config, pre=("input_layernorm", "pre_feedforward_layernorm"),
        post=("post_attention_layernorm", "post_feedforward_layernorm"), role=RMS_PLUS_ONE,
    )


def olmo2(base, config) -> SiteMap:
    """x += rms(attn(x)); x += rms(glu(x)): norms on outputs only, and on whole queries and keys."""
    return _llama_like(config, post=("post_attention_layernorm", "post_feedforward_layernorm"), role=RMS, qk_norm=True)


def _llama_like(config, *, pre=None, post=None, role: Norm, qk_norm: bool = False) -> SiteMap:
    m = _start(config, ("hook_embed", "embed_tokens"), causal=True)
    _stem(m, "hook_embed")
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    for i in range(config.num_hidden_layers):
        d = Declare(m, f"blocks.{i}", f"layers.{i}", i)
        d.resid_pre()
        if pre:
            d.norm("ln1", pre[0], role)
        q, k, v = (f"self_attn.{x}_proj" for x in "qkv")
        if qk_norm:
            for norm in ("self_attn.q_norm", "self_attn.k_norm"):
                d.role(norm, role)
        d.attention("self_attn", q=q, k=k, v=v, out="self_attn.o_proj", heads=heads, kv_heads=kv, rotary=True,
                    role=REGISTRY)
        if post:
            d.norm("ln1_post", post[0], role)
        d.site("hook_attn_out", post[0] if post else "self_attn")
        d.after("hook_resid_mid", post[0] if post else "self_attn")
        if pre:
            d.norm("ln2", pre[1], role)
        d.mlp(pre="mlp.gate_proj", act="mlp.act_fn", linear="mlp.up_proj", out="mlp.down_proj")
        if post:
            d.norm("ln2_post", post[1], role)
        d.site("hook_mlp_out", post[1] if post else "mlp")
        d.site("hook_resid_post", "")
        d.pre_norm()
    _final_norm(m, "norm", role)
    return m


def gpt_neox(base, config) -> SiteMap:
    """x += attn(ln1 x) + mlp(ln2 x) (parallel) or one after the other. Fused qkv as (head, part, d)."""
    m = _start(config, ("hook_embed", "embed_in"), causal=True)
    _stem(m, "hook_embed")
    heads = config.num_attention_heads
    for i in range(config.num_hidden_layers):
        d = Declare(m, f"blocks.{i}", f"layers.{i}", i)
        d.resid_pre()
        d.norm("ln1", "input_layernorm")
        q, k, v = (("attention.query_key_value", Heads(heads, part, 3, interleaved=True)) for part in range(3))
        d.attention("attention", q=q, k=k, v=v, out="attention.dense", heads=heads, rotary=True, role=REGISTRY)
        d.site("hook_attn_out", "attention")
        if not config.use_parallel_residual:
            d.after("hook_resid_mid", "attention")
        d.norm("ln2", "post_attention_layernorm")
        d.mlp(pre="mlp.dense_h_to_4h", act="mlp.act", out="mlp.dense_4h_to_h")
        d.site("hook_mlp_out", "mlp")
        d.site("hook_resid_post", "")
        if config.use_parallel_residual:
            d.done(d.add("hook_resid_pre", ("hook_attn_out", "hook_mlp_out"), "hook_resid_post"))
        else:
            d.pre_norm()
    _final_norm(m, "final_layer_norm", Norm())
    return m


def bert(base, config) -> SiteMap:
    """x = ln(x + attn x); x = ln(x + mlp x): post-norm, embeddings normed as well."""
    m = _start(
        config, ("hook_embed", "embeddings.word_embeddings"), ("hook_pos_embed", "embeddings.position_embeddings"),
        ("hook_token_type_embed", "embeddings.token_type_embeddings"), n_ctx=config.max_position_embeddings,
    )
    m.roles["embeddings.LayerNorm"] = Norm()
    m.add("embed_ln.hook_scale", Tap("embeddings.LayerNorm", "scale"))
    m.add("embed_ln.hook_normalized", Tap("embeddings.LayerNorm", "normalized"))
    _stem(m, "hook_embed", "hook_pos_embed", "hook_token_type_embed",
          norm=NormRef("embeddings.LayerNorm", Norm(), "embed_ln.hook_scale"))
    for i in range(config.num_hidden_layers):
        d = Declare(m, f"blocks.{i}", f"encoder.layer.{i}", i)
        d.resid_pre()
        q, k, v = (f"attention.self.{x}" for x in ("query", "key", "value"))
        d.attention("attention.self", q=q, k=k, v=v, out="attention.output.dense", heads=config.num_attention_heads,
                    role=REGISTRY)
        d.site("hook_attn_out", "attention.output.dense")
        ln1 = d.norm("ln1", "attention.output.LayerNorm")
        d.site("hook_resid_mid", "attention")
        d.mlp(pre="intermediate.dense", act="intermediate.intermediate_act_fn", out="output.dense")
        d.site("hook_mlp_out", "output.dense")
        ln2 = d.norm("ln2", "output.LayerNorm")
        d.site("hook_resid_post", "")
        d.done(
            d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid", ln1),
            d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post", ln2),
        )
    return m


def albert(base, config) -> SiteMap:
    """BERT's equation with shared weights: depth d is visit d of its group's block, embeddings projected up."""
    m = _start(config, ("hook_embed", "encoder.embedding_hidden_mapping_in"), n_ctx=config.max_position_embeddings)
    m.roles["embeddings.LayerNorm"] = Norm()
    _stem(m, "hook_embed")
    visits: dict[str, int] = {}
    depth = 0
    for layer in range(config.num_hidden_layers):
        group = int(layer / (config.num_hidden_layers / config.num_hidden_groups))
        for inner in range(config.inner_group_num):
            path = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}"
            d = Declare(m, f"blocks.{depth}", path, depth, visits.get(path, 0))
            visits[path] = d.visit + 1
            d.resid_pre()
            q, k, v = (f"attention.{x}" for x in ("query", "key", "value"))
            d.attention("attention", q=q, k=k, v=v, out="attention.dense", heads=config.num_attention_heads,
                        role=REGISTRY)
            d.site("hook_attn_out", "attention.dense")
            ln1 = d.norm("ln1", "attention.LayerNorm")
            d.site("hook_resid_mid", "attention")
            d.mlp(pre="ffn", act="activation", out="ffn_output")
            d.site("hook_mlp_out", "ffn_output")
            ln2 = d.norm("ln2", "full_layer_layer_norm")
            d.site("hook_resid_post", "")
            d.done(
                d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid", ln1),
                d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post", ln2),
            )
            depth += 1
    return m


def t5(base, config) -> SiteMap:
    """Encoder and decoder, each x += attn(rms x); [x += cross(rms x)]; x += mlp(rms x). Relative position bias."""
    m = _start(config, ("encoder.hook_embed", "encoder.embed_tokens"))
    streams = [("encoder", config.num_layers)]
    m.stem = Add("", ("encoder.hook_embed",), "encoder.blocks.0.hook_resid_pre")
    if hasattr(base, "decoder"):
        streams.append(("decoder", config.num_decoder_layers))
        m.add("decoder.hook_embed", Tap("decoder.embed_tokens"))
    for stream, n_layers in streams:
        m.roles[f"{stream}.final_layer_norm"] = RMS
        for i in range(n_layers):
            _t5_block(m, config, stream, i)
        _final_norm(m, f"{stream}.final_layer_norm", RMS, f"{stream}.")
    return m


def _t5_block(m: SiteMap, config, stream: str, i: int) -> None:
    d = Declare(m, f"{stream}.blocks.{i}", f"{stream}.block.{i}", i)
    decoder = stream == "decoder"
    d.resid_pre()
    d.norm("ln1", "layer.0.layer_norm", RMS)
    steps = [_t5_attention(d, config, "layer.0.SelfAttention", "attn", "hook_attn_out")]
    d.after("hook_resid_mid", "layer.0.SelfAttention")
    last = "hook_resid_mid"
    if decoder:
        d.norm("ln_cross", "layer.1.layer_norm", RMS)
        _t5_attention(d, config, "layer.1.EncDecAttention", "cross_attn", "hook_cross_attn_out")
        d.after("hook_resid_cross", "layer.1.EncDecAttention", start="hook_resid_mid")
        steps.append(d.add("hook_resid_mid", ("hook_cross_attn_out",), "hook_resid_cross"))
        last = "hook_resid_cross"
    ff = f"layer.{2 if decoder else 1}"
    d.norm("ln2", f"{ff}.layer_norm", RMS)
    gated = config.is_gated_act
    d.mlp(pre=f"{ff}.DenseReluDense.{'wi_0' if gated else 'wi'}", out=f"{ff}.DenseReluDense.wo",
          act=f"{ff}.DenseReluDense.act",
          linear=f"{ff}.DenseReluDense.wi_1" if gated else None)
    d.site("hook_mlp_out", f"{ff}.DenseReluDense")
    d.site("hook_resid_post", "")
    d.done(*steps, d.add(last, ("hook_mlp_out",), "hook_resid_post"))


def _t5_attention(d: Declare, config, path: str, kind: str, write: str) -> Add:
    q, k, v = (f"{path}.{x}" for x in "qkv")
    d.attention(path, q=q, k=k, v=v, out=f"{path}.o", heads=config.num_heads, role=REGISTRY, kind=kind)
    d.site(write, path)
    return d.add("hook_resid_pre", (write,), "hook_resid_mid")
