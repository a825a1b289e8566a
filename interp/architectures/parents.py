"""What a member of the catalog was made from, and which of its equations differ: read off both, not written down."""

import re
from difflib import SequenceMatcher

from interp.architectures.entry import Entry

PARENTS: dict[str, tuple[str, ...]] = {
    "gpt": (
        "attn-only", "llama", "post-norm", "peri-ln", "parallel", "layerscale", "rotary", "alibi", "sinusoidal",
        "looped", "pre-rmsnorm", "unified-norm", "prepbn", "sigmoid-attention", "urpe", "aaren", "ladder", "gtrxl",
        "flowformer", "phi-mamba", "lmuformer", "widenet", "algoformer", "relaxed-recursive", "memoryformer",
        "polyrelu", "matformer", "vit", "lstm",
    ),
    "attn-only": ("attn-only-rotary",),
    "attn-only-rotary": ("momentum", "smeared-keys", "short-conv-keys", "token-shift", "mamba", "transformer-program"),
    "rotary": ("tokenformer", "mot", "dual-stream-dense"),
    "dual-stream-dense": ("dual-stream", "dual-stream-independent"),
    "llama": ("three-phase", "gla", "atlas", "polynorm", "block-transformer"),
    "atlas": ("atlas-linear",),
    "post-norm": ("itransformer", "graph-transformer"),
    "graph-transformer": ("graph-transformer-edges",),
    "pre-rmsnorm": ("pre-crmsnorm",),
    "mamba": ("mamba2-hybrid",),
    "block-transformer": ("hat",),
    "looped": ("mor",),
    "mor": ("mor-expert",),
    "flowformer": ("flowformer-bidirectional",),
    "prepbn": ("slab",),
    "vit": ("dependency-vit", "crate", "sret", "metaformer-attention"),
    "metaformer-attention": ("metaformer-pooling", "metaformer-identity", "swin", "dinat", "rmt", "cswin", "biformer",
                             "crossformer"),
    "metaformer-pooling": ("poolformer", "convnext"),
}


def parent_of(name: str) -> str | None:
    """The name of what a member was made from: the nearest one of the catalog. None for gpt, and for what was
    registered from outside."""
    return next((parent for parent, children in PARENTS.items() if name in children), None)


def differences(entry: Entry, parent: Entry) -> list[str]:
    """The equations that one has and the other has not, in order: "- " the parent's, "+ " the entry's.

    Both at their default sizes; equations are compared without their indentation, norms without their names.
    """
    lines: list[str] = []
    for equal, ours, theirs in aligned(entry, parent):
        if not equal:
            lines += [f"- {_plain(row)}" for row in theirs] + [f"+ {_plain(row)}" for row in ours]
    return lines


def aligned(one: Entry, two: Entry) -> list[tuple[bool, list[str], list[str]]]:
    """The equations of two entries beside each other, as runs (alike, rows of `one`, rows of `two`), as `differences`
    compares them; the rows are as `equations` writes them."""
    rows = [[row for row, _ in e.equations(e.make(seed=0))] for e in (two, one)]
    plain = [[_plain(row) for row in side] for side in rows]
    steps = SequenceMatcher(None, *plain, autojunk=False).get_opcodes()
    return [(kind == "equal", rows[1][c:d], rows[0][a:b]) for kind, a, b, c, d in steps]


def _plain(row: str) -> str:
    return re.sub(r"^where \w+\(x\)", "where norm(x)", row.strip())
