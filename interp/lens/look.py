"""What one prompt shows: its tokens, what follows, how positions mix, what one node writes. Tables and no claims.

    patterns [query, key] per head; where a mixer has none, |mixing| averaged over channels and divided by its largest
    writes   logits(x) minus the logits in which a node's direct path is missing, final norm held

Surprise: a pattern says where a head looks, not that anything is used from there; the knock-out says that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.discovery.nodes import nodes as all_nodes
from interp.discovery.nodes import source
from interp.effects import decompose
from interp.hooks import Ablate, HookedModel
from interp.results.errors import BadInput, InterpError, RequiresPattern
from interp.results.node import Node
from interp.tasks.metrics import LogitDiff, PerPrompt
from interp.tasks.task import Task, ids_of
from interp.tasks.text import encode, tokens_of

Reads = Literal["tokens", "pixels", "series"]


@dataclass(frozen=True)
class Pattern:
    """How one head, or one mixer without heads, mixes positions: `weights` [query, key] of one prompt, 0 to 1.

    `kind` is "pattern" where rows are attention, "implicit mixing" where it is an operator that acts like one.
    """

    label: str
    weights: np.ndarray
    kind: str


def facts(model: HookedModel) -> dict[str, Any]:
    """What a model is: depths, nodes, heads, parameters, what it reads and says, and how it mixes positions."""
    found = _nodes(model)
    mixing = {_mixing(model, prefix) for prefix in model.map.blocks}
    return {
        "name": model.name, "depths": model.n_layers, "nodes": [node.label for node in found],
        "heads": sum(node.head is not None for node in found), "parameters": sum(p.numel() for p in model.parameters()),
        "reads": reads(model), "says": "logits" if model.map.unembed is not None else "features",
        "tokenizer": model.tokenizer is not None, "causal": model.map.causal, "vocabulary": model.map.d_vocab,
        "context": model.map.n_ctx, "sites": len(model.map.sites),
        "mixing": "patterns" if "pattern" in mixing else "implicit mixing" if "implicit" in mixing else "none",
    }


def reads(model: HookedModel) -> Reads:
    """What the model is given: token ids, pixels or a series of numbers."""
    if model.map.d_vocab is not None or model.map.input_name == "input_ids":
        return "tokens"
    return "pixels" if model.map.input_name == "pixel_values" else "series"


def one(task: Task, row: int) -> Task:
    """The task on one prompt pair, its padding cut off, so that positions count real tokens.

    Raises BadInput for a row that is not there.
    """
    if not 0 <= row < len(task):
        raise BadInput(f"there is no prompt {row}: there are {len(task)}, counted from 0")
    found = task.rows([row])
    width, lengths = ids_of(found.clean).shape[1], found.lengths
    first, stop = int(lengths.first[0]), int(lengths.stop[0])
    if (first, stop) == (0, width) or not lengths.masked:
        return found
    sides = [{key: value[:, first:stop] if isinstance(value, Tensor) and value.dim() > 1 and value.shape[1] == width
              else value for key, value in side.items()} for side in (found.clean, found.corrupt)]
    return replace(found, clean=sides[0], corrupt=sides[1], metric=_shifted(found.metric, first, stop, width))


def _shifted(metric: Any, first: int, stop: int, width: int) -> Any:
    """A metric of padded prompts as one of the prompts without: positions shifted, what has one value a token cut."""
    if not isinstance(metric, PerPrompt):
        return metric
    changed = {}
    for field in fields(metric):
        value = getattr(metric, field.name)
        if field.name == "positions":
            changed[field.name] = value - first
        elif isinstance(value, Tensor) and value.dim() > 1 and value.shape[1] == width:
            changed[field.name] = value[:, first:stop]
    return replace(metric, **changed)


def tokens(model: HookedModel, x: Any) -> list[str]:
    """What each position of one prompt reads as: the tokenizer's text, token ids, or the places of patches."""
    if reads(model) == "tokens":
        ids = ids_of(x)[0].tolist()
        return tokens_of(model.tokenizer, ids) if model.tokenizer is not None else [str(i) for i in ids]
    count = _positions(model, x)
    special, side = patches(count)
    if side is None:
        return [str(i) for i in range(count)]
    return [f"special {i}" for i in range(special)] + [f"{i // side},{i % side}" for i in range(count - special)]


def patches(count: int) -> tuple[int, int | None]:
    """(positions before the patches, side of their square) of a vision model; (0, None) where they are no square."""
    for special in (0, 1, 2, 5):
        side = math.isqrt(max(0, count - special))
        if side > 1 and side * side == count - special:
            return special, side
    return 0, None


