"""`Codebook`: vectors replaced by the sum of their k most similar codes.

Tamkin, Taufeeque and Goodman 2023, "Codebook features", arXiv 2310.17230. Differences between the paper and its code
are arguments here: `reduction` (the paper sums, the code averages), `pre_norm` (the code has a LayerNorm).
"""

import inspect
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from interp.codebook.kmeans import centres
from interp.codebook.nearest import Similarity, nearest
from interp.results.errors import BadInput
from interp.results.errors import nearest as closest

Reduction = Literal["sum", "mean"]
PreNorm = Literal["layer", "rms"]

EPSILON = 1e-5
EMPTY = -1  # the id of a slot that adds nothing
NOISE = 1e-4  # of a replacement, relative to its length


class Snap(NamedTuple):
    """One pass through a book: `ids` [..., k], `out` as x, and what the book was asked to match and gave."""

    ids: Tensor
    out: Tensor
    target: Tensor
    decoded: Tensor

    @property
    def error(self) -> Float[Tensor, "..."]:
        """Squared distance between what was given and what was asked, per vector; gradients reach the codes only."""
        return (self.decoded - self.target.detach()).square().sum(-1)


class Codebook(nn.Module):
    """One book, codes [n_codes, d] for x [..., d]; or one per group (head), [group, n_codes, d] for [..., group, d].

    `book(x)` is what the chosen codes add up to, shaped as x; its gradient goes straight through to x and to the
    chosen codes. `pre_norm` (no parameters of its own) comes before the search, and is what the codes have to match.
    In training mode, and in no other, `uses` [visit, group, code] counts the tokens on which a code was chosen and
    `window` [group, code] those since the last replacement; both are part of the state.
    Raises BadInput for codes of another shape or not finite, k outside 1 to n_codes, and unknown words.
    """

    def __init__(
        self, codes: Tensor, k: int = 8, similarity: Similarity = "cosine", reduction: Reduction = "sum",
        pre_norm: PreNorm | None = None, visits: int = 1,
    ):
        super().__init__()
        if codes.dim() not in (2, 3) or not codes.is_floating_point() or not torch.isfinite(codes).all():
            raise BadInput(f"codes are finite numbers [n_codes, d] or [group, n_codes, d], not {codes.dtype} of shape "
                           f"{list(codes.shape)}" + (" with NaN or Inf" if codes.is_floating_point() else ""))
        if not isinstance(k, int) or not 1 <= k <= codes.shape[-2]:
            raise BadInput(f"k={k} codes of {codes.shape[-2]} were asked for: give k from 1 to {codes.shape[-2]}")
        for name, value, there in (("similarity", similarity, get_args(Similarity)),
                                   ("reduction", reduction, get_args(Reduction)),
                                   ("pre_norm", pre_norm, (None, *get_args(PreNorm)))):
            if value not in there:
                words = [word for word in there if word]
                raise BadInput(f"{name}={value!r} is unknown.{closest(str(value), words)} There are: {there}")
        self.codes = nn.Parameter(codes.detach().clone())
        self.k, self.similarity, self.reduction, self.pre_norm = k, similarity, reduction, pre_norm
        self.register_buffer("uses", torch.zeros(visits, self.groups, self.n_codes, dtype=torch.long))
        self.register_buffer("window", torch.zeros(self.groups, self.n_codes, dtype=torch.long))

    @classmethod
    def random(cls, n_codes: int, d: int, *, groups: int | None = None, seed: int = 0, **settings) -> "Codebook":
        """Codes drawn from N(0, 1), as in the paper. Raises BadInput for sizes below 1 and unknown settings."""
        sizes = {"n_codes": n_codes, "d": d} | ({} if groups is None else {"groups": groups})
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise BadInput(f"{name}={size!r} was asked for; a whole number from 1 on is needed")
        known = [name for name in inspect.signature(cls).parameters if name != "codes"]
        for name in settings:
            if name not in known:
                raise BadInput(f"a codebook takes no {name!r}.{closest(name, known)} It takes: {', '.join(known)}")
        shape = (n_codes, d) if groups is None else (groups, n_codes, d)
        return cls(torch.randn(shape, generator=Generator().manual_seed(seed)), **settings)

    @property
    def grouped(self) -> bool:
        return self.codes.dim() == 3

    @property
    def groups(self) -> int:
        return self.codes.shape[0] if self.grouped else 1

    @property
    def n_codes(self) -> int:
        return self.codes.shape[-2]

    @property
    def settings(self) -> dict[str, str | int | None]:
        """The arguments that make a book with other codes alike."""
        return {"k": self.k, "similarity": self.similarity, "reduction": self.reduction, "pre_norm": self.pre_norm,
                "visits": len(self.uses)}

    # -- codes and vectors ---------------------------------------------------------------------------------------

    def encode(self, x: Tensor, without: Int[Tensor, " banned"] | None = None) -> Int[Tensor, "... k"]:
        """Numbers of the k most similar codes, best first; never those in `without`. Raises BadInput for NaN."""
        return self.search(self.normed(x), without)[1]

    def search(self, target: Tensor, without: Tensor | None = None, k: int | None = None) -> tuple[Tensor, Tensor]:
        """(similarities, numbers), both [..., k], for vectors that are normed already; k is the book's unless given."""
        k = k or self.k
        codes = self.codes.detach().view(self.groups, self.n_codes, -1)
        if without is not None and self.n_codes - len(without.unique()) < k:
            raise BadInput(f"without {len(without.unique())} of {self.n_codes} codes there are fewer than k={k}")
        flat = target.detach().reshape(-1, self.groups, target.shape[-1]).transpose(0, 1)
        found = nearest(flat, codes, k, self.similarity, without)
        return tuple(part.transpose(0, 1).reshape(*target.shape[:-1], k) for part in found)

    def decode(self, ids: Int[Tensor, "... slot"]) -> Float[Tensor, "... d"]:
        """What codes add up to: their sum, or the sum over k. An id of -1 adds nothing. Raises BadInput for others."""
        self.check_ids(ids)
        if self.grouped and (ids.dim() < 2 or ids.shape[-2] != self.groups):
            raise BadInput(f"ids of {self.groups} groups are [..., {self.groups}, slot], not {list(ids.shape)}")
        start = torch.arange(self.groups, device=ids.device)[:, None] * self.n_codes if self.grouped else 0
        flat = (ids.clamp(min=0) + start).reshape(-1, ids.shape[-1])
        table = self.codes.reshape(-1, self.codes.shape[-1])
        there = None if ids.numel() == 0 or int(ids.amin()) >= 0 else (ids >= 0).to(table).reshape(flat.shape)
        total = F.embedding_bag(flat, table, mode="sum", per_sample_weights=there)
        return total.view(*ids.shape[:-1], -1) / (self.k if self.reduction == "mean" else 1)

    def check_ids(self, ids: Tensor) -> None:
        """Raise BadInput for numbers that are no codes of this book (-1 stands for none)."""
        if ids.is_floating_point() or (ids.numel() and not -1 <= int(ids.amin()) <= int(ids.amax()) < self.n_codes):
            raise BadInput(f"code numbers run from 0 to {self.n_codes - 1} (-1 for none); others were given")

    def normed(self, x: Tensor) -> Tensor:
        """x as the codes have to match it. Raises BadInput for another shape, NaN or Inf."""
        want = list(self.codes.shape[::2]) if self.grouped else [self.codes.shape[-1]]
        if list(x.shape[-len(want):]) != want:
            raise BadInput(f"vectors of shape {list(x.shape)} were given to a book that takes [..., {want}]")
        if not torch.isfinite(x).all():
            raise BadInput("the activations hold NaN or Inf, which no code is near to")
        x = x.to(self.codes.dtype)
        if self.pre_norm is None:
            return x
        return (F.layer_norm if self.pre_norm == "layer" else F.rms_norm)(x, x.shape[-1:], eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return self.snap(x).out

    def snap(self, x: Tensor, *, change=None, visit: int = 0, real: Bool[Tensor, "..."] | None = None) -> Snap:
        """One pass, with all that a caller may want of it.

        `change(ids, target)` puts other ids in place; `real`, broadcastable to x, says what counts as a use.
        """
        target = self.normed(x)
        ids = self.search(target)[1]
        if self.training:
            self._count(ids, visit, real)
        if change is not None:
            ids = change(ids, target)
        decoded = self.decode(ids)
        return Snap(ids, _straight_through(target, decoded).to(x.dtype), target, decoded)

    # -- what is used --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _count(self, ids: Tensor, visit: int, real: Tensor | None) -> None:
        chosen = self.count(ids, real)
        self.uses[visit] += chosen
        self.window += chosen

    def count(self, ids: Int[Tensor, "... k"], real: Tensor | None = None) -> Int[Tensor, "group code"]:
        """On how many (real) tokens each code is among `ids`."""
        start = torch.arange(self.groups, device=ids.device)[:, None] * self.n_codes if self.grouped else 0
        kept = ids >= 0 if real is None else real.expand(*ids.shape[:-1], 1) & (ids >= 0)
        counts = torch.bincount((ids + start)[kept], minlength=self.groups * self.n_codes)
        return counts.view(self.groups, self.n_codes)

    @torch.no_grad()
    def replace_dead(self, x: Tensor, generator: Generator) -> Bool[Tensor, "group code"]:
        """Put codes that were not used since the last call at random vectors of x, and begin a new window.

        Returns which were replaced. With cosine and a sum, a replacement is a k-th of its vector, so that k of them
        have its length.
        """
        flat = self.normed(x).reshape(-1, self.groups, x.shape[-1])
        dead = self.window == 0
        codes = self.codes.view(self.groups, self.n_codes, -1)
        for group in range(self.groups):
            places = dead[group].nonzero()[:, 0]
            order = torch.randperm(len(flat), generator=generator)
            drawn = flat[order[torch.arange(len(places)) % len(flat)].to(flat.device), group]
            noise = torch.randn(drawn.shape, generator=generator).to(drawn)
            codes[group, places] = self._share * (drawn + NOISE * drawn.norm(dim=-1, keepdim=True) * noise)
        self.window.zero_()
        return dead

    @torch.no_grad()
    def fit(self, x: Tensor, *, rounds: int = 10, seed: int = 0) -> "Codebook":
        """Put the codes at the k-means centres of x, group by group. Works with fewer vectors than codes."""
        flat = self.normed(x).reshape(-1, self.groups, x.shape[-1])
        for group, codes in enumerate(self.codes.view(self.groups, self.n_codes, -1)):
            generator = Generator().manual_seed(seed + group)
            codes.copy_(self._share * centres(flat[:, group], self.n_codes, self.similarity, rounds, generator))
        self.window.zero_()
        return self

    @property
    def _share(self) -> float:
        """Of a vector that a code starts with. A distance needs the whole of it; a direction does not."""
        return 1 / self.k if self.reduction == "sum" and self.similarity == "cosine" else 1.0


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, decoded):
        return decoded.view_as(decoded)

    @staticmethod
    def backward(ctx, grad):
        return grad, grad


def _straight_through(x: Tensor, decoded: Tensor) -> Tensor:
    """`decoded`, whose gradient is also the gradient of x."""
    return _StraightThrough.apply(x, decoded)
