"""How exactly every law must hold: one table, law x dtype. `check_model` and the tests read it.

Errors are relative: the largest absolute difference over the largest finite absolute value of the site (or output).
The laws called "changes" and "gradient" are met by *more* than their number, every other law by at most that much.
"""

import torch

from interp.results.errors import BadInput

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

TOLERANCES: dict[str, tuple[float, float, float, float]] = {
    # law                   float64  float32  bfloat16 float16
    "deterministic": (0.0, 0.0, 0.0, 0.0),  # two forwards
    "fires": (0.0, 0.0, 0.0, 0.0),  # counts and axes are exact
    "finite": (0.0, 0.0, 0.0, 0.0),
    "kept": (0.0, 0.0, 0.0, 0.0),  # a cached value is not overwritten by the rest of the forward
    "caching": (1e-10, 1e-5, 5e-2, 1e-2),  # output with everything cached
    "own forward": (
        1e-5,
        1e-5,
        5e-2,
        1e-2,
    ),  # roles opened against the library, which may round to float32 inside
    "equation": (1e-10, 1e-5, 5e-2, 1e-2),  # one step of a block
    "block": (1e-10, 1e-5, 5e-2, 1e-2),  # carry + contributions
    "whole model": (1e-10, 1e-5, 1e-1, 3e-2),  # contributions carried through every block
    "writes": (0.0, 0.0, 0.0, 0.0),  # share of the contributions that are all zero
    "own value": (1e-12, 1e-6, 1e-2, 1e-3),  # patching a site with what it holds
    "round trip": (1e-10, 1e-5, 5e-2, 1e-2),  # a patched value, read again
    "changes": (1e-14, 1e-8, 1e-6, 1e-6),  # the least that noise at a site must do to the output
    "inert": (1e-12, 1e-5, 5e-2, 1e-2),  # the most that it does where it is declared to do nothing: rounding
    "pattern": (1e-10, 1e-5, 2e-2, 2e-3),  # rows sum to one
    "mixing": (1e-10, 1e-5, 5e-2, 1e-2),
    "causal": (1e-10, 1e-5, 5e-2, 1e-2),
    "gradient": (0.0, 0.0, 0.0, 0.0),
    "reaches": (0.0, 0.0, 0.0, 0.0),
    "unchanged": (0.0, 0.0, 0.0, 0.0),
}


def tolerance(law: str, dtype: torch.dtype) -> float:
    """The number of one law at one dtype. Raises BadInput for a dtype that the table does not know."""
    if dtype not in _DTYPES:
        raise BadInput(f"no tolerances for {dtype}; check the model in one of {', '.join(map(str, _DTYPES))}")
    return TOLERANCES[law][_DTYPES.index(dtype)]
