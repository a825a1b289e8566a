"""A model of parts whose tokens are whole series (iTransformer: Liu et al. 2023, 2310.06625, section 3.2).

    x_n = ((s_n - mean_n) / scale_n) W_E + b_E          blocks, ln_final          f_n = (x_n W_U + b_U) scale_n + mean_n

Shapes: series [batch, steps, variate]; mean and scale [batch, variate, 1], over the steps; x [batch, variate, d_model];
forecast [batch, horizon, variate]. Attention is among variates, `pos` counts them. Surprises: time is nowhere but in
the columns of W_E, so that nothing in a block can tell early from late; and without positions the model cannot tell
variates apart but by what they look like: permuted, they give permuted forecasts.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.model import HookedModel
from interp.hooks.tap import Tap, mark
from interp.parts.context import Context
from interp.parts.describe import equations as rows_of
from interp.parts.model import Model, built
from interp.parts.sitemap import site_map
from interp.parts.spec import Spec
from interp.results.errors import BadInput

EPS = 1e-5


class VariateModel(Model):
    """A spec whose tokens are series of `n_ctx` steps; `d_vocab` is how many steps are forecast."""

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.embed = nn.Linear(spec.n_ctx, spec.d_model)
        self.ln_final = spec.norm(spec.d_model)  # behind blocks that end normed too
        self.unembed = nn.Linear(spec.d_model, spec.d_vocab)

    def forward(self, series: Float[Tensor, "batch steps variate"]) -> Float[Tensor, "batch horizon variate"]:
        """The forecast. Raises BadInput for series of another length."""
        if series.dim() != 3 or series.shape[1] != self.spec.n_ctx:
            raise BadInput(f"series have shape {list(series.shape)}; [batch, {self.spec.n_ctx}, variates] is needed")
        x = series.transpose(1, 2)
        mean = mark(self, "mean", x.mean(-1, keepdim=True))
        scale = mark(self, "scale", (x.var(-1, keepdim=True, correction=0) + EPS).sqrt())
        x = self.embed((x - mean) / scale)
        context = Context(torch.zeros(x.shape[:2], dtype=torch.long, device=x.device))
        for index, _ in self.schedule():
            x = self.blocks[index](x, context)
        return (self.unembed(self.ln_final(x)) * scale + mean).transpose(1, 2)


def hooked(spec: Spec, seed: int, *, name: str = "", recipe: dict | None = None) -> HookedModel:
    """A `VariateModel` with weights from the seed, hooked."""
    model = built(lambda: VariateModel(spec), seed, len(spec.block) * spec.n_layers)
    m = site_map(model)
    m.add("instance.hook_mean", Tap("", "mean"))
    m.add("instance.hook_scale", Tap("", "scale"))
    m.input_name, m.d_vocab, m.n_ctx, m.unembed = "series", None, None, None
    return HookedModel(model, m, name=name, recipe=recipe)


def random_walks(model: HookedModel, *, batch: int = 2, n_pos: int = 5, seed: int = 0) -> Tensor:
    """Random walks for such a model, [batch, steps, n_pos]."""
    steps = (batch, model.module.spec.n_ctx, n_pos)
    return torch.randn(steps, generator=torch.Generator().manual_seed(seed)).cumsum(1)


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """All equations from series to forecast."""
    said = {"x = E[tokens]": "x = ((series - mean) / scale) W_E + b_E",
            "logits = x W_U": "forecast = (x W_U + b_U) * scale + mean"}
    first = ("mean, scale of every variate = those of its steps", "instance.hook_mean|hook_scale")
    return [first, *((said.get(equation, equation), sites) for equation, sites in rows_of(model.module))]
