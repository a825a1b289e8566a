"""The words of the workbench: every kind of site, its axes, and what exactly it holds.

Names are TransformerLens' letter for letter where it has one. `docs/sites.md` is generated from this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One row of the vocabulary: the axes of a site and what its value is."""

    axes: tuple[str, ...]
    meaning: str
    on_request: bool = False  # too large to be cached unless it is named


def _kind(axes: str, meaning: str, on_request: bool = False) -> Kind:
    return Kind(tuple(axes.split()), meaning, on_request)


STREAM = "batch pos d_model"

KINDS: dict[str, Kind] = {
    # the stem and the end of the model
    "hook_embed": _kind(STREAM, "what the token (or patch) embedding writes"),
    "hook_pos_embed": _kind(STREAM, "what the learned position embedding writes; its batch axis may be 1"),
    "hook_token_type_embed": _kind(STREAM, "what the segment embedding writes"),
    "embed_ln.hook_scale": _kind("batch pos one", "denominator of the norm behind the embeddings"),
    "embed_ln.hook_normalized": _kind(STREAM, "embeddings after centring and division, before gain and bias"),
    "ln_final.hook_scale": _kind("batch pos one", "denominator of the last norm"),
    "ln_final.hook_normalized": _kind(STREAM, "last norm's value before gain and bias"),
    "output": _kind("batch ...", "the model's main output: logits where it has a head, features elsewhere"),
    # the residual stream
    "hook_resid_pre": _kind(STREAM, "residual stream as the block receives it"),
    "hook_resid_mid": _kind(STREAM, "residual stream between the two branches; a parallel block has none"),
    "hook_resid_cross": _kind(STREAM, "residual stream between cross-attention and MLP (encoder-decoders)"),
    "hook_resid_post": _kind(STREAM, "residual stream as the block leaves it"),
    "hook_attn_out": _kind(STREAM, "what attention adds to the stream: after its own norm and scale"),
    "hook_cross_attn_out": _kind(STREAM, "what cross-attention adds to the stream"),
    "hook_mlp_out": _kind(STREAM, "what the MLP adds to the stream: after its own norm and scale"),
    "hook_mixer_out": _kind(STREAM, "what a token mixer that is not attention adds to the stream"),
    "stage.hook_in": _kind(STREAM, "stream as a stage of a hierarchical model receives it"),
    "stage.hook_out": _kind(STREAM, "stream as a stage of a hierarchical model leaves it"),
    # norms inside a block
    **{
        f"{ln}.hook_{point}": _kind(axes, meaning)
        for ln in ("ln1", "ln2", "ln1_post", "ln2_post", "ln_cross")
        for point, axes, meaning in (
            ("scale", "batch pos one", "denominator: sqrt(variance + eps), or sqrt(mean square + eps)"),
            ("normalized", STREAM, "value after centring (LayerNorm only) and division, before gain and bias"),
        )
    },
    # attention
    "attn.hook_q": _kind("batch pos head d_head", "query projection with its bias, before rotary"),
    "attn.hook_k": _kind("batch pos kv_head d_head", "key projection, before rotary; one per key/value head"),
    "attn.hook_v": _kind("batch pos kv_head d_head", "value projection; one per key/value head"),
    "attn.hook_rot_q": _kind("batch pos head d_head", "query as the scores use it: after rotary and norms"),
    "attn.hook_rot_k": _kind("batch pos kv_head d_head", "key as the scores use it: after rotary and norms"),
    "attn.hook_attn_scores": _kind("batch head query key", "scaled scores with masks and biases added"),
    "attn.hook_pattern": _kind("batch head query key", "attention after the softmax"),
    "attn.hook_z": _kind("batch pos head d_head", "pattern times values, before the output projection"),
    "attn.hook_result": _kind("batch pos head d_model", "what each head writes, without the shared bias", True),
    # channel mixers
    "mlp.hook_pre": _kind("batch pos d_mlp", "input of the nonlinearity (in a gated MLP: of its gate)"),
    "mlp.hook_pre_linear": _kind("batch pos d_mlp", "the linear branch of a gated MLP"),
    "mlp.hook_post": _kind("batch pos d_mlp", "what the MLP's output projection reads"),
    # state-space mixers
    "ssm.hook_x": _kind("batch pos d_inner", "input of the scan: after the short convolution and its activation"),
    "ssm.hook_z": _kind("batch pos d_inner", "gate branch before its activation"),
    "ssm.hook_dt": _kind("batch pos d_inner", "step size after softplus; per head in Mamba-2"),
    "ssm.hook_B": _kind("batch pos d_state", "input matrix of the scan"),
    "ssm.hook_C": _kind("batch pos d_state", "output matrix of the scan"),
    "ssm.hook_y": _kind("batch pos d_inner", "output of the scan with its skip, before the gate"),
}

# T5-like decoders have a second attention; it has the same points under its own name.
KINDS |= {
    kind.replace("attn.", "cross_attn.", 1): row for kind, row in list(KINDS.items()) if kind.startswith("attn.")
}
