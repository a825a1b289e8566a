"""A `Program` as one readable Python file: standard library only, tables inside, silent on import."""

from interp.programs.branches import lookup_lines, predicate_lines
from interp.programs.program import (
    ClosestHead,
    CountingHead,
    Embedding,
    Head,
    Input,
    Lookup,
    Operator,
    Positions,
    Program,
)
from interp.programs.python_parts import (
    COPY,
    COUNT,
    COUNT_CAUSAL,
    FRAME,
    MAIN,
    NEAREST,
    NEAREST_CAUSAL,
    RESERVED,
    RUN,
    RUN_POOLED,
    SCORES,
    SPREAD,
)
from interp.programs.python_text import (
    INDENT,
    Names,
    bracketed,
    is_counted,
    is_whole,
    plain,
    quoted,
    value,
    words,
    wrapped,
)
from interp.programs.score_table import score_lines

_KEY, _VALUE, _TABLE = "_key", "_value", "_OF_WORD"


def to_python(program: Program) -> str:
    """The text of a file with `run(tokens) -> list of labels`, and `variables(tokens)` -> every variable by name.

    Symbols 0, 1, 2 ... become ints, others strings. The same program gives the same text; all of its words are
    literals, so nothing in a program can become code. A pair that a table marks as impossible raises ValueError.
    """
    return _Emitter(program).text()


