"""Wrong answers to notebook 03: checking function -> arguments that it must reject."""

import interp


def _only_together(model, heads, score):
    whole = score(model)
    with model.edit(*[interp.Ablate(f"blocks.{layer}.attn.hook_z", head=head) for layer, head in heads]):
        return whole - score(model)


WRONG = {
    "together_minus_alone": [(_only_together,), (lambda model, heads, score: 0.0,)],
    "offset_score": [
        (lambda pattern, period: pattern.diagonal(-period, 2, 3).mean((0, 2)),),  # one too far
        (lambda pattern, period: pattern.diagonal(1 - period, 2, 3).mean(),),  # all heads in one
    ],
    "looks_things_up": [
        (lambda model, make, score: score(model, make(8)) >= 0.9,),  # one period
        (lambda model, make, score: sum(score(model, make(p)) for p in (5, 8, 11)) / 3 >= 0.9,),
        (lambda model, make, score: True,),
    ],
}
