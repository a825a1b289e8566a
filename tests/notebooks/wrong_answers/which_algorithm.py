"""Wrong answers to notebook 10: checking function -> arguments that it must reject."""

import torch

WRONG = {
    "newton_step": [
        (lambda M, S: 2 * M - M @ S,),  # one M short
        (lambda M, S: M - M @ S @ M,),
        (lambda M, S: torch.linalg.inv(S),),  # where it ends, not a step
    ],
    "alike": [
        (lambda a, b, truth: torch.cosine_similarity(a, b, dim=0).item(),),  # answers, not errors
        (lambda a, b, truth: ((a - truth) @ (b - truth)).item(),),  # not scaled
    ],
    "judged": [
        (lambda home, elsewhere: elsewhere.mean(1).max().item(),),  # chosen where it is judged
        (lambda home, elsewhere: home.mean(1).max().item(),),
        (lambda home, elsewhere: elsewhere[home.max(1).values.argmax()].mean().item(),),  # by its best prompt
    ],
}
