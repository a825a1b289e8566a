"""`compile`: a RASP program to the weights of a hooked model whose circuit is known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from interp.programs.compile.assemble import Options, assemble
from interp.programs.compile.basis import Compression
from interp.programs.compile.compiled import Compiled
from interp.programs.compile.graph import Graph
from interp.programs.compile.inputs import MOST, count, some
from interp.programs.compile.lower import lower, without_empty
from interp.programs.compile.module import NormName, hook
from interp.programs.compile.simulate import encode_rows, simulate
from interp.programs.compile.verify import leakage, verify
from interp.programs.rasp.library import entry
from interp.programs.rasp.nodes import SOp, Value
from interp.results.errors import BadInput

SAMPLE = 256
"""Random inputs that every compiled model is run on at once."""


def compile(
    program: "str | SOp",
    vocab: Sequence[Value] | None = None,
    length: int = 5,
    *,
    causal: bool = False,
    norm: NormName = None,
    rotate: int | None = None,
    compress: int | None = None,
    compression: Compression = "learned",
    distractors: "Sequence[str | SOp]" = (),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    d_head: int | None = None,
    sharpness: float | None = None,
    coldness: float = 100.0,
    name: str | None = None,
) -> Compiled:
    """A model that computes `program`, an expression or a name of the library, on 1 to `length` tokens of `vocab`.

    causal: queries look left only, in the program and in the model. norm: "layernorm" or "rmsnorm" before every
    branch and the output. rotate: the seed of a random rotation of the stream. compress: dimensions left for the
    variables, along "learned" (principal) or "random" directions, which `seed` draws. distractors: programs that are
    computed beside it, in directions of their own, without any part in the output. d_head: size of the heads, at
    least what they need. sharpness: one slope for all thresholds of numerical maps instead of the one that each gap
    needs; coldness: the score of a match (both only to see what they do).

    The model is run against the program at once: `margin`, `floor` and `check` say how it did. `capabilities()` says
    what is exact where.
    Raises: BadInput, naming the construct, for what cannot be compiled: different values selected by a categorical
    aggregate, a number without a finite set of values where one is needed; and for a model that would be wrong
    although it should be exact.
    Paper: Lindner et al. 2023, Tracr: Compiled Transformers as a Laboratory for Interpretability, arXiv 2301.05062.
    """
    made, called = _program(program)
    vocab = _vocab(vocab if vocab is not None else entry(called).vocab if isinstance(program, str) else None)
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise BadInput(f"length is {length!r:.40}; a whole number of at least 1 is needed")
    if norm not in (None, "layernorm", "rmsnorm"):
        raise BadInput(f"norm is {norm!r:.40}; there are layernorm, rmsnorm and None")
    if compression not in ("learned", "random"):
        raise BadInput(f"compression is {compression!r:.40}; there are learned and random")
    if dtype not in (torch.float32, torch.float64):
        raise BadInput(f"dtype is {dtype}; programs are compiled in torch.float32 or torch.float64")
    options = Options(norm, rotate, compress, compression, d_head, sharpness, coldness,
                      str(dtype).removeprefix("torch."), seed)
    others = tuple(_program(other)[0] for other in distractors)
    graph = lower(made, vocab, length, causal, others)
    compiled = build(name or called, graph, options)
    compiled.program = made
    return measured(compiled)


def build(name: str, graph: Graph, options: Options) -> Compiled:
    """The model of a lowered program, not yet run. Raises: BadInput where an input breaks the program's rules."""
    samples = [ids for _, ids in encode_rows(graph, some(graph.vocab, graph.length, None, options.seed))]
    empty = _checked(graph, samples)
    if count(graph.vocab, graph.length) <= MOST:  # what is so on all inputs is known to be so
        graph = without_empty(graph, empty)
    generator = np.random.default_rng(options.seed)
    few = [ids if len(ids) <= SAMPLE else generator.permutation(ids)[:SAMPLE] for ids in samples]
    parts = assemble(graph, options, few)
    return Compiled(name, graph, options, parts, hook(parts.module, f"compiled/{name}")).declared()


def _checked(graph: Graph, samples: list[np.ndarray]) -> set[int]:
    """The checks that depend on the input; returns the variables that have no value on any sample."""
    empty = set(range(len(graph.ops)))
    for ids in samples:
        for start in range(0, len(ids), 512):
            found = simulate(graph, ids[start : start + 512])
            empty = {i for i in empty if graph.variables[i].values is not None and (found[i] < 0).all()}
    return empty


def measured(compiled: Compiled) -> Compiled:
    """The model with its check on some inputs and its leakage. Raises: BadInput where it should be right and is not."""
    graph, options = compiled.graph, compiled.options
    compiled.check = verify(compiled, SAMPLE, options.seed, oracle=False)
    compiled.leak = leakage(compiled, seed=options.seed)
    usual = options == replace(options, sharpness=None, coldness=100.0, compress=None)
    if usual and not compiled.check.ok:
        weakest = min(compiled.check.margins, key=compiled.check.margins.get)
        raise BadInput(
            f"{compiled.name} at length {graph.length} needs more digits than {options.dtype} has: {weakest} comes out "
            f"with margin {compiled.check.margins[weakest]:.2g}. Compile it with dtype=torch.float64 or for shorter "
            "sequences"
        )
    return compiled


def _program(program: "str | SOp") -> "tuple[SOp, str]":
    if isinstance(program, str):
        return entry(program).build(), program
    if not isinstance(program, SOp):
        raise BadInput(f"{program!r:.60} is no program: give a name of the library or a sequence operator")
    return program, str(program)


def _vocab(vocab: Sequence[Value] | None) -> tuple[Value, ...]:
    if vocab is None:
        raise BadInput('a program of your own needs its vocabulary: compile(program, vocab="abcd")')
    values = tuple(vocab)
    if not values or None in values or len(set(values)) != len(values):
        raise BadInput(f"a vocabulary is one or more different tokens, none of them None, not {values!r:.80}")
    return values
