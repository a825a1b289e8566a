"""An MLP that mixes neighbours inside (RMT: Fan et al. 2023, 2309.11523, section 3.4).

    out = (post + depthwise conv 3 x 3 of post) W_down + b_down        post = GELU(x W_up + b_up), [batch, pos, d_mlp]

Surprise: `mlp.hook_post`, what the output projection reads, is behind the convolution, so that a neuron at one place
holds what its neighbours had; no ablation of places outside attention is a control in such a model.
"""

from torch import nn

from interp.parts.context import Context
from interp.parts.grid_attention import LocalConv, Rows, Stream
from interp.parts.spec import Spec


class ConvMlp(nn.Module):
    """That of a spec, four times as wide as the stream where the spec does not say."""

    def __init__(self, spec: Spec):
        super().__init__()
        d_mlp = spec.d_mlp or 4 * spec.d_model
        self.up, self.act, self.local = nn.Linear(spec.d_model, d_mlp), nn.GELU(), LocalConv(d_mlp)
        self.down = nn.Linear(d_mlp, spec.d_model)

    def forward(self, x: Stream, context: Context | None = None) -> Stream:
        post = self.act(self.up(x))
        return self.down(post + self.local(post))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        d.mlp(pre=f"{path}.up", act=f"{path}.act", out=f"{path}.down")

    def equations(self, x: str, y: str) -> Rows:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"pre = {x} W_up + b_up", "mlp.hook_pre"),
            ("p = GELU(pre)", ""),
            ("post = p + depthwise conv 3 x 3 of p", "mlp.hook_post"),
            (f"{y} = post W_down + b_down", ""),
        ]
