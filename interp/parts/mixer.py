"""What token mixers with heads that are no softmax attention have in common: shapes and sites."""

from functools import partial

from torch import Tensor

from interp.hooks.tap import IN, Heads


def split(x: Tensor, n_heads: int) -> Tensor:
    """[batch, pos, head * d] -> [batch, pos, head, d]"""
    return x.unflatten(-1, (n_heads, -1))


def by_head(cache, prefix: str):
    """Reader of a cached point of the mixer as [batch, head, pos, ...]."""
    return lambda point: cache[f"{prefix}.mixer.hook_{point}"].transpose(1, 2)


def declare(d, path: str, n_heads: int, projections: str, marks: tuple[str, ...], z: str = "o") -> None:
    """Sites of a mixer at `path`: what its projections (letters: q, k, v) give, the points that it marks itself, and
    what its output projection `z` reads."""
    site = partial(d.site, heads=n_heads)
    for letter in projections:
        site(f"mixer.hook_{letter}", f"{path}.{letter}", view=Heads(n_heads))
    for point in marks:
        site(f"mixer.hook_{point}", path, point)
    if z:
        site("mixer.hook_z", f"{path}.{z}", IN, Heads(n_heads))