class _Emitter:
    """One program with the Python names of its variables."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.kinds = program.variables
        names = Names(RESERVED)
        self.names = {name: names.claim(name, _KEY, _VALUE) for name in self.kinds}
        self.tables = {
            step.out.name: names.claim(self.names[step.out.name].upper() + _TABLE)
            for step in program.inputs if isinstance(step, Embedding) and not self._copies_words(step)
        }

    def text(self) -> str:
        causal, kinds = self.program.causal, {type(step) for step in self.program.steps}
        parts = [self._head(ClosestHead in kinds)]
        if self.tables:
            parts += ["", "", SPREAD]
        parts += ["", *self._constants(), ""]
        if ClosestHead in kinds:
            parts += ["", NEAREST_CAUSAL if causal else NEAREST, "", COPY, ""]
        if CountingHead in kinds:
            parts += ["", COUNT_CAUSAL if causal else COUNT, ""]
        for number, layer in enumerate(self.program.layers, 1):
            for step in layer:
                parts += ["", *self._operator(step, number), ""]
        parts += ["", *self._frame(), "", "", *self._variables(), "", "", SCORES, "", "", self._run(), "", "", MAIN]
        return "\n".join(parts) + "\n"

    def _copies_words(self, step: Embedding) -> bool:
        codes = step.codes.tolist() == list(range(step.out.size))
        return codes and step.out.symbols == self.program.vocab and not is_whole(step.out)

    def _head(self, cache: bool) -> str:
        p = self.program
        heads = sum(isinstance(step, Head) for step in p.operators)
        counts = (len(p.layers), "layer"), (heads, "head"), (len(list(p.operators)) - heads, "lookup")
        size = ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counts)
        room = p.n_ctx - (p.begin is not None) - (p.end is not None)
        lines = [
            f'"""{plain(p.name)}: a Transformer Program ({size}).',
            "",
            f"`run` takes a list of 1 to {room} tokens and gives {'one label' if p.pooled else 'a label for each'};",
            "`variables` gives everything it computes on the way. From a shell: python FILE \"token token ...\"",
            "Friedman, Wettig & Chen 2023, Learning Transformer Programs, arXiv 2306.01128.",
            '"""',
            "",
            "import sys",
            *(["from functools import cache"] if cache else []),
        ]
        return "\n".join(lines)

    def _constants(self) -> list[str]:
        p = self.program
        lines = ["# fmt: off", f"MOST_WORDS = {p.n_ctx}"]
        for step in p.inputs:
            if table := self.tables.get(step.out.name):
                lines.append(f"{table} = spread({{")
                for code in sorted(set(step.codes.tolist())):
                    held = [word for word, own in zip(p.vocab, step.codes.tolist()) if own == code]
                    lines += words(held, f"{INDENT}{value(step.out, code)}: ", INDENT * 2)
                lines.append("})")
        if self.tables:
            lines.append(f"VOCABULARY = frozenset({next(iter(self.tables.values()))})")
        else:
            lines += wrapped(map(quoted, p.vocab), "VOCABULARY = frozenset([", INDENT, "])")
        return [*lines, *score_lines(p), "# fmt: on"]

    def _operator(self, step: Operator, layer: int) -> list[str]:
        name = self.names[step.out.name]
        kinds = [self.kinds[read] for read in step.reads]
        reads = [self.names[read] for read in step.reads]
        if isinstance(step, Lookup):
            reads = list(dict.fromkeys(reads))
            does = f"`{name}` from {' and '.join(f'`{read}`' for read in reads)}"
            head = bracketed(f"def {name}{_VALUE}(", reads, "):", 0)
            body = lookup_lines(step, *kinds, reads)
        else:
            does = f"copies `{reads[2]}` from the closest position"
            does = f"`{name}` " + (does if isinstance(step, ClosestHead) else f"sums `{reads[2]}` over all positions")
            does += f" whose `{reads[1]}` is this"
            head = [f"def {name}{_KEY}({reads[0]}):"]
            body = predicate_lines(step, *kinds[:2], reads[0])
        return [*head, f'{INDENT}"""Layer {layer}: {does}."""', *body]

    def _frame(self) -> list[str]:
        p = self.program
        ends = [quoted(p.begin)] if p.begin is not None else [], [quoted(p.end)] if p.end is not None else []
        made = "[" + ", ".join([*ends[0], "*map(str, tokens)", *ends[1]]) + "]"
        lines = FRAME.replace("FRAMED", "list(map(str, tokens))" if made == "[*map(str, tokens)]" else made)
        if p.unknown is None:
            return [lines, f"{INDENT}return words"]
        known = f"word if word in VOCABULARY else {quoted(p.unknown)} for word in words"
        lines = lines[: lines.index(f"{INDENT}for word")].rstrip()
        return [lines, *bracketed("return [", [known], "]", 1)]

    def _variables(self) -> list[str]:
        lines = [
            "def variables(tokens):",
            f'{INDENT}"""Every variable by name: its value at every position, begin and end included."""',
            f"{INDENT}words = frame(tokens)",
            *(f"{INDENT}{self.names[step.out.name]} = {self._input(step)}" for step in self.program.inputs),
        ]
        for number, layer in enumerate(self.program.layers, 1):
            lines += [f"{INDENT}# layer {number}", *(line for step in layer for line in self._call(step))]
        items = [f"{quoted(name)}: {own}" for name, own in self.names.items()]
        return [*lines, *bracketed("return {", items, "}", 1)]

    def _input(self, step: Input) -> str:
        if isinstance(step, Embedding):
            table = self.tables.get(step.out.name)
            return f"[{table}[word] for word in words]" if table else "words"
        if isinstance(step, Positions):
            if is_counted(step.out):
                return "list(range(len(words)))"
            return "[" + ", ".join(value(step.out, i) for i in range(step.out.size)) + "][: len(words)]"
        return "[1] * len(words)"

    def _call(self, step: Operator) -> list[str]:
        name, reads = self.names[step.out.name], [self.names[read] for read in step.reads]
        if isinstance(step, Lookup):
            reads = list(dict.fromkeys(reads))
            return bracketed(f"{name} = list(map(", [name + _VALUE, *reads], "))", 1)
        function = "copy_closest" if isinstance(step, ClosestHead) else "count"
        return bracketed(f"{name} = {function}(", [f"map({name}{_KEY}, {reads[0]})", *reads[1:]], ")", 1)

    def _run(self) -> str:
        p = self.program
        if p.pooled:
            return RUN_POOLED
        first, last = "1" if p.begin is not None else "", "-1" if p.end is not None else ""
        return RUN.replace("ANSWERS", f"labels[{first}:{last}]" if first or last else "labels")
