"""Running a `Program` on many sequences at once, by table look-ups; the readout is the only floating point."""

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.programs.program import NOWHERE, Categorical, ClosestHead, Embedding, Head, Lookup, Positions, Program
from interp.results.errors import BadInput, nearest


def closeness(n: int, causal: bool) -> Int[np.ndarray, "query key"]:
    """How much a query prefers each key that matches: larger is closer, 0 is out of sight.

    Other positions before the own one, near before far, left before right.
    """
    query, key = np.indices((n, n))
    distance = np.abs(query - key)
    order = 2 * (n - distance) + (key < query)
    order[query == key] = 1
    return np.where((key > query) & causal, 0, order)


def values(program: Program, ids: Int[np.ndarray, "batch pos"], mask=None) -> dict[str, Int[np.ndarray, "batch pos"]]:
    """Every variable at every position. `mask` [batch, pos] is true at real tokens, which stand to the left."""
    ids, mask = _checked(program, ids, mask)
    batch, n = ids.shape
    order = closeness(n, program.causal)
    seen = mask[:, None, :] & (order > 0)
    found: dict[str, np.ndarray] = {}
    for step in program.steps:
        if isinstance(step, Embedding):
            value = step.codes[ids]
        elif isinstance(step, Positions):
            value = np.broadcast_to(np.arange(n), (batch, n))
        elif isinstance(step, Head):
            match = matches(step, found) & seen
            if isinstance(step, ClosestHead):
                value = np.take_along_axis(found[step.value], closest(match, order), axis=1)
            else:
                value = (match * found[step.value][:, None, :]).sum(-1)
        elif isinstance(step, Lookup):
            value = _looked_up(step, found, mask)
        else:
            value = np.ones((batch, n), dtype=np.int64)
        found[step.out.name] = value
    return found


def matches(head: Head, found: dict[str, np.ndarray]) -> Bool[np.ndarray, "batch query key"]:
    """Where the key has the value that the predicate asks for."""
    return head.predicate[found[head.query]][:, :, None] == found[head.key][:, None, :]


def closest(match: Bool[np.ndarray, "batch query key"], order: Int[np.ndarray, "query key"]):
    """The position every query reads [batch, query]: its closest match, else position 0."""
    return (match * order).argmax(-1)


def _looked_up(step: Lookup, found: dict[str, np.ndarray], mask: np.ndarray) -> np.ndarray:
    value = step.table[found[step.first], found[step.second]]
    if (bad := (value == NOWHERE) & mask).any():
        row, pos = np.argwhere(bad)[0]
        pair = [int(found[name][row, pos]) for name in step.reads]
        raise BadInput(f"{step.out.name!r} met {step.first} = {pair[0]}, {step.second} = {pair[1]}, which its table "
                       "says cannot occur")
    return value


def scores(
    program: Program, found: dict[str, Int[np.ndarray, "batch pos"]], only: set[str] | None = None
) -> Float[np.ndarray, "batch pos label"]:
    """The sum of score rows at every position, from all variables of the readout or those in `only`."""
    shape = next(iter(found.values())).shape
    total = np.broadcast_to(program.bias, (*shape, len(program.labels))).astype(float)
    for name, rows in program.readout.items():
        if only is None or name in only:
            categorical = isinstance(program.variables[name], Categorical)
            total = total + (rows[found[name]] if categorical else found[name][..., None] * rows[0])
    return total


def answers(program: Program, total: Float[np.ndarray, "batch pos label"], mask: Bool[np.ndarray, "batch pos"]):
    """Index of the best label, [batch, pos], or [batch] where pooled."""
    if program.pooled:
        # added in order, as the emitted file does it: `sum` adds in pairs and may round to another answer
        total = (total * mask[..., None]).cumsum(1)[:, -1] / mask.sum(1)[:, None]
    barred = np.isin(program.labels, program.never)
    return np.where(barred, -np.inf, total).argmax(-1)


def predict(program: Program, ids: Int[np.ndarray, "batch pos"], mask=None) -> Int[np.ndarray, "batch *pos"]:
    """See `Program.predict`."""
    ids, mask = _checked(program, ids, mask)
    return answers(program, scores(program, values(program, ids, mask)), mask)


def run(program: Program, tokens: list[str]) -> list[str]:
    """See `Program.run`."""
    ids = encode(program, tokens)
    found = predict(program, ids[None])[0]
    if program.pooled:
        return [program.labels[found]]
    inner = found[(program.begin is not None) : len(found) - (program.end is not None)]
    return [program.labels[label] for label in inner]


def encode(program: Program, tokens: list[str]) -> Int[np.ndarray, " pos"]:
    """Ids of a sequence with `begin` and `end` around it. Raises BadInput for unknown words and too many."""
    if isinstance(tokens, str) or not tokens:
        raise BadInput(f"{tokens!r:.60} is no sequence of tokens; give a list such as {list(program.vocab[-3:])}")
    words = [*filter(None, [program.begin]), *map(str, tokens), *filter(None, [program.end])]
    if len(words) > program.n_ctx:
        room = program.n_ctx - len(words) + len(tokens)
        raise BadInput(f"{len(tokens)} tokens were given; {program.name} takes up to {room}")
    index = {word: i for i, word in enumerate(program.vocab)}
    for word in words:
        if word not in index and program.unknown is None:
            raise BadInput(f"{program.name} does not know the token {word!r}.{nearest(word, index)} "
                           f"It knows: {', '.join(program.vocab[:40])}")
    return np.array([index.get(word, index.get(program.unknown)) for word in words])


def _checked(program: Program, ids: np.ndarray, mask) -> tuple[np.ndarray, np.ndarray]:
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or ids.size == 0:
        raise BadInput(f"ids have shape {list(ids.shape)} and type {ids.dtype}; whole numbers [batch, pos] are needed")
    if ids.shape[1] > program.n_ctx:
        raise BadInput(f"{ids.shape[1]} positions were given; {program.name} has {program.n_ctx}")
    if ids.min() < 0 or ids.max() >= len(program.vocab):
        raise BadInput(f"ids run from {ids.min()} to {ids.max()}; {program.name} knows 0 to {len(program.vocab) - 1}")
    mask = np.ones(ids.shape, dtype=bool) if mask is None else np.asarray(mask).astype(bool)
    if mask.shape != ids.shape or not mask[:, 0].all() or (mask[:, 1:] > mask[:, :-1]).any():
        raise BadInput("the mask must have the shape of ids, with real tokens on the left and at least one a row")
    return ids, mask
