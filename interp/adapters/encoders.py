"""Site maps of further `transformers` encoders: relatives of BERT, and CLIP's image tower."""

from interp.adapters.attention import REGISTRY
from interp.adapters.declare import Declare
from interp.adapters.language import _start, _stem, bert
from interp.hooks.roles import Norm
from interp.hooks.sitemap import Add, NormRef, SiteMap
from interp.hooks.tap import Tap


def roberta(base, config) -> SiteMap:
    """BERT's equation; positions are counted from behind the padding id, so the context is that much shorter."""
    m = bert(base, config)
    m.n_ctx = config.max_position_embeddings - config.pad_token_id - 1
    return m


def electra(base, config) -> SiteMap:
    """BERT's equation; narrow embeddings are normed and then projected up, which is where the stream begins."""
    m = bert(base, config)
    if hasattr(base, "embeddings_project"):
        for kind in ("hook_embed", "hook_pos_embed", "hook_token_type_embed"):
            del m.sites[kind]
        m.sites = _first("hook_embed", Tap("embeddings_project")) | m.sites
        m.stem = Add("", ("hook_embed",), "blocks.0.hook_resid_pre")
    return m


def _first(name: str, tap: Tap):
    start = SiteMap()
    start.add(name, tap)
    return start.sites


def distilbert(base, config) -> SiteMap:
    """x = ln(x + attn x); x = ln(x + mlp x): BERT without segments."""
    embeddings = (("hook_embed", "embeddings.word_embeddings"), ("hook_pos_embed", "embeddings.position_embeddings"))
    m = _start(config, *embeddings, n_ctx=config.max_position_embeddings)
    m.roles["embeddings.LayerNorm"] = Norm()
    for point in ("scale", "normalized"):
        m.add(f"embed_ln.hook_{point}", Tap("embeddings.LayerNorm", point))
    norm = NormRef("embeddings.LayerNorm", Norm(), "embed_ln.hook_scale")
    _stem(m, "hook_embed", "hook_pos_embed", norm=norm)
    for i in range(config.n_layers):
        d = Declare(m, f"blocks.{i}", f"transformer.layer.{i}", i)
        d.resid_pre()
        q, k, v = (f"attention.{x}_lin" for x in "qkv")
        d.attention("attention", q=q, k=k, v=v, out="attention.out_lin", heads=config.n_heads, role=REGISTRY)
        d.site("hook_attn_out", "attention")
        ln1 = d.norm("ln1", "sa_layer_norm")
        d.site("hook_resid_mid", "sa_layer_norm")
        d.mlp(pre="ffn.lin1", act="ffn.activation", out="ffn.lin2")
        d.site("hook_mlp_out", "ffn")
        ln2 = d.norm("ln2", "output_layer_norm")
        d.site("hook_resid_post", "")
        d.done(
            d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid", ln1),
            d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post", ln2),
        )
    return m


def clip_vision(base, config) -> SiteMap:
    """x += attn(ln1 x); x += mlp(ln2 x) behind a norm of the embeddings, which is where the stream begins."""
    m = SiteMap(input_name="pixel_values")
    m.add("hook_embed", Tap("pre_layrnorm"))
    _stem(m, "hook_embed")
    for i in range(config.num_hidden_layers):
        d = Declare(m, f"blocks.{i}", f"encoder.layers.{i}", i)
        d.resid_pre()
        d.norm("ln1", "layer_norm1")
        q, k, v = (f"self_attn.{x}_proj" for x in "qkv")
        d.attention("self_attn", q=q, k=k, v=v, out="self_attn.out_proj", heads=config.num_attention_heads,
                    role=REGISTRY)  # fmt: skip
        d.site("hook_attn_out", "self_attn")
        d.after("hook_resid_mid", "self_attn")
        d.norm("ln2", "layer_norm2")
        d.mlp(pre="mlp.fc1", act="mlp.activation_fn", out="mlp.fc2")
        d.site("hook_mlp_out", "mlp")
        d.site("hook_resid_post", "")
        d.pre_norm()
    return m
