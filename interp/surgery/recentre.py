"""LayerNorm to RMSNorm and back, exactly (Jiang et al. 2023, 2305.14858, sections 3 and 4).

    recentre    LN -> RMSNorm: whatever writes to the stream loses its mean over coordinates, which every LN ignores
    compress    RMSNorm -> CRMSNorm: the last of d_model coordinates is minus the sum of the others, so it is dropped
    expand      CRMSNorm -> RMSNorm: it is written again
    relayer     RMSNorm of a zero-mean stream -> LN

Each takes a pre-norm model of the catalog and returns a new one with the same logits. Surprise: the head cannot stay
tied to the embedding, since it reads a normed value, of which gain and shift are no multiple of a zero-mean vector.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from interp.hooks.model import HookedModel
from interp.parts import Model, hook
from interp.parts.rms_norms import CRMSNorm, RMSNormShift
from interp.results.errors import BadInput


def recentre(model: HookedModel) -> HookedModel:
    """The Pre-RMSNorm model with the logits of a Pre-LN one. Raises BadInput for a model without LayerNorms."""
    module = _copy(model, nn.LayerNorm, "recentre")
    for write in _writers(module):
        _replace(write, write.weight - write.weight.mean(_stream_axis(write), keepdim=True),
                 None if _bias(write) is None else write.bias - write.bias.mean())
    _change_norms(module, RMSNormShift, lambda values: values)
    return _hooked(module, model)


def relayer(model: HookedModel) -> HookedModel:
    """The Pre-LN model with the logits of a Pre-RMSNorm one whose stream has no mean.

    Raises BadInput for other norms, and for a model whose writers have a mean (a LayerNorm would take it away).
    """
    module = _copy(model, RMSNormShift, "relayer")
    for write in _writers(module):
        means = [write.weight.mean(_stream_axis(write)).abs().max()]
        means += [] if _bias(write) is None else [write.bias.mean().abs()]
        if max(means) > 1e-5 * write.weight.abs().max():
            raise BadInput(f"{model.name} writes a mean to its stream, which a LayerNorm would remove; convert a model "
                           "without it, such as recentre() or expand() make")
    _change_norms(module, nn.LayerNorm, lambda values: values)
    return _hooked(module, model)


def compress(model: HookedModel) -> HookedModel:
    """The Pre-CRMSNorm model, one coordinate narrower, with the logits of a zero-mean Pre-RMSNorm one.

    Raises BadInput as `relayer` does.
    """
    relayer(model)  # refuses a stream that has a mean
    module = _copy(model, RMSNormShift, "compress")
    for norm, reads in _readers(module):
        for read in reads:
            weight = read.weight * norm.weight
            bias = read.weight @ norm.bias + (0 if read.bias is None else read.bias)
            _replace(read, weight[:, :-1] - weight[:, -1:], bias)
    for write in _writers(module):
        narrow = write.weight.narrow(_stream_axis(write), 0, module.spec.d_model - 1)
        _replace(write, narrow, None if _bias(write) is None else write.bias[:-1])
    _change_norms(module, CRMSNorm, lambda values: torch.ones_like(values[:-1]), lambda v: torch.zeros_like(v[:-1]))
    return _hooked(module, model)


def expand(model: HookedModel) -> HookedModel:
    """The Pre-RMSNorm model, one coordinate wider, with the logits of a Pre-CRMSNorm one."""
    module = _copy(model, CRMSNorm, "expand")
    for norm, reads in _readers(module):
        for read in reads:
            bias = read.weight @ norm.bias + (0 if read.bias is None else read.bias)
            _replace(read, torch.cat([read.weight * norm.weight, torch.zeros_like(read.weight[:, :1])], 1), bias)
    for write in _writers(module):
        axis = _stream_axis(write)
        wide = torch.cat([write.weight, -write.weight.sum(axis, keepdim=True)], axis)
        bias = _bias(write)
        _replace(write, wide, None if bias is None else torch.cat([bias, -bias.sum(0, keepdim=True)]))
    one = torch.ones(1)
    _change_norms(module, RMSNormShift, lambda values: torch.ones_like(torch.cat([values, one.to(values)])),
                  lambda values: torch.zeros_like(torch.cat([values, one.to(values)])))
    return _hooked(module, model)


def _copy(model: HookedModel, kind: type[nn.Module], what: str) -> Model:
    """A copy with the head untied. Raises BadInput where it is no pre-norm model of parts with norms of that kind."""
    module = model.module
    pre = isinstance(module, Model) and isinstance(module.spec.block, tuple) and not module.spec.embed_norm and all(
        sub.norms == (sub.norm_in,) and sub.gate is None for sub in module.spec.block
    )
    if not pre:
        raise BadInput(f"{what} needs a pre-norm model of the catalog (gpt, parallel ...), not {model.name}")
    found = type(module.ln_final)
    if found is not kind:
        raise BadInput(f"{what} needs a model with {kind.__name__}; {model.name} has {found.__name__}")
    module = deepcopy(module)
    module.spec = module.spec.__class__(**{**vars(module.spec), "tied": tuple(
        tie for tie in module.spec.tied if tie != "head")})
    module.unembed.weight = nn.Parameter(module.unembed.weight.detach().clone())
    return module


def _writers(module: Model) -> Iterator[nn.Linear | nn.Embedding]:
    """Everything that writes to the stream."""
    yield module.embed
    if module.pos_embed is not None:
        if not isinstance(module.pos_embed, nn.Embedding):
            raise BadInput("positions written by a formula have a mean that no weight can lose; use learned ones or "
                           "such as live in the scores")
        yield module.pos_embed
    for block in module.blocks:
        for sub in module.spec.block:
            part = block.get_submodule(sub.name)
            yield part.get_submodule("o" if sub.name == "attn" else "down")


def _readers(module: Model) -> Iterator[tuple[nn.Module, list[nn.Linear]]]:
    """Every norm with the linear maps that read it."""
    for block in module.blocks:
        for sub in module.spec.block:
            part, names = block.get_submodule(sub.name), ("q", "k", "v") if sub.name == "attn" else ("up", "gate")
            yield block.get_submodule(sub.norm_in), [part._modules[name] for name in names if name in part._modules]
    yield module.ln_final, [module.unembed]


def _stream_axis(write: nn.Linear | nn.Embedding) -> int:
    return 1 if isinstance(write, nn.Embedding) else 0


def _bias(write: nn.Module) -> Tensor | None:
    return getattr(write, "bias", None)


def _replace(part: nn.Linear | nn.Embedding, weight: Tensor, bias: Tensor | None) -> None:
    """New weights, and the sizes that go with them."""
    part.weight = nn.Parameter(weight.detach().clone())
    if isinstance(part, nn.Embedding):
        part.embedding_dim = weight.shape[1]
        return
    part.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    part.out_features, part.in_features = weight.shape


def _change_norms(module: Model, kind: type[nn.Module], gain: Callable[[Tensor], Tensor],
                  shift: Callable[[Tensor], Tensor] | None = None) -> None:
    """Every norm of the model as one of `kind`, with gain and shift made of its own."""
    for path, norm in list(module.named_modules()):
        if isinstance(norm, nn.LayerNorm | RMSNormShift):
            weight, bias = gain(norm.weight.detach()), (shift or gain)(norm.bias.detach())
            new = kind(len(weight), eps=norm.eps).to(weight)
            new.weight, new.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
            parent, _, name = path.rpartition(".")
            module.get_submodule(parent).add_module(name, new)


def _hooked(module: Model, model: HookedModel) -> HookedModel:
    return hook(module, name=model.name, tokenizer=model.tokenizer)
