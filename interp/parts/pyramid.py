"""A model of stages (Wang et al. 2021, 2102.12122, section 3.1): an image halves between them and its width doubles.

    x = norm(stem(pixels));   blocks of stage 0;   x = norm(merge(x));   blocks of stage 1; ...
    logits = (mean over places of norm(x)) W_U + b_U

Shapes: pixels [batch, 3, side, side]; stage s has d_model 2^s, n_heads 2^s and a quarter of the places of the stage
before. Surprise: a stage is a stream of its own. Nothing is carried through a merge by addition, so that what a block
adds can be followed to the end of its stage only.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import IN, Image, Output, Tap
from interp.parts import norms
from interp.parts.block import Block, Sublayer
from interp.parts.context import Context
from interp.parts.describe import block_equations, norm_equations
from interp.parts.grid_attention import image, tokens
from interp.parts.group_norm import GroupNorm
from interp.parts.model import built
from interp.parts.sitemap import declare_block, declare_norm
from interp.parts.spec import Spec
from interp.results.errors import BadInput

Blocks = Callable[[int, int], tuple[Sublayer, ...]]  # (stage, number in it) -> the block as data


def halve(d_in: int, d_out: int) -> nn.Module:
    """Overlapping 3 x 3 patches, every second one."""
    return nn.Conv2d(d_in, d_out, 3, stride=2, padding=1)


def stem(patch: int, d_model: int) -> nn.Module:
    """Patches of pixels that do not overlap."""
    return nn.Conv2d(3, d_model, patch, stride=patch)


class Merge(nn.Module):
    """The stream of a stage as that of the next."""

    def __init__(self, merge: nn.Module, norm: nn.Module | None):
        super().__init__()
        self.merge, self.norm = merge, norm

    def forward(self, x: Float[Tensor, "batch pos d_in"]) -> Float[Tensor, "batch pos_out d_out"]:
        x = tokens(self.merge(image(x)))
        return x if self.norm is None else self.norm(x)


class Pyramid(nn.Module):
    """`n_stages` times `spec.n_layers` blocks. `spec` is of the first stage; `blocks` stand for its `block`, and its
    `embed_norm` is for merges too. `stem` makes an image of d_model channels from (patch, d_model), `merge` the next
    stage's from both widths."""

    def __init__(
        self, spec: Spec, blocks: Blocks, *, side: int, patch: int, n_stages: int = 2,
        stem: Callable[[int, int], nn.Module] = stem, merge: Callable[[int, int], nn.Module] = halve,
    ):
        super().__init__()
        if side % (patch * 2 ** (n_stages - 1)):
            raise BadInput(f"image {side} must be a multiple of patch {patch} times {2 ** (n_stages - 1)}, since its "
                           f"patches halve {n_stages - 1} times")
        self.image = side
        specs = [replace(spec, d_model=spec.d_model * 2**s, n_heads=spec.n_heads * 2**s) for s in range(n_stages)]
        self.embed = stem(patch, spec.d_model)
        self.embed_ln = spec.norm(spec.d_model) if spec.embed_norm else None
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(replace(own, block=blocks(s, i))) for i in range(spec.n_layers))
            for s, own in enumerate(specs))
        self.merges = nn.ModuleList(
            Merge(merge(a.d_model, b.d_model), spec.norm(b.d_model) if spec.embed_norm else None)
            for a, b in zip(specs, specs[1:]))
        self.ln_final = spec.norm(specs[-1].d_model)
        self.unembed = nn.Linear(specs[-1].d_model, spec.d_vocab)

    def forward(self, pixel_values: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch n_classes"]:
        """Logits of the classes. Raises BadInput for images of another size."""
        if pixel_values.shape[1:] != (3, self.image, self.image):
            raise BadInput(f"pixels have shape {list(pixel_values.shape)}; [batch, 3, {self.image}, {self.image}] is "
                           "needed")
        x = tokens(self.embed(pixel_values))
        x = x if self.embed_ln is None else self.embed_ln(x)
        for merge, stage in zip([None, *self.merges], self.stages):
            x = x if merge is None else merge(x)
            context = Context(torch.zeros(x.shape[:2], dtype=torch.long, device=x.device))
            for block in stage:
                x = block(x, context)
        return self.unembed(self.ln_final(x).mean(1))


def site_map(model: Pyramid) -> SiteMap:
    """Every site; depths count through all stages, and what goes into a merge and comes out of it are sites too."""
    m = SiteMap(input_name="pixel_values")
    m.add("hook_embed", Tap("embed", view=Image()))
    norm = None if model.embed_ln is None else declare_norm(m, model, "embed_ln")
    m.stem = Add("", ("hook_embed",), "blocks.0.hook_resid_pre", norm)
    depth = 0
    for s, stage in enumerate(model.stages):
        if s:
            if model.merges[s - 1].norm is not None:
                m.roles[f"merges.{s - 1}.norm"] = norms.role(model.merges[s - 1].norm)
            m.add(f"stage.{s - 1}.hook_out", Tap(f"merges.{s - 1}", IN))
            m.add(f"stage.{s}.hook_in", Tap(f"merges.{s - 1}"))
        for i, block in enumerate(stage):
            prefix = f"blocks.{depth}"
            declare_block(Declare(m, prefix, f"stages.{s}.{i}", depth), block)
            m.blocks[prefix] = replace(m.blocks[prefix], continues=i > 0 or s == 0)
            depth += 1
    final = declare_norm(m, model, "ln_final")
    m.final_norm = None if isinstance(model.ln_final, GroupNorm) else final  # that is no map of one place
    m.add("output", Tap("", view=Output()))
    return m


def hooked(make: Callable[[], Pyramid], branches: int, seed: int, *, name: str, recipe: dict) -> HookedModel:
    """What `make` makes with weights from the seed, hooked; `branches` write to the stream of one stage."""
    model = built(make, seed, branches)
    return HookedModel(model, site_map(model), name=name, recipe=recipe)


def images(model: HookedModel, *, batch: int = 2, seed: int = 0, **_) -> Tensor:
    """Random images of the model's size, [batch, 3, side, side]."""
    side = model.module.image
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """The forward pass: (equation, sites). Blocks that read alike are written once."""
    module = model.module
    alike: dict[tuple, list[int]] = {}
    for depth, block in enumerate(block for stage in module.stages for block in stage):
        alike.setdefault(tuple(block_equations(block)), []).append(depth)
    normed = module.embed_ln is not None
    rows = [("x = stem(pixels)", "hook_embed")]
    rows += [("x = embed_ln(x)", "embed_ln.hook_scale|hook_normalized")] if normed else []
    for block, depths in alike.items():
        rows += [(f"at d = {', '.join(map(str, depths))}:", ""), *((f"  {row}", sites) for row, sites in block)]
    per = len(module.stages[0])
    merge = "norm(merge(x))" if normed else "merge(x)"
    behind = " and ".join(f"d = {per * (s + 1) - 1}" for s in range(len(module.merges)))
    return [
        *rows,
        (f"behind {behind}: x = {merge}, half as many places a side", "stage.hook_out, stage.hook_in"),
        ("x = ln_final(x)", "ln_final.hook_scale|hook_normalized"),
        ("logits = mean over places of x, W_U + b_U", "output"),
        *norm_equations(module),
    ]
