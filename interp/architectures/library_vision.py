"""Image classifiers whose modules are those of transformers, built small: the catalog adds a name and a site map.

    swin         x += attn in windows(ln1 x);  x += mlp(ln2 x)         every second block shifts its windows by half one
    poolformer   x += s1 * (pool - 1)(norm x);  x += s2 * mlp(norm x)  the 3x3 mean in place of attention
    convnext     x += s * mlp(ln(conv x))                              a depthwise 7x7 and an MLP in one branch

Two stages each; between them the image halves and the width doubles. Surprises: what stands in one shifted window and
is no neighbour in the image is masked with -100, not with -inf; PoolFormer subtracts what it pools from, so that the
rows of its mixing matrix sum to 0, and its norm is over all positions and channels of an image at once.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from interp.adapters import transformers
from interp.architectures.entry import Entry
from interp.hooks.model import HookedModel
from interp.results.errors import BadInput

_SWIN = dict(d_model=32, n_layers=2, n_heads=2, window=2, image=32, patch=4, n_classes=10)
_POOL = dict(d_model=32, n_layers=2, image=32, n_classes=10)


def _swin(library, *, d_model: int, n_layers: int, n_heads: int, window: int, image: int, patch: int,
          n_classes: int) -> nn.Module:
    side = image // patch
    if d_model % n_heads or image % patch or side % (2 * window) or side <= 2 * window:
        raise BadInput(f"d_model {d_model} must be a multiple of n_heads {n_heads}, image {image} of patch {patch}, "
                       f"and the {side} patches of a side of 2 * window, with more than one window in the second stage")
    return library.SwinForImageClassification(library.SwinConfig(
        embed_dim=d_model, depths=[n_layers] * 2, num_heads=[n_heads, 2 * n_heads], window_size=window,
        image_size=image, patch_size=patch, num_labels=n_classes, drop_path_rate=0.0))


def _poolformer(library, *, d_model: int, n_layers: int, image: int, n_classes: int) -> nn.Module:
    if image % 8:
        raise BadInput(f"image {image} must be a multiple of 8: patches of 4 that halve once")
    return library.PoolFormerForImageClassification(library.PoolFormerConfig(
        hidden_sizes=[d_model, 2 * d_model], depths=[n_layers] * 2, num_encoder_blocks=2, patch_sizes=[7, 3],
        strides=[4, 2], padding=[2, 1], num_labels=n_classes, drop_path_rate=0.0, layer_scale_init_value=0.5))


def _convnext(library, *, d_model: int, n_layers: int, image: int, n_classes: int) -> nn.Module:
    if image % 8:
        raise BadInput(f"image {image} must be a multiple of 8: patches of 4 that halve once")
    return library.ConvNextForImageClassification(library.ConvNextConfig(
        hidden_sizes=[d_model, 2 * d_model], depths=[n_layers] * 2, num_stages=2, image_size=image,
        num_labels=n_classes, drop_path_rate=0.0, layer_scale_init_value=0.5))


def images(model: HookedModel, *, batch: int = 2, seed: int = 0, **_) -> Tensor:
    """Random images, [batch, 3, image, image], of the size in the model's recipe."""
    side = model.recipe["sizes"]["image"]
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


SWIN_ROWS = [
    ("u = ln1(resid_pre)", "ln1.hook_scale|hook_normalized"),
    ("q_h, k_h, v_h = u W_q + b_q, u W_k + b_k, u W_v + b_v, cut into windows", "attn.hook_q|k|v"),
    ("s_h = q_h k_h^T / sqrt(d_head) + B_h[offset]; 2nd, 4th .. of a stage: shifted", "attn.hook_attn_scores"),
    ("A_h = softmax(s_h), of one window", "attn.hook_pattern"),
    ("z_h = A_h v_h", "attn.hook_z"),
    ("attn_out = sum_h z_h W_o,h + b_o", "attn.hook_result, hook_attn_out"),
    ("resid_mid = resid_pre + attn_out", "hook_resid_mid"),
    ("u = ln2(resid_mid)", "ln2.hook_scale|hook_normalized"),
]
POOL_ROWS = [
    ("mixer_out = s_1 (mean of 3x3 neighbours - 1) norm(resid_pre)", "hook_mixer_out"),
    ("resid_mid = resid_pre + mixer_out", "hook_resid_mid"),
    ("u = norm(resid_mid)", ""),
]