def pixels(x: Tensor) -> np.ndarray:
    """One image as bytes [row, column(, 3)], its darkest value 0 and its brightest 255."""
    image = x[0].float()
    low, high = float(image.min()), float(image.max())
    image = ((image - low) / (high - low or 1.0) * 255).round().to(torch.uint8).cpu()
    return image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()


def pair(model: HookedModel, clean: str, corrupt: str) -> Task:
    """A task of one's own pair of prompts: text, or token ids such as "3 1 4" for a model without a tokenizer.

    The metric is the logit of what the model says after the clean prompt minus that of what it says after the corrupt
    one, or of its second choice where the two are the same. One prompt has no other parts than discover.
    Raises BadInput for empty prompts, prompts of different token length, ids that are no numbers, a model of features.
    """
    if reads(model) != "tokens" or model.map.unembed is None:
        raise BadInput(f"{model.name} takes no prompts that can be typed, or says no tokens")
    ids = [_typed(model, text) for text in (clean, corrupt)]
    if len(ids[0]) != len(ids[1]):
        said = [" | ".join(names(model, row)) for row in ids]
        raise BadInput(f"the prompts have {len(ids[0])} and {len(ids[1])} tokens and must be as long: "
                       f"{said[0]} against {said[1]}")
    inputs = [torch.tensor([row]) for row in ids]
    with torch.no_grad(), model.edit():
        first, other = (model(x)[0, -1].topk(2).indices.tolist() for x in inputs)
    wrong = other[0] if other[0] != first[0] else first[1]
    answers = names(model, [first[0], wrong])
    table = pd.DataFrame([{"clean": clean, "corrupt": corrupt, "answer": answers[0], "wrong": answers[1]}])
    metric = LogitDiff(torch.tensor([len(ids[0]) - 1]), torch.tensor([first[0]]), torch.tensor([wrong]))
    return Task("pair", *inputs, metric, table, np.array([0]), {"discover": np.array([0])})


def _typed(model: HookedModel, text: str) -> list[int]:
    """Token ids of what was typed, checked by the model."""
    if model.tokenizer is not None:
        ids = encode(model.tokenizer, text)
    else:
        words = text.replace(",", " ").split()
        if not all(word.isdecimal() and len(word) < 10 for word in words):
            raise BadInput(f"{model.name} has no tokenizer: write token ids, such as 3 1 4, not {text[:40]!r}")
        ids = [int(word) for word in words]
    if not ids:
        raise BadInput("the prompt is empty: write at least one token")
    model.inputs(torch.tensor([ids]))
    return ids


def asked_at(one: Task) -> int:
    """The position that the metric of one prompt reads; -1, the last, where it names none."""
    positions = getattr(one.metric, "positions", None)
    return -1 if positions is None else int(positions[0])


def measured(model: HookedModel, one: Task) -> tuple[float, float]:
    """The metric of a task's first prompt, clean and corrupted."""
    with torch.no_grad(), model.edit():
        clean, corrupt = (float(one.metric(model(side))[0]) for side in (one.clean, one.corrupt))
    return clean, corrupt


def next_tokens(
    model: HookedModel, x: Any, position: int = -1, *, k: int = 8, without: Sequence[Node] = (),
    baseline: Any = "zero", also: Sequence[int] = (),
) -> pd.DataFrame:
    """The k likeliest tokens (or classes) at a position of one prompt, and those in `also`, with `without` removed.

    Columns: id, token, probability; likeliest first. Raises BadInput for a model whose output is features.
    """
    if model.map.unembed is None:
        raise BadInput(f"{model.name} says features, not logits: it has no next token")
    removed = [Ablate(node.site, head=node.head, pos=node.pos, baseline=baseline) for node in without]
    with torch.no_grad(), model.edit(*removed):
        out = model(x)
    logits = (out[0, position] if out.dim() == 3 else out[0]).float()
    probabilities = logits.softmax(-1)
    top = probabilities.topk(min(k, len(logits))).indices.tolist()
    chosen = [*top, *(i for i in dict.fromkeys(int(i) for i in also) if i not in top)]
    frame = pd.DataFrame({"id": chosen, "token": names(model, chosen),
                          "probability": [float(probabilities[i]) for i in chosen]})
    frame.attrs["unit"] = "probability"
    return frame


def names(model: HookedModel, ids: Sequence[int]) -> list[str]:
    """What outputs are called: the tokenizer's text, else their numbers."""
    return tokens_of(model.tokenizer, list(ids)) if model.tokenizer is not None else [str(i) for i in ids]


