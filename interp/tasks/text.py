"""Text to token ids, for any tokenizer: transformers' own, or one of the `tokenizers` library."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from interp.results.errors import BadInput

Inputs = Tensor | dict[str, Tensor]


def encode(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    """Token ids of `text`; with `special`, also the tokens that this model's inputs begin and end with."""
    if hasattr(tokenizer, "encode_batch"):  # tokenizers.Tokenizer
        return list(tokenizer.encode(text, add_special_tokens=special).ids)
    # transformers' warn of a long text; whether it fits is for the model that reads it to say, and it says so
    quiet = {"verbose": False} if hasattr(tokenizer, "model_max_length") else {}
    return list(tokenizer.encode(text, add_special_tokens=special, **quiet))


def tokens_of(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """What each id reads as, one by one, for messages."""
    return [tokenizer.decode([i]) for i in ids]


def unknown_id(tokenizer: Any) -> int | None:
    """The id that stands for what the tokenizer cannot write, where it has one."""
    if hasattr(tokenizer, "encode_batch"):
        model = tokenizer.model
        return tokenizer.token_to_id(model.unk_token) if getattr(model, "unk_token", None) else None
    return getattr(tokenizer, "unk_token_id", None)


def continuation(tokenizer: Any, prompt: str, answer: str) -> list[int]:
    """The ids that writing `answer` after `prompt` adds.

    Where the two would be merged across their border, the ids of the answer on its own. Unknown tokens give [].
    """
    before, both = encode(tokenizer, prompt), encode(tokenizer, prompt + answer)
    added = both[len(before) :] if both[: len(before)] == before else encode(tokenizer, answer)
    return [] if unknown_id(tokenizer) in added else added


def continues(tokenizer: Any, prompt: str, answer: str) -> bool:
    """Whether the ids of `prompt` are left as they are when `answer` is written after it."""
    before = encode(tokenizer, prompt)
    return encode(tokenizer, prompt + answer)[: len(before)] == before


def single(tokenizer: Any, words: Iterable[str], after: str = "The") -> list[str]:
    """Those of `words` that are one known token when they follow other text and a space, in order."""
    return [word for word in words if len(continuation(tokenizer, after, " " + word)) == 1]


def pad_id(tokenizer: Any) -> int:
    """The id that padding is written with; masked, so any will do where the tokenizer names none."""
    if hasattr(tokenizer, "encode_batch"):
        return (tokenizer.padding or {}).get("pad_id", 0)
    found = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((i for i in found if i is not None), 0)


def pads_left(tokenizer: Any) -> bool:
    """Whether the tokenizer pads before the text."""
    if hasattr(tokenizer, "encode_batch"):
        return (tokenizer.padding or {}).get("direction") == "left"
    return getattr(tokenizer, "padding_side", "right") == "left"


def batch(rows: Sequence[Sequence[int]], tokenizer: Any) -> tuple[Inputs, Tensor]:
    """The model's input for rows of ids, and where each row starts, [batch].

    One tensor [batch, pos] where all rows have one length, else a mapping with `attention_mask`, padded on the side
    that the tokenizer says.
    """
    width = max(map(len, rows))
    if all(len(row) == width for row in rows):
        return torch.tensor(rows), torch.zeros(len(rows), dtype=torch.long)
    left, fill = pads_left(tokenizer), pad_id(tokenizer)
    ids, mask = torch.full((len(rows), width), fill), torch.zeros(len(rows), width, dtype=torch.long)
    start = torch.tensor([width - len(row) if left else 0 for row in rows])
    for i, row in enumerate(rows):
        at = slice(int(start[i]), int(start[i]) + len(row))
        ids[i, at], mask[i, at] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}, start


def needs_tokenizer(model: Any, name: str) -> Any:
    """The tokenizer of `model`. Raises BadInput where there is no model or it has none."""
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        what = "no model was given" if model is None else f"{getattr(model, 'name', 'the model')} has none"
        raise BadInput(
            f"task {name!r} is made of English text and needs a tokenizer, but {what}: give task({name!r}, model=...) "
            "a model with one, or tokenizer=..."
        )
    return tokenizer


def mask_token(tokenizer: Any) -> tuple[int, str] | None:
    """Id and text of the mask token of a masked language model's tokenizer."""
    if hasattr(tokenizer, "encode_batch"):  # tokenizers.Tokenizer has no notion of one, only a vocabulary
        return next(((i, t) for t in ("[MASK]", "<mask>") if (i := tokenizer.token_to_id(t)) is not None), None)
    found = getattr(tokenizer, "mask_token_id", None)
    return None if found is None else (found, tokenizer.mask_token)


def blank(tokenizer: Any) -> str:
    """What follows a prompt: a mask token where the answer is to be filled in, nothing where it is predicted."""
    mask = mask_token(tokenizer)
    return "" if mask is None else f" {mask[1]}"


def needs_causal(model: Any, name: str, tokenizer: Any = None) -> None:
    """Raises BadInput for a model, or the tokenizer of one, that fills in masks and predicts no next token."""
    masked = tokenizer is not None and mask_token(tokenizer) is not None
    if masked or not getattr(getattr(model, "map", None), "causal", True):
        raise BadInput(f"task {name!r} asks for the next token, and {getattr(model, 'name', 'this model')} sees both "
                       "sides of a position: it needs a causal model")
