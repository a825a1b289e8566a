"""What a member of the catalog is like, read off a small model of it: what its mixers are, whether it has a stream."""

from dataclasses import dataclass

from interp.architectures.entry import Entry

PATTERNS = ("softmax", "unnormalised", "implicit", "none")


@dataclass(frozen=True)
class Traits:
    """`patterns`: of its mixers, "softmax" (rows sum to 1), "unnormalised" (they do not), "implicit" (no pattern, but
    `mixing_matrix` has what it stands for), "none". `stream`: whether it declares a residual stream. `parameters` at
    its default sizes."""

    patterns: tuple[str, ...]
    stream: bool
    parameters: int


def traits(entry: Entry) -> Traits:
    """The traits of an entry at its default sizes."""
    model = entry.make(seed=0)
    found = {site.pattern for site in model.sites() if site.pattern is not None}
    if any(block.mixing is not None for block in model.map.blocks.values()):
        found.add("implicit")
    stream = any(site.kind == "hook_resid_post" for site in model.sites())
    patterns = tuple(p for p in PATTERNS if p in found) or ("none",)
    return Traits(patterns, stream, sum(p.numel() for p in model.parameters()))
