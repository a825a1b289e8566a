"""Manhattan attention (RMT: Fan et al. 2023, 2309.11523, sections 3.2 and 3.3): the farther a key, the less it counts.

    D_h[query, key] = log gamma_h (|rows apart| + |columns apart|)        gamma_h = 1 - 2^(-2 - 4 h / n_heads)
    full     A_h = softmax(q_h k_h^T / sqrt(d_head) + D_h)                          z_h = A_h v_h
    axial    R_h within every row, C_h within every column, as above                z_h = C_h (R_h v_h): rows first

Shapes: D [1, head, query, key]; R [batch, head, row, query, key] over columns, C [batch, head, column, query, key] over
rows. Surprises: the paper writes softmax(q k^T) * gamma^distance, whose rows sum to less than one, while the authors'
code adds the logarithm to the scores, as here. Rows before columns is an order: the other one is another mixer. Where
scores depend on positions alone, both forms are the same. The code also turns q and k by their place, which the paper
does not name and which is not here.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import OUT, Heads, mark
from interp.parts import mixer
from interp.parts.context import Context
from interp.parts.grid_attention import LocalConv, Rows, Stream, rows_and_columns, side_of
from interp.parts.spec import Spec


def log_gamma(n_heads: int) -> Float[Tensor, " head"]:
    """The factor of the distance, negative; the first head sees the shortest way."""
    return torch.log1p(-(2.0 ** (-2 - 4 * torch.arange(n_heads, dtype=torch.float64) / n_heads)))


def decay(distance: Tensor, n_heads: int, like: Tensor) -> Float[Tensor, "1 head query key"]:
    """What is added to the scores at a distance [query, key]."""
    return (log_gamma(n_heads)[:, None, None] * distance)[None].to(like)


class Manhattan(nn.Module):
    """Places for `GridAttention`: the full form."""

    def __init__(self, n_heads: int):
        super().__init__()
        self.n_heads = n_heads

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """B, [1, head, query, key]."""
        row, column = rows_and_columns(side_of(q.shape[-2]))
        apart = (row[:, None] - row).abs() + (column[:, None] - column).abs()
        return decay(apart, self.n_heads, q)

    def equations(self) -> Rows:
        """What it is: (equation, sites)."""
        return [("B_h = log gamma_h (rows + columns apart)", "attn.hook_bias")]


class AxialDecay(nn.Module):
    """The axial form with its convolution of the values (LePE, 5 x 5): a mixer, whose matrix is a product."""

    causal = False
    mixes = ("mixer.hook_v", "mixer.hook_z")

    def __init__(self, spec: Spec):
        super().__init__()
        d, self.n_heads = spec.d_model, spec.n_heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.local = LocalConv(d, 5)

    def forward(self, x: Stream, context: Context) -> Stream:
        side = side_of(x.shape[1])
        q, k, v = (project(x).unflatten(-1, (self.n_heads, -1)) for project in (self.q, self.k, self.v))
        grids = [y.unflatten(1, (side, side)) for y in (q, k, v)]
        z = self._along("row", *grids)
        turned = [y.transpose(1, 2) for y in (*grids[:2], z)]
        z = self._along("column", *turned).transpose(1, 2).flatten(1, 2)
        z = mark(self, "z", z)
        return self.o(z.flatten(2) + self.local(v.flatten(2)))

    def _along(self, axis: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention within every line of [batch, line, pos, head, d_head]."""
        batch, side = q.shape[:2]
        lines = (y.flatten(0, 1).transpose(1, 2) for y in (q, k, v))
        apart = (torch.arange(side)[:, None] - torch.arange(side)).abs()

        def point(name: str, value: Tensor) -> Tensor:
            if name not in ("attn_scores", "pattern"):
                return value
            whole = value.unflatten(0, (batch, side)).transpose(1, 2)
            return mark(self, f"{axis}_{name.removeprefix('attn_')}", whole).transpose(1, 2).flatten(0, 1)

        z = semantic.attention(*lines, bias=decay(apart, self.n_heads, q), scale=q.shape[-1] ** -0.5, mark=point)
        return z.transpose(1, 2).unflatten(0, (batch, side))

    def mixing(self, cache, prefix: str) -> Float[Tensor, "batch head query key"]:
        """C R: what a key gives its row's column of the query, times what that gives the query."""
        along, down = (cache[f"{prefix}.mixer.hook_{axis}_pattern"] for axis in ("row", "column"))
        matrix = torch.einsum("bhcij,bhjcd->bhicjd", down, along)
        return matrix.flatten(4, 5).flatten(2, 3)

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        mixer.declare(d, path, self.n_heads, "qkv", (), z="")
        for axis in ("row", "column"):
            d.site(f"mixer.hook_{axis}_scores", path, f"{axis}_scores", heads=self.n_heads)
            d.site(f"mixer.hook_{axis}_pattern", path, f"{axis}_pattern", heads=self.n_heads, pattern="softmax")
        d.site("mixer.hook_z", path, "z", heads=self.n_heads)
        d.site("mixer.hook_local", f"{path}.local", OUT, Heads(self.n_heads), heads=self.n_heads)

    def equations(self, x: str, y: str) -> Rows:
        """What it computes from `x` to `y`: (equation, sites)."""
        score = f"q_h k_h^T / sqrt({self.q.out_features // self.n_heads}) + log gamma_h |apart|"
        return [
            (f"q_h, k_h, v_h = {x} W_q + b_q, {x} W_k + b_k, {x} W_v + b_v", "mixer.hook_q|k|v"),
            (f"r_h = {score}, in every row", "mixer.hook_row_scores"),
            ("R_h = softmax(r_h)", "mixer.hook_row_pattern"),
            (f"c_h = {score}, in every column", "mixer.hook_column_scores"),
            ("C_h = softmax(c_h)", "mixer.hook_column_pattern"),
            ("z_h = C_h (R_h v_h)", "mixer.hook_z"),
            ("l_h = depthwise conv 5 x 5 of v_h", "mixer.hook_local"),
            (f"{y} = sum_h (z_h + l_h) W_o,h + b_o", ""),
        ]
