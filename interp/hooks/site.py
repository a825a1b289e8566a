"""`Site`: the frozen name of one activation, and the only place where such a name is taken apart."""

import re
from dataclasses import dataclass

from interp.hooks.vocabulary import KINDS, Kind
from interp.results.errors import BadInput

_NAME = re.compile(
    r"^(?:(?P<stream>encoder|backbone|decoder|token|context|node|edge)\.)?"
    r"(?:(?P<group>blocks|stage)\.(?P<depth>\d+)\.)?(?P<kind>.+)$"
)


@dataclass(frozen=True)
class Site:
    """A named activation of one model.

    `name` is what users type; `module` and `visit` say where it is computed: two sites with the same module and
    different visits are two passes through shared weights. `axes` is the symbolic shape; `heads` the length of its
    head axis where it has one, `groups` the number of query heads served by each key/value head.
    """

    name: str
    axes: tuple[str, ...]
    depth: int | None = None
    module: str = ""
    visit: int = 0
    heads: int | None = None
    groups: int = 1
    pattern: str | None = None
    on_request: bool = False

    @property
    def kind(self) -> str:
        """The name without stream and depth: `attn.hook_z`."""
        return split_name(self.name)[2]

    @property
    def prefix(self) -> str:
        """The name of its block, with the dot: `blocks.3.` (empty outside blocks)."""
        return self.name[: len(self.name) - len(self.kind)] if self.depth is not None else ""

    def axis(self, *names: str) -> int | None:
        """Index of the first axis called one of `names`, or None."""
        return next((i for i, a in enumerate(self.axes) if a in names), None)

    @property
    def head_axis(self) -> int | None:
        return self.axis("head", "kv_head")

    @property
    def pos_axis(self) -> int | None:
        return self.axis("pos", "query")

    def __str__(self) -> str:
        return self.name


def split_name(name: str) -> tuple[str | None, int | None, str]:
    """`decoder.blocks.3.attn.hook_z` -> ("decoder", 3, "attn.hook_z").

    Stage sites keep their word in the kind: `stage.1.hook_in` -> (None, 1, "stage.hook_in").
    """
    match = _NAME.match(name)
    depth = int(match["depth"]) if match["depth"] is not None else None
    kind = f"stage.{match['kind']}" if match["group"] == "stage" else match["kind"]
    return match["stream"], depth, kind


def kind_of(name: str) -> Kind:
    """The row of the vocabulary behind a site name.

    Raises BadInput for a name that the vocabulary does not have.
    """
    kind = split_name(name)[2]
    if kind not in KINDS:
        raise BadInput(f"site name {name!r} has no entry in the vocabulary (interp/hooks/vocabulary.py)")
    return KINDS[kind]


_STYLE = re.compile(r"^(?:[a-z][a-zA-Z0-9_]*\.|\d+\.)*hook_[a-zA-Z0-9_]+$|^output$")


def check_style(name: str) -> None:
    """Raise BadInput for a name that is not written like a site: dotted lower-case words, the last `hook_...`."""
    if not _STYLE.match(name):
        raise BadInput(f"{name!r} is not written like a site name; write it like 'blocks.0.mixer.hook_state'")


_SHORT = {"q", "k", "v", "rot_q", "rot_k", "attn_scores", "pattern", "z", "result"}


def full_name(short: str, depth: int | None = None, layer_type: str | None = None) -> str:
    """TransformerLens' shorthand to a full name: ("pattern", 3) -> `blocks.3.attn.hook_pattern`.

    `layer_type` is "attn", "mlp", "ln1" ... and may be left out where only one is possible.
    """
    if depth is None:
        return short if short == "output" or "hook_" in short else f"hook_{short}"
    part = layer_type or ("attn" if short in _SHORT else "mlp" if short in ("pre", "post", "pre_linear") else "")
    return f"blocks.{depth}." + (f"{part}." if part else "") + f"hook_{short}"
