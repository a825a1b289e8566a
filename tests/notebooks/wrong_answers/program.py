"""Wrong answers to notebook 08: checking function -> arguments that it must reject."""

from interp.garden.shipped_programs import open_program

PROGRAM = open_program("hist")
WRONG = {
    "holds": [
        (lambda tokens, answers: answers == [tokens.count(token) for token in tokens],),  # numbers, not text
        (lambda tokens, answers: True,),
    ],
    "exact_counters": [
        (lambda variables, strings: [name for name, values in variables(list(strings[0])).items()
                                     if values[1:] == [strings[0].count(letter) for letter in strings[0]]], None),
        (lambda variables, strings: ["count_0_3"], None),  # without looking
    ],
    "repaired": [(lambda program: program, PROGRAM), (lambda program: program.prune(), PROGRAM)],
}
