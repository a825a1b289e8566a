"""A model of parts that reads images: patches are its tokens (Dosovitskiy et al. 2020, 2010.11929, section 3.1), and
its output is a class for the mean of all of them.

    x_t = W patch_t + b + P[t]        blocks and final norm as in a language model        logits = (mean_t x_t) W_U

Shapes: pixels [batch, 3, side, side], side = patch * sqrt(n_ctx); logits [batch, d_vocab], the classes. Surprise: with
no class token the logits are a mean over positions, so that each patch has logits of its own that add up to them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.model import HookedModel
from interp.parts.context import Context
from interp.parts.describe import equations as rows_of
from interp.parts.model import Model, built
from interp.parts.sitemap import site_map
from interp.parts.spec import Spec
from interp.results.errors import BadInput

PATCH = 4


class PatchEmbed(nn.Module):
    """Non-overlapping patches, row by row, each through one linear map."""

    def __init__(self, d_model: int, patch: int):
        super().__init__()
        self.project = nn.Conv2d(3, d_model, patch, stride=patch)

    def forward(self, pixels: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch pos d_model"]:
        return self.project(pixels).flatten(2).transpose(1, 2)


class PatchModel(Model):
    """A spec whose tokens are patches: `n_ctx`, a square, is how many, `d_vocab` the number of classes."""

    def __init__(self, spec: Spec, patch: int = PATCH):
        super().__init__(spec)
        self.side = patch * math.isqrt(spec.n_ctx)
        if math.isqrt(spec.n_ctx) ** 2 != spec.n_ctx:
            raise BadInput(f"n_ctx {spec.n_ctx} is no square, so its patches make no square image")
        self.embed = PatchEmbed(spec.d_model, patch)

    def forward(self, pixel_values: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch d_vocab"]:
        """Logits of the classes. Raises BadInput for images of another size."""
        if pixel_values.shape[1:] != (3, self.side, self.side):
            raise BadInput(f"pixels have shape {list(pixel_values.shape)}; [batch, 3, {self.side}, {self.side}] is "
                           "needed")
        x = self.embed(pixel_values)
        context = Context(torch.zeros(x.shape[:2], dtype=torch.long, device=x.device))
        x = x if self.pos_embed is None else x + self.pos_embed(context.place).to(x.dtype)
        for index, _ in self.schedule():
            x = self.blocks[index](x, context)
        return self.unembed(x if self.ln_final is None else self.ln_final(x)).mean(1)


def hooked(spec: Spec, seed: int, *, name: str = "", recipe: dict | None = None) -> HookedModel:
    """A `PatchModel` with weights from the seed, hooked. Raises BadInput for a spec with a tied head."""
    if "head" in spec.tied:
        raise BadInput("an image model has no token embedding that its head could be tied to")
    model = built(lambda: PatchModel(spec), seed, len(spec.block) * spec.n_layers)
    m = site_map(model)
    m.input_name, m.d_vocab, m.n_ctx, m.unembed = "pixel_values", None, None, None
    return HookedModel(model, m, name=name, recipe=recipe)


def images(model: HookedModel, *, batch: int = 2, n_pos: int = 0, seed: int = 0) -> Tensor:
    """Random pixels for such a model."""
    side = model.module.side
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """All equations from pixels to logits."""
    said = {"x = E[tokens]": "x = W patches + b", "logits = x W_U": "logits = (mean over positions of x) W_U"}
    return [(said.get(equation, equation), sites) for equation, sites in rows_of(model.module)]
