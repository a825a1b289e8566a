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
    "attn.hook_rot_q": _kind("batch pos head d_head", "query as the scores use it: after rotary, norms and filters"),
    "attn.hook_rot_k": _kind("batch pos kv_head d_head", "key as the scores use it: after rotary, norms and filters"),
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
    # Transformer Programs: heads and MLPs that choose what they read (gates) and look values up
    **{
        f"{attn}.hook_{point}": _kind(axes, meaning)
        for attn, sees in (("attn", "copies a variable"), ("num_attn", "adds numbers up"))
        for point, axes, meaning in (
            ("gate_q", "head variable", f"which variable is the query of a head that {sees}: one-hot, for all prompts"),
            ("gate_k", "head variable", "which variable is the key"),
            ("gate_v", "head variable", "which variable is copied or added up"),
            ("predicate", "head query_value key_value", "the key value that each query value looks for: one-hot rows"),
        )
    },
    "num_attn.hook_q": _kind("batch pos head d_head", "the query variable, one-hot"),
    "num_attn.hook_k": _kind("batch pos head d_head", "the key variable, one-hot"),
    "num_attn.hook_v": _kind("batch pos head d_head", "the number that is added up"),
    "num_attn.hook_pattern": _kind("batch head query key", "1 where the key is what the predicate looks for"),
    "num_attn.hook_z": _kind("batch pos head d_head", "the sum of the numbers at matches: a new variable"),
    **{
        f"{mlp}.hook_{point}": _kind(axes, meaning)
        for mlp, reads in (("mlp", "one-hots"), ("num_mlp", "numbers"))
        for point, axes, meaning in (
            ("gate", "slot variable", f"which variables MLPs of {reads} read, two each: one-hot, for all prompts"),
            ("read", "batch pos mlp d_in", f"the two {reads} that each MLP reads, side by side"),
            ("logits", "batch pos mlp d_value", "preference for each value of the new variable"),
            ("value", "batch pos mlp d_value", "the new variable: one-hot of the largest logit"),
        )
    },
    "num_mlp.hook_pre": _kind("batch pos d_mlp", "input of the nonlinearity, all MLPs of numbers side by side"),
    "num_mlp.hook_post": _kind("batch pos d_mlp", "the nonlinearity's value there"),
}

# T5-like decoders have a second attention; it has the same points under its own name.
KINDS |= {
    kind.replace("attn.", "cross_attn.", 1): row for kind, row in list(KINDS.items())
    if kind.startswith("attn.") and not kind.endswith(("gate_q", "gate_k", "gate_v", "predicate"))
}

# Mixers and channel mixers of the catalog beyond softmax attention.
KINDS |= {
    "attn.hook_shift": _kind(STREAM, "what the projections read, where that is mixed with the token before"),
    "attn.hook_softmax": _kind("batch head query key", "softmax of the scores, where the pattern is more than that"),
    "attn.hook_multiplier": _kind("batch head query key", "what multiplies the softmax; its batch axis may be 1"),
    "attn.hook_send": _kind("batch head query key", "reversed attention: how a child (query) spreads over its parents"),
    "attn.hook_message": _kind("batch pos", "reversed attention: how much a token sends at all"),
    "mixer.hook_q": _kind("batch pos head d_key", "query projection of a mixer that is no softmax attention"),
    "mixer.hook_k": _kind("batch pos head d_key", "its key projection"),
    "mixer.hook_v": _kind("batch pos head d_head", "its value projection: what it mixes"),
    "mixer.hook_kernel_q": _kind("batch pos head d_key", "query after the feature map"),
    "mixer.hook_kernel_k": _kind("batch pos head d_key", "key after the feature map"),
    "mixer.hook_inflow": _kind("batch pos head", "sum of the query's products with all keys that it sees"),
    "mixer.hook_allocation": _kind("batch pos head", "how much a query receives: sigmoid of its conserved inflow"),
    "mixer.hook_competition": _kind("batch pos head", "how much a key gives: softmax of conserved outflows, times n"),
    "mixer.hook_z": _kind("batch pos head d_head", "what each head mixed, before its norm, gate and output projection"),
}

# Wiring of the catalog: gates on the stream, turned streams, routers, streams of their own.
KINDS |= {
    "attn_gate.hook_reset": _kind(STREAM, "share of the stream that the candidate of the GRU behind attention sees"),
    "attn_gate.hook_update": _kind(STREAM, "share of the stream that this candidate replaces"),
    "mlp_gate.hook_reset": _kind(STREAM, "share of the stream that the candidate of the GRU behind the MLP sees"),
    "mlp_gate.hook_update": _kind(STREAM, "share of the stream that this candidate replaces"),
    "hook_resid_turned": _kind(STREAM, "residual stream after the block has rotated it"),
    "mixer.hook_local": _kind("batch pos head d_head", "what a short convolution of the values adds to each head"),
    "mixer.hook_decay": _kind("batch pos head d_key", "what is kept of each row of the state, 0 to 1"),
    "mixer.hook_state": _kind("batch pos head d_key d_head", "state behind each token, as its query reads it"),
    "ssm.hook_state": _kind("batch pos d_inner d_state", "state of the scan behind each token, as y reads it", True),
    "mixer.hook_u": _kind("batch pos one", "the one number that a token puts into a Legendre memory"),
    "mixer.hook_memory": _kind("batch pos order", "Legendre coefficients of the window behind each token"),
    "mixer.hook_h": _kind("batch pos d_mlp", "hidden units that read memory and token"),
    "mixer.hook_gate": _kind("batch pos head d_head", "gate of what a head writes, before its nonlinearity"),
}

