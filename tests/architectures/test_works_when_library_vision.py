"""Swin (106), PoolFormer (73), ConvNeXt (100): hooked modules give the library's logits, mixing matrices are of the
whole image."""

import pytest
import torch
import transformers as T

from interp.architectures import build
from interp.architectures.metaformer import MIXERS
from interp.parts.group_norm import GroupNorm
from interp.results.errors import BadInput


def _images(side: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _shaken(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator).to(p))
    return model.to(torch.float64)


def _place(row: int, column: int) -> int:
    return 8 * row + column


def test_works_when_106_swin_hooked_matches_the_logits_of_the_library():
    model = _shaken(build("swin", seed=1))
    config = T.SwinConfig(embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=2, image_size=32, patch_size=4,
                          num_labels=10)
    plain = T.SwinForImageClassification(config).double().eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        wanted = plain(_images()).logits
    assert torch.allclose(model.run_with_cache(_images())[0], wanted, atol=1e-12)


def test_works_when_106_swin_patterns_are_unshifted_to_the_whole_image():
    """The matrix of the whole image gives what attention writes, from values made place by place."""
    model = _shaken(build("swin", seed=1))
    cache = model.run_with_cache(_images())[1]
    for depth in range(4):
        block = model.module.get_submodule(model.map.blocks[f"blocks.{depth}"].path)
        matrix = model.mixing_matrix(cache, depth)
        with torch.no_grad():
            values = block.attention.v_proj(block.layernorm_before(cache[f"blocks.{depth}.hook_resid_pre"]))
            values = values.unflatten(-1, (matrix.shape[1], -1))
            z = torch.einsum("bhqk,bkhd->bqhd", matrix, values).flatten(2)
            out = block.attention.o_proj(z)
        assert torch.allclose(out, cache[f"blocks.{depth}.hook_attn_out"], atol=1e-10)
        assert torch.allclose(matrix.sum(-1), torch.ones(()).double(), atol=1e-12)


def test_shifted_windows_are_where_they_belong_in_the_image():
    """8 x 8 places in windows of 2: a block sees its aligned square, the next one the square between four of them. At
    the rim half a window is left, and what the shift puts beside it from the other side of the image is masked."""
    model = _shaken(build("swin", seed=1))
    cache = model.run_with_cache(_images())[1]
    aligned, shifted = (model.mixing_matrix(cache, d)[0, 0] > 1e-30 for d in (0, 1))
    assert aligned[_place(2, 3)].nonzero().flatten().tolist() == [_place(r, c) for r in (2, 3) for c in (2, 3)]
    assert shifted[_place(2, 3)].nonzero().flatten().tolist() == [_place(r, c) for r in (1, 2) for c in (3, 4)]
    assert shifted[_place(0, 3)].nonzero().flatten().tolist() == [_place(0, 3), _place(0, 4)]
    assert shifted[_place(0, 0)].nonzero().flatten().tolist() == [_place(0, 0)]


def test_windows_that_do_not_divide_the_image_have_no_matrix():
    with pytest.raises(BadInput, match="more than one window in the second stage"):
        build("swin", window=4)
    model = build("swin").to(torch.float64)
    cache = model.run_with_cache(_images(36))[1]
    with pytest.raises(BadInput, match="windows of 2 do not divide its 9 x 9"):
        model.mixing_matrix(cache, 0)


def test_works_when_73_poolformer_mixing_matrix_is_the_pooling():
    """Applied to the normed stream it gives what the mixer writes; a place in the middle has 9 neighbours."""
    model = _shaken(build("poolformer", seed=1))
    cache = model.run_with_cache(_images())[1]
    block = model.module.get_submodule(model.map.blocks["blocks.1"].path)
    stream, matrix = cache["blocks.1.hook_resid_pre"], model.mixing_matrix(cache, 1)[0, 0]
    with torch.no_grad():
        normed = block.before_norm(stream.transpose(1, 2).reshape(2, -1, 8, 8)).flatten(2).transpose(1, 2)
        wanted = block.layer_scale_1 * (matrix @ normed)
    assert torch.allclose(cache["blocks.1.hook_mixer_out"], wanted, atol=1e-12)
    corner, middle = matrix[_place(0, 0)], matrix[_place(4, 4)]
    assert torch.allclose(corner[corner > 0], torch.tensor(1 / 4).double()) and (corner > 0).sum() == 3
    assert torch.allclose(middle[middle > 0], torch.tensor(1 / 9).double()) and (middle > 0).sum() == 8
    assert torch.allclose(matrix.sum(1), torch.zeros(()).double(), atol=1e-12)


