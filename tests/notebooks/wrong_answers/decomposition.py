"""Wrong answers to notebook 06: checking function -> arguments that it must reject."""

import numpy as np
import torch

WRONG = {
    "relevant_of_linear": [
        (lambda weight, bias, x, k: weight[:, k] * x[k],),  # without the bias
        (lambda weight, bias, x, k: weight[:, k] * x[k] + bias,),  # with all of it
        (lambda weight, bias, x, k: weight[:, k] * x[k] + bias / 2,),
    ],
    "parts_that_add_up": [(lambda total, n: torch.stack([total] * n),), (lambda total, n: total,)],
    "worst_miss": [
        (lambda values, exact: (int(np.abs(values / exact).argmax()), 1.0),),
        (lambda values, exact: (int((values - exact).argmax()), 3.0),),  # signed
    ],
}