# Recurrent networks.
KINDS |= {
    "lstm.hook_input": _kind(STREAM, "input gate, 0 to 1: how much of the candidate enters the cell"),
    "lstm.hook_forget": _kind(STREAM, "forget gate, 0 to 1: how much of the cell before is kept"),
    "lstm.hook_output": _kind(STREAM, "output gate, 0 to 1: how much of the cell is shown"),
    "lstm.hook_candidate": _kind(STREAM, "what might enter the cell, -1 to 1"),
    "lstm.hook_write": _kind(STREAM, "what enters the cell: input gate times candidate"),
    "lstm.hook_cell": _kind(STREAM, "cell state behind each token"),
    "lstm.hook_hidden": _kind(STREAM, "hidden state behind each token, as the gates of the next one read it"),
}

# Routers: of experts, of depth, of modality.
KINDS |= {
    "router.hook_logits": _kind("batch pos choice", "router scores of every expert or number of visits"),
    "router.hook_choice": _kind("batch pos choice", "which experts a token goes to: integers, best first"),
    "router.hook_weight": _kind("batch pos choice", "what multiplies each expert's output (0 where it is not chosen); "
                                "of a depth router, both branches of this visit (0 where a token is skipped)"),
    "router.hook_depth": _kind("batch pos", "how many visits a token gets: integers from 1"),
    "expert.hook_pre": _kind("batch pos expert d_mlp", "input of every expert's nonlinearity, chosen or not"),
    "expert.hook_post": _kind("batch pos expert d_mlp", "what every expert's output projection reads"),
    "expert.hook_out": _kind("batch pos expert d_model", "what every expert gives, before the router's weight", True),
    # a memory that learns while it reads: gates of its learning, and what it has learned
    "memory.hook_weight": _kind("batch pos head", "how much a token's error counts in every window that holds it"),
    "memory.hook_retain": _kind("batch pos head", "share of the memory that is kept at this token"),
    "memory.hook_momentum": _kind("batch pos head", "share of the last direction that is kept at this token"),
    "memory.hook_step": _kind("batch pos head", "how far the memory moves at this token"),
    "memory.hook_params": _kind("batch pos head param", "weights of the memory behind each token, as it is read", True),
    # layers in the place of linear maps: which of their parameters a token uses
    **{
        f"attn.hook_{point}_{letter}": _kind(axes, f"{meaning} {layer} layer")
        for letter, layer in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output"))
        for point, axes, meaning in (
            ("param", "batch pos param", "how much each parameter token is used in the"),
            ("bucket", "batch pos chunk", "row (an integer) of each table in the"),
            ("share", "batch pos chunk", "weight of each table's row in the"),
        )
    },
    **{
        f"mlp.hook_{point}_{layer}": _kind("batch pos chunk", f"{meaning} {layer} layer of an MLP of tables")
        for layer in ("up", "down")
        for point, meaning in (("bucket", "row (an integer) of each table in the"), ("share", "its weight in the"))
    },
}

# Hierarchies of sequences: units (blocks of tokens, words) and their parts.
KINDS |= {
    "hook_unit": _kind("batch pos d_model", "one vector a unit (a block of tokens, a word); `pos` counts units"),
    "hook_prefix": _kind("batch pos d_model", "what a unit's decoder reads first: made of all units before it"),
}

# White-box blocks: one projection for all of attention, a sparse code in place of the stream.
KINDS |= {
    "attn.hook_u": _kind("batch pos head d_head", "the projection that is query, key and value at once"),
    "ista.hook_step": _kind(STREAM, "one step towards a sparse code, before its ReLU; `hook_mlp_out` is behind it"),
}

# Attention on the grid of an image.
KINDS |= {
    "attn.hook_bias": _kind("batch head query key", "what positions add to the scores, and the lowest number where a "
                            "query may not look; its batch axis may be 1"),
    "attn.hook_local": _kind("batch pos head d_head", "what a convolution of the values adds beside the pattern"),
    "attn.hook_route": _kind("batch region choice", "which regions the queries of a region read: integers, best first"),
    "hook_local_out": _kind(STREAM, "what a convolution in front of attention adds to the stream"),
    "hook_resid_local": _kind(STREAM, "residual stream between that convolution and attention"),
    **{
        f"mixer.hook_{axis}_{point}": _kind(f"batch head {axis} query key", meaning)
        for axis in ("row", "column")
        for point, meaning in (("scores", f"scores within every {axis} of an image, with what distance takes off"),
                               ("pattern", f"their softmax: attention within every {axis}"))
    },
}

# Series as tokens.
KINDS |= {
    "instance.hook_mean": _kind("batch pos one", "mean of a series over its steps; taken off, and put back at the end"),
    "instance.hook_scale": _kind("batch pos one", "deviation of a series over its steps: divided by, and put back"),
}

# Graphs: pairs of nodes have a stream of their own.
KINDS |= {
    "attn.hook_edge": _kind("batch head query key d_head", "what an edge multiplies the product of query and key with"),
    "attn.hook_product": _kind("batch head query key d_head", "query times key times edge, before its sum, the score"),
}
