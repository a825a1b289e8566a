"""Writes docs/sites.md from the vocabulary of sites: `python docs/generate_sites.py`. A test keeps the two in step."""

from pathlib import Path

from interp.hooks.vocabulary import KINDS, Kind

PAGE = Path(__file__).with_name("sites.md")
INTRODUCTION = """\
# Sites

Every activation has a name, a *site*. This page is generated from `interp/hooks/vocabulary.py` by
`python docs/generate_sites.py`; change the table there, not here.

Names are TransformerLens' where it has one. Inside a block they follow `blocks.{d}.`, where `{d}` is the **execution
depth**: a block that is applied three times is three depths. Encoder-decoders have `encoder.blocks.{d}.` and
`decoder.blocks.{d}.`, stages of hierarchical models `stage.{s}.`. `model.sites()` lists what one model has, with its
sizes, without running it; wildcards select (`blocks.*.attn.hook_z`); asking for what is not there is an error that
names the nearest.

Axes are written in the order they have in the tensor. `head` counts query heads; `kv_head` counts key/value heads,
each of which serves a group of query heads. Sites marked *on request* are large and cached only when they are named.
`hook_q`, `hook_k`, `hook_v` are the projections before rotary positions; `hook_rot_q`, `hook_rot_k` are what the scores
use. A parallel block has no `hook_resid_mid`, and a block without attention has `hook_mixer_out` in place of
`hook_attn_out`.
"""
GROUPS = {
    "Outside the blocks": ("hook_embed", "hook_pos_embed", "hook_token_type_embed", "embed_ln.", "ln_final.", "output"),
    "Stages": ("stage.",),
    "Transformer Programs": ("attn.hook_gate", "attn.hook_predicate", "num_attn.", "num_mlp.", "mlp.hook_gate",
                             "mlp.hook_read", "mlp.hook_logits", "mlp.hook_value"),
    "Norms": ("ln",),
    "Layers in the place of linear maps": ("attn.hook_param", "attn.hook_bucket", "attn.hook_share", "mlp.hook_bucket",
                                           "mlp.hook_share"),
    "Attention": ("attn.",),
    "Cross-attention": ("cross_attn.",),
    "MLP": ("mlp.",),
    "State space": ("ssm.",),
    "Recurrent networks": ("lstm.",),
    "Other token mixers": ("mixer.",),
    "Memory that learns while it reads": ("memory.",),
    "The residual stream and what is written to it": ("hook_",),
}


def page() -> str:
    """The whole page as Markdown."""
    groups: dict[str, dict[str, Kind]] = {title: {} for title in (*GROUPS, "Other")}
    for name, kind in KINDS.items():
        title = next((t for t, starts in GROUPS.items() if name.startswith(starts)), "Other")
        groups[title][name] = kind
    order = sorted((t for t in groups if groups[t]), key=lambda t: (t != "Outside the blocks", "residual" not in t))
    return INTRODUCTION + "".join(_section(title, groups[title]) for title in order)


def _section(title: str, kinds: dict[str, Kind]) -> str:
    lines = ["", f"## {title}", "", "| site | axes | what it is |", "|---|---|---|"]
    for name, kind in kinds.items():
        axes = " ".join(kind.axes).replace("one", "1")
        lines.append(f"| `{name}` | {axes} | {kind.meaning}{' *On request.*' if kind.on_request else ''} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
