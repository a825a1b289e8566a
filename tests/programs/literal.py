"""A slow evaluator that follows the paper's words, one position after the other, symbols instead of indices.

Friedman, Wettig & Chen 2023, arXiv 2306.01128, section 3: a head copies from the closest matching position other than
the query's own; of two as near the left one; its own only where nothing else matches; position 0 where nothing does.
"""

from interp.programs.program import NOWHERE, Categorical, ClosestHead, Embedding, Head, Ones, Positions, Program


def read_from(matching: list[bool], here: int, causal: bool) -> int:
    """The position that the query at `here` reads, given which keys match."""
    for distance in range(1, len(matching)):
        if here - distance >= 0 and matching[here - distance]:
            return here - distance
        if not causal and here + distance < len(matching) and matching[here + distance]:
            return here + distance
    return here if matching[here] else 0


def variables(program: Program, words: list[str]) -> dict[str, list]:
    """Symbols and numbers of every variable at every position; `words` include begin and end."""
    found: dict[str, list] = {}
    kinds = program.variables
    for step in program.steps:
        name = step.out.name
        column = []
        for here, word in enumerate(words):
            if isinstance(step, Embedding):
                column.append(step.out.symbols[step.codes[program.vocab.index(word)]])
            elif isinstance(step, Positions):
                column.append(step.out.symbols[here])
            elif isinstance(step, Ones):
                column.append(1)
            elif isinstance(step, Head):
                wanted = step.predicate[kinds[step.query].symbols.index(found[step.query][here])]
                symbol = None if wanted == NOWHERE else kinds[step.key].symbols[wanted]
                matching = [key == symbol for key in found[step.key]]
                if isinstance(step, ClosestHead):
                    column.append(found[step.value][read_from(matching, here, program.causal)])
                else:
                    seen = range(here + 1) if program.causal else range(len(words))
                    column.append(sum(found[step.value][there] for there in seen if matching[there]))
            else:
                first, second = (_index(kinds[read], found[read][here]) for read in step.reads)
                assert step.table[first, second] != NOWHERE, "an unreachable pair was reached"
                column.append(step.out.symbols[step.table[first, second]])
        found[name] = column
    return found


def run(program: Program, tokens: list[str]) -> list[str]:
    """What `Program.run` must give."""
    words = [word if word in program.vocab else program.unknown for word in tokens]
    words = [*([program.begin] if program.begin else []), *words, *([program.end] if program.end else [])]
    found = variables(program, words)
    kinds = program.variables
    rows = []
    for here in range(len(words)):
        row = []
        for label in range(len(program.labels)):
            score = program.bias[label]
            for name, scores in program.readout.items():
                value = found[name][here]
                if isinstance(kinds[name], Categorical):
                    score += scores[kinds[name].symbols.index(value)][label]
                else:
                    score += value * scores[0][label]
            row.append(score)
        rows.append(row)
    if program.pooled:
        total = [0.0] * len(program.labels)
        for row in rows:
            total = [a + b for a, b in zip(total, row)]
        return [_best(program, [score / len(rows) for score in total])]
    first = 1 if program.begin else 0
    return [_best(program, row) for row in rows[first : first + len(tokens)]]


def _index(variable, value) -> int:
    return variable.symbols.index(value) if isinstance(variable, Categorical) else value


def _best(program: Program, scores: list[float]) -> str:
    allowed = [i for i, label in enumerate(program.labels) if label not in program.never]
    return program.labels[max(allowed, key=lambda label: scores[label])]
