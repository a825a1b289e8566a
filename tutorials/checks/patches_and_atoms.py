"""Checks of notebook 14."""

import numpy as np
import torch
from lesson import check


@check
def painted(answer) -> None:
    """one patch is white, the rest as it was"""
    pixels = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = pixels.clone()
    for place, corner in ((0, (0, 0)), (3, (0, 6)), (9, (4, 2)), (15, (6, 6))):
        found = answer(pixels, place)
        changed = (found != before).any(0)[0]
        right = torch.zeros(8, 8, dtype=torch.bool)
        right[corner[0] : corner[0] + 2, corner[1] : corner[1] + 2] = True
        assert torch.equal(pixels, before), "work on a copy: the image you were given has changed"
        assert torch.equal(changed, right), f"patch {place} is rows and columns from {corner}; other pixels differ"
        assert (found[:, 0, right] == -1).all(), "white is -1"


@check
def agreement(answer) -> None:
    """one rank correlation for each image"""
    effect = np.array([[1.0, 4.0], [2.0, 3.0], [3.0, 2.0], [4.0, 1.0]])
    found = np.asarray(answer(effect**3, effect))
    assert found.shape == (2,), f"two images make two correlations, not shape {found.shape}"
    assert np.allclose(found, 1), "the order is the same in both images, whatever the scale: 1 and 1"
    found = np.asarray(answer(effect[:, ::-1], effect))
    assert np.allclose(found, -1), "with the two images exchanged the order is reversed in both: -1 and -1"
    found = np.asarray(answer(np.array([[1.0], [2.0], [4.0], [3.0]]), np.array([[10.0], [20.0], [30.0], [90.0]])))
    assert np.allclose(found, 0.8), f"one exchange of neighbours among four leaves 0.8, not {found}"


@check
def atom_map(answer) -> None:
    """the largest attention among the atoms of the reactants"""
    pattern = torch.zeros(6, 6)
    pattern[4, 1], pattern[4, 2], pattern[4, 0] = 0.2, 0.1, 0.7  # most goes to a bracket, which is no atom
    pattern[5, 2], pattern[5, 4] = 0.4, 0.6  # most goes to an atom of the product
    pattern[1, 5], pattern[2, 4] = 0.9, 0.9  # the other direction
    found = [tuple(map(int, pair)) for pair in answer(pattern, [4, 5], [1, 2])]
    assert found == [(4, 1), (5, 2)], f"4 came from 1 and 5 from 2, not {found}"


@check
def visits(answer) -> None:
    """the visits of every head"""
    found = answer([0, 7])
    assert len(found) == 8, f"eight heads make eight lists, not {len(found)}"
    for head, sources in enumerate(found):
        places = [(source.site, source.head) for source in sources]
        right = [(f"blocks.{depth}.attn.hook_z", head) for depth in (0, 7)]
        assert places == right, f"head {head} at depths 0 and 7 is {right}, not {places}"
