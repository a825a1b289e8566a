"""Checks of notebook 08."""

from lesson import check

from interp.programs import debug


def _right(tokens: list[str], answers: list[str]) -> bool:
    return all(answer == str(tokens.count(token)) for token, answer in zip(tokens, answers, strict=True))


@check
def holds(answer) -> None:
    """the property that the program must have"""
    cases = (("abac", "2121", True), ("abac", "2122", False), ("a", "1", True), ("fffff", "55455", False))
    for tokens, answers, right in cases:
        found = answer(list(tokens), list(answers))
        assert found == right, f"{' '.join(tokens)} with the answers {' '.join(answers)} is {right}, not {found}"


@check
def exact_counters(answer, variables) -> None:
    """the variables that are the right counts"""

    def made_up(tokens):
        counts = [tokens.count(token) for token in tokens]
        return {"tokens": ["<s>", *tokens], "good": [9, *counts], "short": [0, *(min(n, 2) for n in counts)],
                "ones": [1] * (len(tokens) + 1)}

    found = list(answer(made_up, ["aab", "b"]))
    assert found == ["good", "short"], f"on aab and b 'good' and 'short' are right, not {found}"
    found = list(answer(made_up, ["b", "aaab"]))
    assert found == ["good"], f"on aaab only 'good' is right, whichever string comes first; not {found}"
    if variables is not None:
        found = list(answer(variables, ["abac", "ffff", "de"]))
        assert found == ["count_0_3"], f"in hist it is count_0_3 alone, not {found}"


@check
def repaired(answer, program) -> None:
    """a program that is right on everything it can be given"""
    search = debug.counter_example(answer(program), _right, most=400_000)
    assert search.found is None, f"{' '.join(search.found)} gives {' '.join(search.answers)}"
    assert search.exhaustive, "not all strings could be tried"
