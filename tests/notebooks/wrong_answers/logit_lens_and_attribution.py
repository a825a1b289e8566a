"""Wrong answers to notebook 04: checking function -> arguments that it must reject."""

WRONG = {
    "settles": [
        (lambda agrees: int(agrees.argmax()),),  # the first time, not for good
        (lambda agrees: int((agrees == 0).nonzero().max()),),  # the last depth that is wrong
    ],
    "share": [
        (lambda write, scale, weight, right, wrong: ((write * weight) @ (right - wrong)).item(),),  # no norm
        (lambda write, scale, weight, right, wrong: ((write / scale * weight) @ right).item(),),  # one logit alone
        (lambda write, scale, weight, right, wrong: ((write / scale) @ (right - wrong)).item(),),
    ],
    "steps_in": [
        (lambda before, after, removed: max(after, key=after.get),),  # the largest, not what rose
        (lambda before, after, removed: max(before, key=lambda name: after[name] - before[name]),),  # itself
        (lambda before, after, removed: max(after, key=lambda name: abs(after[name] - before[name])),),
    ],
}
