"""Blocks that are steps of an optimiser, written down before they are trained.

    crate    x += mssa(ln1 x);  x = ista(ln2 x)            patches of an image and a class token; features of the latter
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.architectures.entry import Entry, images
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import Output, Tap, mark
from interp.parts.crate import CrateBlock
from interp.parts.describe import norm_equations
from interp.parts.model import built
from interp.parts.norms import LayerNorm
from interp.parts.sitemap import declare_norm
from interp.results.errors import BadInput

_SIZES = dict(d_model=64, n_layers=2, n_heads=4, image=16, patch=4, channels=3, n_classes=10)


class Crate(nn.Module):
    """An image classifier of CRATE blocks."""

    def __init__(self, *, d_model: int, n_layers: int, n_heads: int, image: int, patch: int, channels: int,
                 n_classes: int):
        super().__init__()
        if image % patch or d_model % n_heads:
            raise BadInput(f"image {image} must be a multiple of patch {patch}, d_model {d_model} of n_heads {n_heads}")
        self.image = image
        self.embed = nn.Conv2d(channels, d_model, patch, stride=patch)
        self.cls = nn.Parameter(torch.zeros(d_model))
        self.position = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, d_model))
        self.blocks = nn.ModuleList(CrateBlock(d_model, n_heads) for _ in range(n_layers))
        self.ln_final = LayerNorm(d_model)
        self.unembed = nn.Linear(d_model, n_classes)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Class token and positions drawn as embeddings are."""
        self.cls.normal_(0.0, std, generator=generator)
        self.position.normal_(0.0, std, generator=generator)

    def forward(self, pixel_values: Float[Tensor, "batch channels side side"]) -> Float[Tensor, "batch n_classes"]:
        """Logits of the classes. Raises BadInput for images of another size."""
        if pixel_values.shape[-2:] != (self.image, self.image):
            raise BadInput(f"images are {list(pixel_values.shape[-2:])}; this model takes {self.image} x {self.image}")
        patches = self.embed(pixel_values).flatten(2).transpose(1, 2)
        x = mark(self, "embed", torch.cat([self.cls.expand(len(patches), 1, -1), patches], 1))
        x = x + mark(self, "position", self.position)
        for block in self.blocks:
            x = block(x)
        return self.unembed(self.ln_final(x)[:, 0])


def site_map(model: Crate) -> SiteMap:
    """Every site of the classifier; the first place is the class token's."""
    m = SiteMap(input_name="pixel_values")
    m.add("hook_embed", Tap("", "embed"))
    m.add("hook_pos_embed", Tap("", "position"))
    m.stem = Add("", ("hook_embed", "hook_pos_embed"), "blocks.0.hook_resid_pre")
    for depth, block in enumerate(model.blocks):
        block.declare(Declare(m, f"blocks.{depth}", f"blocks.{depth}", depth))
    m.final_norm, m.unembed = declare_norm(m, model, "ln_final"), "unembed"
    m.add("output", Tap("", view=Output()))
    return m


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """The forward pass: (equation, sites)."""
    return [
        ("x = [cls; patches W_patch + b_patch]", "hook_embed"),
        ("x = x + P", "hook_pos_embed"),
        (f"for d = 0 .. {len(model.module.blocks) - 1}:", ""),
        *((f"  {row}", sites) for row, sites in model.module.blocks[0].equations()),
        ("x = ln_final(x)", "ln_final.hook_scale|hook_normalized"),
        ("logits = x_cls W_U + b_U", "output"),
        *norm_equations(model.module),
    ]


def _make(*, seed: int, **given: int) -> HookedModel:
    sizes = _SIZES | given
    module = built(lambda: Crate(**sizes), seed, sizes["n_layers"])
    return HookedModel(module, site_map(module), name="crate", recipe={
        "source": "catalog", "name": "crate", "sizes": sizes})


MEMBERS: tuple[Entry, ...] = (
    Entry(name="crate", title="Subspace attention and sparse coding of image patches", family="white-box",
          kind="vision", make=_make, sizes=_SIZES, equations=equations, example=images, paper=8,
          citation="Yu et al. 2023, White-box transformers via sparse rate reduction, arXiv 2306.01129"),
)
