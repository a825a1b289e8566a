"""Nested MLPs of MatFormer (Devvrit et al. 2023, 2310.07707): every first part of the hidden units is a network itself.

    out = act(x W_up[:m] + b_up[:m]) W_down[:m] + b_down         m = d_mlp / 8, / 4, / 2, / 1 for granularity 1, 2, 3, 4

Trained with a granularity drawn anew at every step, one set of weights holds four models, and as many more as there are
mixtures of granularities over layers (mix-n-match). Surprise: units that stand first serve every size, so they matter
more than their share.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from interp.hooks.roles import Activation
from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.mlp import Mlp
from interp.parts.spec import Spec
from interp.results.errors import BadInput

GRANULARITIES = (1, 2, 3, 4)


class NestedMlp(nn.Module):
    """An MLP that runs on its first units only, as its `granularity` says."""

    def __init__(self, d_model: int, d_mlp: int, granularity: int = 4):
        super().__init__()
        if granularity not in GRANULARITIES:
            raise BadInput(f"granularity is {granularity}; there are {', '.join(map(str, GRANULARITIES))}")
        if d_mlp % 8:
            raise BadInput(f"d_mlp {d_mlp} is no multiple of 8, of which the smallest granularity takes one part")
        self.d_mlp, self.granularity = d_mlp, granularity
        self.up, self.act, self.down = nn.Linear(d_model, d_mlp), nn.GELU(), nn.Linear(d_mlp, d_model)

    @classmethod
    def of(cls, spec: Spec, **options) -> "NestedMlp":
        """The nested MLP of a spec."""
        return cls(spec.d_model, spec.d_mlp or 4 * spec.d_model, **options)

    @property
    def width(self) -> int:
        """How many units are awake."""
        return self.d_mlp // 2 ** (4 - self.granularity)

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        m = self.width
        pre = mark(self, "pre", F.linear(x, self.up.weight[:m], self.up.bias[:m]))
        post = mark(self, "post", self.act(pre))
        return F.linear(post, self.down.weight[:, :m], self.down.bias)

    def sliced(self) -> Mlp:
        """The plain MLP of the units that are awake, with weights of its own."""
        m = self.width
        mlp = Mlp(self.up.in_features, m).to(self.up.weight)
        mlp.load_state_dict({
            "up.weight": self.up.weight[:m], "up.bias": self.up.bias[:m], "down.weight": self.down.weight[:, :m],
            "down.bias": self.down.bias,
        })
        return mlp

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block; as many units as are awake."""
        d.role(f"{path}.act", Activation())
        d.site("mlp.hook_pre", path, "pre")
        d.site("mlp.hook_post", path, "post")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"pre = {x} W_up[:m] + b_up[:m], m = {self.width} of {self.d_mlp}", "mlp.hook_pre"),
            (f"post = {type(self.act).__name__}(pre)", "mlp.hook_post"),
            (f"{y} = post W_down[:m] + b_down", ""),
        ]
