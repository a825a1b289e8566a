"""text-small: a GPT of 0.8 million parameters on the State of the Union addresses and Moby Dick.

Byte-level BPE of 1024 tokens, learned on the training split; contexts of 128 tokens, every second one opened by
`<|endoftext|>`, which also ends documents.
"""

from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

from interp.garden.ngram import bits_per_byte
from interp.garden.recipe import Batch, Recipe
from interp.hooks import HookedModel

N_VOCAB, N_CTX = 1024, 128
END = "<|endoftext|>"
HELD_OUT_CHARACTERS = 4000  # of every address of the validation split
NGRAM_ORDER = 6


def _texts(split: str) -> list[str]:
    from interp.tasks.corpus import DOCUMENT_BREAK, corpus

    return corpus(split).split(DOCUMENT_BREAK)


@cache
def tokenizer() -> Any:
    """The tokenizer, learned anew (seconds) from the training split; the shipped model brings its own copy."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from interp.adapters.transformers import library

    PreTrainedTokenizerFast = library().PreTrainedTokenizerFast
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB, special_tokens=[END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(_texts("train"), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, model_max_length=N_CTX)


@cache
def _train_ids() -> Tensor:
    """All training documents as one row of ids, each behind an end token."""
    ids: list[int] = []
    for text in _texts("train"):
        ids += [tokenizer().eos_token_id, *tokenizer().encode(text, verbose=False)]
    return torch.tensor(ids)


def data(rows: int, generator: Generator) -> Batch:
    """Random stretches of the training text; every second row begins with the end token."""
    ids = _train_ids()
    start = torch.randint(len(ids) - N_CTX - 1, (rows, 1), generator=generator)
    stretch = ids[start + torch.arange(N_CTX + 1)]
    stretch[::2] = torch.cat([torch.full_like(stretch[::2, :1], tokenizer().eos_token_id), stretch[::2, :-1]], 1)
    return Batch(stretch[:, :-1], stretch[:, 1:])


def held_out() -> str:
    """The beginnings of all addresses of the validation split, 1793 to 2013."""
    return "".join(text[:HELD_OUT_CHARACTERS] for text in _texts("validation"))


def metrics(model: HookedModel) -> dict[str, Any]:
    """Bits per byte of the held-out text, and perplexity per token of the model's own tokenizer.

    Windows of 128 tokens overlap by half; every token but the first is predicted once, with 63 or more tokens before
    it wherever the text has them.
    """
    text = held_out()
    ids = torch.tensor(model.tokenizer.encode(text, verbose=False))
    total = 0.0
    with torch.no_grad():
        for rows, keep in _windows(ids):
            losses = -model(rows[:, :-1]).log_softmax(-1).gather(-1, rows[:, 1:, None])[..., 0]
            total += losses[:, -keep:].sum().item()
    return {
        "bits_per_byte": total / torch.log(torch.tensor(2.0)).item() / len(text.encode()),
        "token_perplexity": float(torch.tensor(total / (len(ids) - 1)).exp()),
    }


def _windows(ids: Tensor):
    """Pairs (rows [n, width + 1], how many of their last predictions count): all tokens but the first, once each."""
    half = N_CTX // 2
    yield ids[None, : N_CTX + 1], N_CTX
    starts = torch.arange(half, len(ids) - N_CTX - 1, half)
    for chunk in starts.split(64):
        yield ids[chunk[:, None] + torch.arange(N_CTX + 1)], half
    done = int(starts[-1]) + N_CTX
    yield ids[None, -N_CTX - 1 :], len(ids) - 1 - done


def baseline() -> dict[str, Any]:
    """Bits per byte of the same text under byte counts of the training split (`interp.garden.ngram`)."""
    train = "".join(_texts("train")).encode()
    return {"ngram_bits_per_byte": bits_per_byte(train, held_out().encode(), NGRAM_ORDER), "order": NGRAM_ORDER}


RECIPE = Recipe(
    name="text-small",
    about="A small language model of State of the Union addresses and Moby Dick, with its own BPE tokenizer.",
    architecture="gpt",
    sizes={"d_model": 128, "n_layers": 4, "n_heads": 4, "d_mlp": 384, "d_vocab": N_VOCAB, "n_ctx": N_CTX},
    steps=2000,
    batch=32,
    rate=3e-3,
    weight_decay=0.1,
    data=data,
    metrics=metrics,
    baseline=baseline,
    tokenizer=tokenizer,
)
