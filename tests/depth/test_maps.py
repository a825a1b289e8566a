"""Linear maps between depths: a literal ridge, exact maps found, the diagonal test on tables made by hand."""

import numpy as np
import pytest
import torch

from interp.depth.maps import diagonal_test, map_depths
from interp.depth.streams import Streams
from interp.results.errors import BadInput


def _streams(values, prompts=20, name=""):
    prompt = torch.arange(prompts).repeat_interleave(len(values[0]) // prompts)
    return Streams([v.float() for v in values], prompt, torch.zeros_like(prompt), name)


def _rows(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_a_linear_function_of_a_depth_is_mapped_without_error_and_noise_with_all_of_it():
    x = [_rows(400, 5, s) for s in (0, 1)]
    y = [x[0] @ _rows(5, 8, 2) + 3, x[1] @ _rows(5, 4, 3), _rows(400, 3, 4)]
    found = map_depths(_streams(x), _streams(y), ridges=(1e-8, 1.0))
    assert found.error[0, 0] < 1e-3 and found.error[1, 1] < 1e-3
    assert found.error[0, 1] > 0.9 and (found.error[:, 2] > 0.95).all()
    assert found.ridge[0, 0] == 1e-8 and found.frame().shape[0] == 6 and found.figure().data


def test_the_map_is_the_ridge_regression_of_the_fitting_rows():
    from interp.depth.maps import _fits

    x, y, ridge = _rows(50, 4, 0).double(), _rows(50, 3, 1).double(), 0.3
    weight, shift = _fits(x, [y], (ridge,))[ridge]
    a, b = x - x.mean(0), y - y.mean(0)
    lam = ridge * a.pow(2).mean() * len(a)
    literal = torch.linalg.inv(a.T @ a + lam * torch.eye(4)) @ a.T @ b
    assert torch.allclose(weight, literal) and torch.allclose(shift, y.mean(0) - x.mean(0) @ literal)


def test_the_diagonal_test_tells_a_drawn_out_model_from_one_in_another_order():
    shallow, deep = np.linspace(0, 1, 5)[:, None], np.linspace(0, 1, 9)[None]
    drawn_out = diagonal_test(np.abs(shallow - deep))
    assert drawn_out["correlation"] > 0.97 and drawn_out["distance"] < 0.1 and drawn_out["p"] < 0.01
    assert diagonal_test(np.abs(shallow - deep[:, ::-1]))["correlation"] < -0.97
    flat = np.ones((5, 9))
    flat[2] = 0  # the middle is best everywhere
    assert diagonal_test(flat)["p"] == 1.0 and diagonal_test(flat)["correlation"] == 0.0


def test_rows_that_do_not_match_and_too_few_prompts_are_refused():
    a = _streams([_rows(40, 3, 0)])
    with pytest.raises(BadInput, match="same tokens"):
        map_depths(a, _streams([_rows(20, 3, 0)]))
    with pytest.raises(BadInput, match="5 at\n? ?least"):
        map_depths(*[_streams([_rows(8, 3, 0)], prompts=4)] * 2)
