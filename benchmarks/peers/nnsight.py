"""nnsight 0.8: what is timed, in its own words. Imported only in its own environment."""

from collections.abc import Callable

from nnsight import NNsight, save
from torch import Tensor
from transformers import GPT2LMHeadModel

NAME = "nnsight"


def forwards(module: GPT2LMHeadModel, x: Tensor) -> dict[str, Callable[[], object]]:
    """A trace that saves the output, 12 block outputs, every module's output."""
    model = NNsight(module)

    def output():
        with model.trace(x, use_cache=False):
            logits = model.output.logits.save()
        return logits

    def blocks():
        with model.trace(x, use_cache=False):
            streams = save([block.output for block in model.transformer.h])
        return streams

    def everything():
        with model.trace(x, use_cache=False) as tracer:
            cache = tracer.cache()
        return cache

    return {"no hooks": output, "12 sites cached": blocks, "everything cached": everything}


def entries(cache) -> list:
    """What a full cache holds: the output of every module."""
    return [cache[path].output for path in cache.keys()]


def discovery(module: GPT2LMHeadModel, clean: Tensor, corrupt: Tensor, metric) -> dict[str, Callable[[], Tensor]]:
    """nnsight has recipes for patching and no function for it: nothing to time."""
    return {}