def _convnext_rows(model: HookedModel) -> list[tuple[str, str]]:
    return [
        ("x = LN(patches W_patch + b_patch)", "hook_embed"),
        (f"for d = 0 .. {model.n_layers - 1}, in 2 stages:", ""),
        ("  resid_pre = x", "hook_resid_pre"),
        ("  z = depthwise conv 7 x 7 of resid_pre", "mixer.hook_z"),
        ("  pre = LN(z) W_up + b_up", "mlp.hook_pre"),
        ("  post = GELU(pre)", "mlp.hook_post"),
        ("  mixer_out = s (post W_down + b_down)", "hook_mixer_out"),
        ("  resid_post = x = resid_pre + mixer_out", "hook_resid_post"),
        ("between stages: 2x2 patches of LN(x) merge, twice as wide", "stage.hook_in, stage.hook_out"),
        ("logits = LN(mean over places of x) W_U + b_U", "output"),
    ]


def _equations(block: list[tuple[str, str]], mlp: str, final: str) -> Callable:
    def rows(model: HookedModel) -> list[tuple[str, str]]:
        stages = [("between stages: 2x2 patches merge, twice as wide", "stage.hook_in, stage.hook_out")]
        return [
            ("x = patches W_patch + b_patch", "hook_embed"),
            (f"for d = 0 .. {model.n_layers - 1}, in 2 stages:", ""),
            ("  resid_pre = x", "hook_resid_pre"),
            *((f"  {row}", sites) for row, sites in block),
            ("  pre = u W_up + b_up", "mlp.hook_pre"),
            ("  post = GELU(pre)", "mlp.hook_post"),
            (f"  mlp_out = {mlp}", "hook_mlp_out"),
            ("  resid_post = x = resid_mid + mlp_out", "hook_resid_post"),
            *(stages if "stage.0.hook_in" in model.map.sites else [(stages[0][0], "")]),
            (final, "ln_final.hook_scale|hook_normalized" if model.map.final_norm else ""),
            ("logits = mean over places of x, W_U + b_U", "output"),
        ]

    return rows


def _member(name: str, title: str, sizes: dict[str, int], module: Callable[..., nn.Module], **facts) -> Entry:
    def make(*, seed: int, **given: int) -> HookedModel:
        library = transformers.library()
        with torch.random.fork_rng(devices=[]):  # the library draws its weights from the global state
            torch.manual_seed(seed)
            made = module(library, **sizes | given).eval()
        model = transformers.hook(made, name=name)
        model.recipe = {"source": "catalog", "name": name, "sizes": sizes | given}
        return model

    return Entry(name=name, title=title, kind="vision", make=make, sizes=sizes, example=images, **facts)


MEMBERS: tuple[Entry, ...] = (
    _member("swin", "Attention in windows that every second block shifts", _SWIN, _swin, family="window attention",
            equations=_equations(SWIN_ROWS, "post W_down + b_down", "x = ln_final(x)"), paper=106,
            citation="Liu et al. 2021, Swin transformer, arXiv 2103.14030"),
    _member("poolformer", "Mean of the neighbours in place of attention", _POOL, _poolformer, family="pooling",
            equations=_equations(POOL_ROWS, "s_2 (post W_down + b_down)", "x = norm(x)"), paper=73,
            citation="Yu et al. 2022, MetaFormer is actually what you need for vision, arXiv 2111.11418"),
    _member("convnext", "A depthwise convolution in place of attention", _POOL, _convnext, family="pooling",
            equations=_convnext_rows, paper=100, citation="Liu et al. 2022, A ConvNet for the 2020s, arXiv 2201.03545"),
)
