"""Checks of notebook 09."""

import torch
from lesson import check


@check
def nearest_code(answer) -> None:
    """the code with the largest cosine"""
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [9.0, 9.0]])
    vectors = torch.tensor([[5.0, 0.1], [0.01, 0.03], [-2.0, 0.5], [1.0, 0.8], [3.0, -20.0]])
    found = torch.as_tensor(answer(vectors, codes)).tolist()
    assert found == [0, 1, 2, 3, 0], f"the nearest by cosine are 0 1 2 3 0, not {' '.join(map(str, found))}"


@check
def detects(answer) -> None:
    """precision and recall of a code"""
    ids = torch.tensor([[4, 7, 4, 4], [1, 4, 7, 4]])
    labels = torch.tensor([[-100, 2, -100, 9], [-100, 9, -100, 9]])
    found = tuple(answer(ids, labels, 4, 9))
    assert found == (0.6, 1.0), f"code 4 is active five times, three of them on the three 9s: (0.6, 1.0), not {found}"
    found = tuple(answer(ids, labels, 7, 2))
    assert found == (0.5, 1.0), f"code 7 is active twice, once on the only 2: (0.5, 1.0), not {found}"
    found = tuple(answer(ids, labels, 99, 9))
    assert found == (0, 0), f"a code that is never active has (0, 0), not {found}"


@check
def with_codes_of(answer, books, fsm) -> None:
    """a run with the codes of another"""
    a, b = (fsm.write(fsm.states(12, 5, torch.Generator().manual_seed(seed))) for seed in (1, 2))
    first, second = books.sites
    ids, before = books.codes(b), books(a)
    found = answer(books, a, b, [first, second])
    assert found.shape == before[:, -1].shape, f"logits of the last position, {list(before[:, -1].shape)}"
    edited = books.put(first, ids[first], pos=slice(-2, None)).put(second, ids[second], pos=slice(-2, None))
    with books.model.edit(edited):
        right = books.model(a)[:, -1]
    assert torch.allclose(found, right, atol=1e-4), "both sites at once, with the codes of b, at the last two positions"
    with books.model.edit(books.put(second, ids[second], pos=slice(-2, None))):
        right = books.model(a)[:, -1]
    assert torch.allclose(answer(books, a, b, [second]), right, atol=1e-4), "only the given sites"
    assert torch.equal(books(a), before), "leave the books as they were"