def patterns(model: HookedModel, x: Any) -> list[Pattern]:
    """How every head or mixer mixes the positions of one prompt, in order of depth.

    Raises RequiresPattern for a model that has neither patterns nor a mixing matrix anywhere.
    """
    kinds = {prefix: _mixing(model, prefix) for prefix in model.map.blocks}
    if set(kinds.values()) <= {"none"}:
        raise RequiresPattern(f"no block of {model.name} has an attention pattern or a mixing matrix; its effects can "
                              "still be seen")
    plain = [f"{prefix}.attn.hook_pattern" for prefix, kind in kinds.items() if kind == "pattern"]
    wanted = None if "implicit" in kinds.values() else plain
    with torch.no_grad():
        _, cache = model.run_with_cache(x, wanted)
        found: list[Pattern] = []
        for prefix, kind in kinds.items():
            if kind == "pattern":
                weights = cache[f"{prefix}.attn.hook_pattern"][0]
            elif kind == "implicit":
                stream, _, depth = prefix.rpartition("blocks.")
                weights = model.mixing_matrix(cache, int(depth), stream.rstrip(".") or None)[0].abs()
            else:
                continue
            found += _pictures(model, prefix, weights.float().cpu().numpy(), kind)
    return found


def pattern_scores(found: Sequence[Pattern]) -> pd.DataFrame:
    """One row a head: its mean weight on the token before (`previous`) and on the first one (`first`), 0 to 1.

    Of the queries that have two tokens before them or more.
    """
    lines = []
    for pattern in found:
        w = pattern.weights
        queries = range(2, len(w)) if w.shape[0] == w.shape[1] else range(0)
        lines.append({"source": pattern.label, "previous": float(np.mean([w[q, q - 1] for q in queries] or [np.nan])),
                      "first": float(np.mean([w[q, 0] for q in queries] or [np.nan])), "kind": pattern.kind})
    frame = pd.DataFrame(lines, columns=["source", "previous", "first", "kind"])
    frame.attrs["unit"] = "share of its weight"
    return frame


def writes(model: HookedModel, x: Any, node: Node, position: int = -1, *, k: int = 6) -> pd.DataFrame:
    """The outputs that a node's write raises and lowers most, through its direct path alone, at one position.

    Columns: id, token, logits; largest first, then the most lowered. Raises BadInput for a model of features.
    """
    if model.map.unembed is None:
        raise BadInput(f"{model.name} says features, not logits: what {node.label} writes has no tokens")
    found = decompose(model, x, [source(node)], rules="direct").relevant["output"][0, 0]
    row = (found[position] if found.dim() == 2 else found).float()
    k = min(k, len(row) // 2)
    chosen = [*row.topk(k).indices.tolist(), *(-row).topk(k).indices.tolist()[::-1]]
    frame = pd.DataFrame({"id": chosen, "token": names(model, chosen), "logits": [float(row[i]) for i in chosen]})
    frame.attrs["unit"] = "logits"
    return frame


def _nodes(model: HookedModel) -> list[Node]:
    try:
        return all_nodes(model)
    except InterpError:
        return []


def _positions(model: HookedModel, x: Any) -> int:
    """Positions of the first block's stream, or of the input where none is declared."""
    site = next((f"{prefix}.hook_resid_pre" for prefix in model.map.blocks
                 if f"{prefix}.hook_resid_pre" in model.map.sites), None)
    if site is None:
        return model.batch_of(x)[1]
    shape = model.read(x, site)[site].shape
    return int(np.prod(shape[1:-1]))


def _mixing(model: HookedModel, prefix: str) -> Literal["pattern", "implicit", "none"]:
    site = model.map.sites.get(f"{prefix}.attn.hook_pattern")
    if model.map.blocks[prefix].mixing is not None:
        return "implicit"
    return "pattern" if site is not None and site[0].axes[0] == "batch" else "none"


def _pictures(model: HookedModel, prefix: str, weights: np.ndarray, kind: str) -> list[Pattern]:
    """One picture a head; channels of a mixer without heads are averaged."""
    z = f"{prefix}.attn.hook_z"
    heads = model.site(z).heads if z in model.map.sites else None
    if heads == len(weights):
        labels = [Node(z, head=h).label for h in range(heads)]
    else:
        weights = weights.mean(0, keepdims=True)
        labels = [Node(f"{prefix}.hook_mixer_out").label]
    if kind == "implicit":
        weights = weights / np.maximum(weights.max(axis=(1, 2), keepdims=True), 1e-12)
    return [Pattern(label, w, "pattern" if kind == "pattern" else "implicit mixing")
            for label, w in zip(labels, weights)]
