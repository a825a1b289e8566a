"""What reversed attention must do for its paper to be told right (`works_when` of seeds.tsv)."""

import networkx
import pytest
import torch

from interp.architectures import build
from interp.parts.reversed_attention import dependency_tree, parts_of
from interp.results.errors import BadInput

SIZES = dict(d_model=32, n_layers=2, n_heads=4, n_ctx=16)


def _model():
    model = build("dependency-vit", seed=1, **SIZES).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    pixels = torch.randn(3, 3, 16, 16, generator=generator, dtype=torch.float64)
    return model, pixels, model.run_with_cache(pixels)[1]


def test_works_when_115_dependency_vit():
    """What a sender sends is a distribution over receivers, columns of the pattern its share of it; trees read off are
    trees."""
    _, _, cache = _model()
    for depth in range(2):
        send, message, pattern, v, z = (cache[f"blocks.{depth}.attn.hook_{p}"] for p in (
            "send", "message", "pattern", "v", "z"))
        assert torch.allclose(send.sum(-1), torch.ones(3, 4, 16).double())
        assert torch.allclose(pattern.sum(-2), message[:, None].expand(3, 4, 16))
        assert (pattern.sum(-1) - 1).abs().max() > 0.1
        wanted = torch.einsum("bi,bhij,bihd->bjhd", message, send, v)
        assert torch.allclose(wanted, z, atol=1e-12)
        for row in send.mean(1):
            parents = dependency_tree(row)
            tree = networkx.DiGraph((parent, child) for child, parent in enumerate(parents) if parent >= 0)
            assert parents.count(-1) == 1 and networkx.is_arborescence(tree) and len(tree) == 16


def test_works_when_115_dependency_vit_tree_partitions_shapes():
    """Two flat shapes on an image of 4 x 4 patches: patches send to what is coloured as they are, and to neighbours
    most. Cut in two, the tree's parts are the shapes; the queries and keys are set by hand, nothing is trained."""
    shape = torch.zeros(4, 4, dtype=torch.long)
    shape[:, 2:] = 1
    shape[0, 1] = 1
    colour, place = shape.flatten(), torch.cartesian_prod(torch.arange(4), torch.arange(4)).double()
    scores = 8.0 * (colour[:, None] == colour) - torch.cdist(place, place)
    send = scores.fill_diagonal_(-1e9).softmax(-1)
    found = torch.tensor(parts_of(dependency_tree(send), send, 2))
    assert torch.equal(found, colour) or torch.equal(1 - found, colour)


def test_the_tree_is_the_best_one_and_not_the_largest_entries():
    send = torch.tensor([[0.0, 0.9, 0.1], [0.8, 0.0, 0.2], [0.7, 0.3, 0.0]])
    assert send.argmax(-1).tolist() == [1, 0, 0]  # a circle
    assert dependency_tree(send) == [1, -1, 0]  # 0.9 * 0.7
    assert parts_of([1, -1, 0], send, 1) == [0, 0, 0] and parts_of([1, -1, 0], send, 2) == [0, 0, 1]
    assert dependency_tree(torch.ones(1, 1)) == [-1]


def test_a_silenced_sender_reaches_nobody():
    model, pixels, _ = _model()
    seen = {}
    model.run_with_hooks(pixels, [
        ("blocks.0.attn.hook_message", lambda value, site: value.index_fill(1, torch.tensor([3]), 0.0)),
        ("blocks.0.attn.hook_pattern", lambda value, site: seen.update(pattern=value.clone()))])
    assert not seen["pattern"][..., 3].any() and seen["pattern"][..., 4].any()


def test_wrong_images_and_sizes_are_refused():
    with pytest.raises(BadInput, match="16, 16"):
        build("dependency-vit", **SIZES)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(BadInput, match="no square"):
        build("dependency-vit", n_ctx=15)
