"""Real tokenizers, small and made on the spot, and models that do the tasks by rule."""

from functools import cache

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp.adapters.transformers import hook
from interp.tasks import agreement, capitals, docstring, greater_than, ioi, pronoun
from interp.tasks.corpus import words

END = "<|end|>"


def texts() -> list[str]:
    """Text that holds every word of the word lists behind a space, and the templates."""
    nouns = [word for pair in words("nouns") for word in pair]
    lists = [words(name) for name in ("female_names", "male_names", "places", "objects", "events")]
    listed = [f"the {word} is, the {word} are." for one in (*lists, nouns) for word in one]
    templates = [*ioi.TEMPLATES, *agreement.PLAIN, *agreement.WITH_ATTRACTOR, greater_than.TEMPLATE,
                 *pronoun.TEMPLATES, *capitals.TEMPLATES, capitals.ASKED, docstring.TEMPLATE]
    listed += [f"the {word} is, the {word} are. she he" for pair in capitals.countries().items() for word in pair]
    return listed + ["".join(c for c in template if c not in "{}") for template in templates] * 5


@cache
def bpe(digits: str = "", side: str = "right") -> PreTrainedTokenizerFast:
    """Byte-level BPE that writes every listed word as one token; `digits` is how it cuts numbers: a regex."""
    tokenizer = Tokenizer(models.BPE())
    cut = [pre_tokenizers.Split(Regex(digits), "isolated")] if digits else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    years = [f" {year}" for year in range(1000, 2000)] if digits else []
    trainer = trainers.BpeTrainer(
        vocab_size=8000, min_frequency=1, special_tokens=[END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts() * 2 + years, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, padding_side=side)


DIGIT, PAIR, TRIPLE = r"\d", r"\d{2}", r"\d{1,3}"


@cache
def word_level(mask: bool = False, few: bool = False) -> PreTrainedTokenizerFast:
    """One token a word, as small tokenizers have it; with `mask`, like BERT's; with `few`, only 12 names."""
    names = words("female_names")[:12] if few else words("female_names") + words("male_names")
    known = {token for text in texts() for token in text.replace(",", " ,").replace(".", " .").split()} | set(names)
    if few:
        known -= set(words("female_names")[12:]) | set(words("male_names"))
    vocabulary = {token: i for i, token in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *sorted(known)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    if mask:
        ends = [("[CLS]", 2), ("[SEP]", 3)]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
        special |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def llama(tokenizer, seed: int = 0):
    """A random Llama of 2 layers over a tokenizer, hooked."""
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64)
    return hook(LlamaForCausalLM(config).eval(), name="tiny-llama", tokenizer=tokenizer)


class ByRule:
    """A model that is a rule: `rule(ids [batch, pos]) -> logits [batch, pos, vocab]`."""

    def __init__(self, rule, tokenizer=None):
        self.rule, self.tokenizer, self.name = rule, tokenizer, rule.__name__

    def __call__(self, x):
        return self.rule(x if torch.is_tensor(x) else x["input_ids"])