def test_works_when_100_convnext():
    """Hooked, it gives the logits of the library, and its branches sum to the stream within a stage; the matrix of its
    convolution, channel by channel, gives what the convolution gives but for the bias."""
    model = _shaken(build("convnext", seed=1))
    plain = T.ConvNextForImageClassification(model.module.config).double().eval()
    plain.load_state_dict(model.state_dict())
    logits, cache = model.run_with_cache(_images())
    with torch.no_grad():
        assert torch.allclose(logits, plain(_images()).logits, atol=1e-12)
    total = cache["blocks.0.hook_resid_pre"] + cache["blocks.0.hook_mixer_out"] + cache["blocks.1.hook_mixer_out"]
    assert torch.allclose(total, cache["blocks.1.hook_resid_post"], atol=1e-12)
    for depth in (0, 3):
        block = model.module.get_submodule(model.map.blocks[f"blocks.{depth}"].path)
        matrix = model.mixing_matrix(cache, depth)[0]
        z = torch.einsum("cqk,bkc->bqc", matrix, cache[f"blocks.{depth}.hook_resid_pre"]) + block.dwconv.bias
        assert torch.allclose(z, cache[f"blocks.{depth}.mixer.hook_z"], atol=1e-12)
    place = model.mixing_matrix(cache, 0)[0, 0, _place(4, 4)].view(8, 8)
    assert torch.allclose(place[1:, 1:], model.module.convnext.encoder.stages[0].layers[0].dwconv.weight[0, 0])
    assert not place[0].any() and not place[:, 0].any()


# -- the same block with any mixer -------------------------------------------------------------------------------------


def test_works_when_73_metaformer_of_parts_equals_poolformer_with_its_weights():
    """Every tensor of the library's model under its name in ours; 1x1 convolutions are linear maps."""
    theirs, ours = _shaken(build("poolformer", seed=1)), build("metaformer-pooling").to(torch.float64)
    names = {"patch_embeddings.0.projection": "embed", "patch_embeddings.1.projection": "merges.0.merge",
             "before_norm": "ln1", "after_norm": "ln2", "layer_scale_1": "mixer_gate.scale",
             "layer_scale_2": "mlp_gate.scale", "output.conv1": "mlp.up", "output.conv2": "mlp.down",
             "poolformer.encoder.": "", "classifier": "unembed", "block": "stages"}
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        name = name.replace("norm.", "ln_final.") if name.startswith("norm.") else name
        state[name] = value.flatten(1) if name.endswith(("up.weight", "down.weight")) else value
    ours.module.load_state_dict(state)
    assert torch.allclose(ours(_images()), theirs(_images()), atol=1e-10)
    of_ours, of_theirs = (model.run_with_cache(_images())[1] for model in (ours, theirs))
    for name in ("mixer_out", "mlp_out", "resid_post"):
        at = f"blocks.3.hook_{name}"
        assert torch.allclose(of_ours[at], of_theirs[at], atol=1e-10)


def test_works_when_73_metaformer_mixers_are_swapped_by_name():
    """What differs is the mixer alone, and only pooling and attention let a place see another in a stage."""
    models = {mixer: _shaken(build(f"metaformer-{mixer}", seed=1)) for mixer in MIXERS}
    rest = [{name: tuple(p.shape) for name, p in model.module.named_parameters()
             if not any(part in name for part in ("mixer", "attn"))} for model in models.values()]
    assert rest[0] == rest[1] == rest[2] and len(rest[0]) > 20
    reach = {mixer: model.mixing_matrix(model.run_with_cache(_images())[1], 0)[0, 0] for mixer, model in models.items()}
    assert torch.equal(reach["identity"], torch.eye(64).double())
    assert (reach["pooling"] != 0).sum(1).tolist().count(9) == 36 and (reach["attention"] > 0).all()


def test_group_norm_of_a_stream_equals_torchs():
    norm, theirs = GroupNorm(6).double(), torch.nn.GroupNorm(1, 6).double()
    x = torch.randn(2, 9, 6, dtype=torch.float64)
    with torch.no_grad():
        for p, q in zip(norm.parameters(), theirs.parameters()):
            q.copy_(p.normal_())
    wanted = theirs(x.transpose(1, 2).view(2, 6, 3, 3)).flatten(2).transpose(1, 2)
    assert torch.allclose(norm(x), wanted, atol=1e-12)
