"""Wrong answers to notebook 11: checking function -> arguments that it must reject."""

import numpy as np

WRONG = {
    "mean_of_the_rest": [
        (lambda norms, values: values.mean().item(),),
        (lambda norms, values: values[1:].mean().item(),),  # the first token, giant or not
        (lambda norms, values: values[norms < 2 * norms.median()].mean().item(),),
        (lambda norms, values: values.median().item(),),
    ],
    "half_done": [
        (lambda effects: int(np.argmax(effects)) + 1,),
        (lambda effects: len(effects) // 2,),
        (lambda effects: int((np.cumsum(effects) < sum(effects) / 2).sum()),),  # one short
    ],
    "cut": [
        (lambda distances: (len(distances) // 2, 0.6),),
        (lambda distances: (3, float(distances[:3, 3:].sum() / distances.sum())),),  # every pair twice
        (lambda distances: (int(np.argmax(distances.sum(1))), 1.0),),
    ],
}
