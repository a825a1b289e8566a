"""How a program's coordinates lie in the stream: as they are, rotated, squeezed into fewer, or under a norm.

One pair of matrices says it: stream = encode @ coordinates, coordinates = decode @ stream. Under a norm one more
coordinate holds a constant so large that what the variables add to the norm makes no difference.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from interp.programs.compile.module import NormName
from interp.results.errors import BadInput

Compression = Literal["learned", "random"]
SHARE_OF_NORM = {torch.float64: 1e-8}
"""The most that variables may change a norm, relatively; a larger constant costs digits of everything else."""
_SHARE = 1e-4


@dataclass(frozen=True)
class Basis:
    """encode [d_model, d], decode [d, d_model], and `hold` [d_model], a constant that every token embedding adds."""

    encode: Tensor
    decode: Tensor
    hold: Tensor

    @property
    def d_model(self) -> int:
        return len(self.encode)


def basis(
    streams: Tensor, weights: Tensor, *, norm: NormName, rotate: int | None, compress: int | None,
    compression: Compression, seed: int, dtype: torch.dtype,
) -> Basis:
    """The basis for a program whose coordinates take the values `streams` [n, d] somewhere in the model.

    `weights` [d] say how exactly each coordinate has to be read; `compress` is the number of dimensions left for
    them. Learned: the principal directions of the weighted streams; lossless from their rank on. Random: random
    directions, read by least squares.
    """
    encode, decode = _compressed(streams, weights, compress, compression, seed)
    if norm is None:
        turn = torch.eye(len(encode), dtype=torch.float64) if rotate is None else orthogonal(len(encode), rotate)
        return Basis(turn @ encode, decode @ turn.T, torch.zeros(len(encode), dtype=torch.float64))
    energy = float((streams @ encode.T).square().sum(1).max())
    size = 2.0 ** torch.tensor((energy / (2 * SHARE_OF_NORM.get(dtype, _SHARE))) ** 0.5).log2().ceil().item()
    inside = len(encode) + 1  # the held coordinate is the last
    if norm == "rmsnorm":
        turn = torch.eye(inside, dtype=torch.float64) if rotate is None else orthogonal(inside, rotate)
    else:  # all directions orthogonal to (1, ..., 1), so that centring takes nothing away
        turn = centred(inside + 1, rotate)
    return Basis(turn[:, :-1] @ encode, decode @ turn[:, :-1].T, size * turn[:, -1])


def _compressed(
    streams: Tensor, weights: Tensor, compress: int | None, compression: Compression, seed: int
) -> tuple[Tensor, Tensor]:
    d = streams.shape[1]
    if compress is None:
        return torch.eye(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    if not 1 <= compress <= d:
        raise BadInput(f"compress is {compress}; the program has {d} dimensions, so give a number from 1 to {d}")
    if compression == "random":
        encode = torch.randn(compress, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        encode = encode / encode.norm(dim=0)
        return encode, torch.linalg.pinv(encode)
    weighted = streams * weights
    directions = torch.linalg.eigh(weighted.T @ weighted).eigenvectors.flip(1)[:, :compress].T
    return directions * weights, directions.T / weights[:, None]


def orthogonal(n: int, seed: int) -> Tensor:
    """A random orthogonal matrix [n, n] (Haar: QR of a Gaussian matrix, signs of the diagonal taken out)."""
    drawn = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    return q * r.diagonal().sign()


def centred(n: int, seed: int | None) -> Tensor:
    """n - 1 orthonormal columns [n, n - 1] whose sums are 0: the reflection that takes (1, ..., 1) to the last axis,
    turned at random where a seed is given."""
    ones = torch.ones(n, dtype=torch.float64) / n**0.5
    axis = torch.zeros(n, dtype=torch.float64)
    axis[-1] = 1.0
    mirror = (ones - axis) / (ones - axis).norm()
    columns = (torch.eye(n, dtype=torch.float64) - 2 * torch.outer(mirror, mirror))[:, :-1]
    return columns if seed is None else columns @ orthogonal(n - 1, seed)


def rank(streams: Tensor, weights: Tensor) -> int:
    """Dimensions that the streams really span: into so many a program is compressed without loss."""
    weighted = streams * weights
    values = torch.linalg.eigvalsh(weighted.T @ weighted)
    return int((values > 1e-10 * values.max()).sum())
