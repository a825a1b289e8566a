"""Image classifiers that visit a block more than once.

    sret    every block twice in a row with a small MLP between; depths are visit, MLP, visit, then the next block's
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.architectures.entry import Entry, images
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import Output, Tap, mark
from interp.parts.describe import norm_equations
from interp.parts.model import built
from interp.parts.norms import LayerNorm
from interp.parts.sitemap import declare_norm
from interp.parts.sliced import Between, SlicedBlock
from interp.results.errors import BadInput

_SIZES = dict(d_model=64, n_layers=1, n_visits=2, n_heads=4, n_groups=4, image=16, patch=4, channels=3, n_classes=10)


class Sret(nn.Module):
    """Patches, blocks visited `n_visits` times each, the mean over places, a head."""

    def __init__(self, *, d_model: int, n_layers: int, n_visits: int, n_heads: int, n_groups: int, image: int,
                 patch: int, channels: int, n_classes: int):
        super().__init__()
        n = (image // patch) ** 2
        if image % patch or d_model % n_heads or n % n_groups:
            raise BadInput(f"image {image} must be a multiple of patch {patch}, d_model {d_model} of n_heads {n_heads} "
                           f"and the {n} patches of n_groups {n_groups}")
        self.image, self.n_visits = image, n_visits
        self.embed = nn.Conv2d(channels, d_model, patch, stride=patch)
        self.position = nn.Parameter(torch.zeros(1, n, d_model))
        self.blocks = nn.ModuleList(SlicedBlock(d_model, n_heads, n_groups) for _ in range(n_layers))
        self.between = nn.ModuleList(
            nn.ModuleList(Between(d_model) for _ in range(n_visits - 1)) for _ in range(n_layers))
        self.ln_final = LayerNorm(d_model)
        self.unembed = nn.Linear(d_model, n_classes)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Positions drawn as embeddings are."""
        self.position.normal_(0.0, std, generator=generator)

    def forward(self, pixel_values: Float[Tensor, "batch channels side side"]) -> Float[Tensor, "batch n_classes"]:
        """Logits of the classes. Raises BadInput for images of another size."""
        if pixel_values.shape[-2:] != (self.image, self.image):
            raise BadInput(f"images are {list(pixel_values.shape[-2:])}; this model takes {self.image} x {self.image}")
        x = mark(self, "embed", self.embed(pixel_values).flatten(2).transpose(1, 2))
        x = x + mark(self, "position", self.position)
        for block, between in zip(self.blocks, self.between):
            for visit in range(self.n_visits):
                x = between[visit - 1](x) if visit else x
                x = block(x, visit)
        return self.unembed(self.ln_final(x).mean(1))


def site_map(model: Sret) -> SiteMap:
    """Every visit, and every MLP between two, is a depth."""
    m = SiteMap(input_name="pixel_values")
    m.add("hook_embed", Tap("", "embed"))
    m.add("hook_pos_embed", Tap("", "position"))
    m.stem = Add("", ("hook_embed", "hook_pos_embed"), "blocks.0.hook_resid_pre")
    depth = 0
    for layer, block in enumerate(model.blocks):
        for visit in range(model.n_visits):
            if visit:
                path = f"between.{layer}.{visit - 1}"
                model.get_submodule(path).declare(Declare(m, f"blocks.{depth}", path, depth))
                depth += 1
            block.declare(Declare(m, f"blocks.{depth}", f"blocks.{layer}", depth, visit))
            depth += 1
    m.final_norm, m.unembed = declare_norm(m, model, "ln_final"), "unembed"
    m.add("output", Tap("", view=Output()))
    return m


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """The forward pass: (equation, sites)."""
    module = model.module
    return [
        ("x = patches W_patch + b_patch", "hook_embed"),
        ("x = x + P", "hook_pos_embed"),
        (f"for each of {len(module.blocks)} blocks, {module.n_visits} visits:", ""),
        *((f"  {row}", sites) for row, sites in module.blocks[0].equations()),
        ("  between visits: x = x + mlp(ln2(x)), mlp_out, weights of its own", ""),
        ("x = ln_final(x)", "ln_final.hook_scale|hook_normalized"),
        ("logits = mean over places of x, W_U + b_U", "output"),
        *norm_equations(module),
    ]


def _make(*, seed: int, **given: int) -> HookedModel:
    sizes = _SIZES | given
    module = built(lambda: Sret(**sizes), seed, 2 * sizes["n_layers"] * sizes["n_visits"])
    return HookedModel(module, site_map(module), name="sret", recipe={
        "source": "catalog", "name": "sret", "sizes": sizes})


MEMBERS: tuple[Entry, ...] = (
    Entry(name="sret", title="Sliced recursive attention over image patches", family="looped", kind="vision",
          make=_make, sizes=_SIZES, equations=equations, example=images, paper=63,
          citation="Shen et al. 2021, Sliced recursive transformer, arXiv 2111.05297"),
)
