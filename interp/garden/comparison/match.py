"""Sizes at which architectures have as many parameters as one another, embeddings counted."""

from bisect import bisect_left
from functools import cache

from interp.architectures.catalog import entry
from interp.garden.catalog import build
from interp.results.errors import BadInput

PARAMETERS = 40_000
WIDTHS = tuple(range(8, 521, 8))  # eight divides into four heads of even width, as rotary positions need
BLOCKS = {"mamba2-hybrid": 6}  # two Mamba-2, one attention, three MLPs; others have the depth of their entry
LANGUAGE = "language model"


def check_architecture(name: str) -> None:
    """Raises BadInput for a name that is none, and for an architecture that does not predict next tokens, or whose
    width is no single size."""
    found = entry(name)
    if found.kind != LANGUAGE:
        raise BadInput(f"{name} is of the kind {found.kind!r}; only a {LANGUAGE} can be trained on sequences of tokens")
    if "d_model" not in found.sizes:
        raise BadInput(f"{name} has no one width to match parameters by; its sizes are {', '.join(found.sizes)}")


def matched(
    name: str, d_vocab: int, n_ctx: int, parameters: int = PARAMETERS, layers: int | None = None
) -> dict[str, int | None]:
    """Sizes of the architecture with about `parameters` parameters: the width (a multiple of 8) that comes nearest with
    MLPs as wide as the stream, since on these tasks it is mixing that needs the width; where the MLPs have a width of
    their own, it then closes the gap. Other sizes are the entry's.

    Raises as `check_architecture`, and where no width up to 520 comes within a quarter of the number.
    """
    check_architecture(name)
    defaults = entry(name).sizes
    given = {"d_vocab": d_vocab, "n_ctx": n_ctx, "n_layers": layers or BLOCKS.get(name, defaults.get("n_layers"))}
    sizes = defaults | {size: value for size, value in given.items() if size in defaults and value is not None}

    def at(width: int) -> dict[str, int | None]:
        return sizes | {"d_model": width} | ({"d_mlp": width} if "d_mlp" in defaults else {})

    # small models are built sooner than large ones: double the range first
    end = next((n for n in (4, 8, 16, 32) if count(name, at(WIDTHS[n - 1])) >= parameters), len(WIDTHS))
    place = bisect_left(WIDTHS, parameters, 0, end,
                        key=lambda width: count(name, at(width)))
    near = [at(width) for width in WIDTHS[max(place - 1, 0) : place + 1]]
    found = min(near, key=lambda one: abs(count(name, one) - parameters))
    if "d_mlp" in defaults:
        found = _close(name, found, parameters)
    reached = count(name, found)
    if abs(reached - parameters) > parameters / 4:
        raise BadInput(f"{name} cannot have {parameters:,} parameters here: the nearest is {reached:,}, at a width of "
                       f"{found['d_model']}; give another number, or other layers")
    return found


def _close(name: str, sizes: dict[str, int | None], parameters: int) -> dict[str, int | None]:
    """The same with the width of the MLPs that brings the count nearest; the entry's where it has no MLPs."""
    start = sizes["d_mlp"]
    here, more = (count(name, sizes | {"d_mlp": width}) for width in (start, start + 8))
    if here == more:
        return sizes | {"d_mlp": entry(name).sizes["d_mlp"]}
    change = round(8 * (parameters - here) / (more - here))
    return sizes | {"d_mlp": max(start + change, 8)}


def count(name: str, sizes: dict[str, int | None]) -> int:
    """Parameters of the architecture at these sizes, shared ones once."""
    return _count(name, tuple(sorted(sizes.items())))


@cache
def _count(name: str, sizes: tuple[tuple[str, int | None], ...]) -> int:
    return sum(p.numel() for p in build(name, **dict(sizes)).parameters())
