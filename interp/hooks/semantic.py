"""Operations whose meaning torch functions cannot tell: norms, attention, scans.

Adapters and parts call these; the effect engines put their own rule in place of one with `use_rules`.
Everything else in a model is seen by the engines as ordinary torch functions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor

Mark = Callable[[str, Tensor], Tensor]


def no_mark(point: str, value: Tensor) -> Tensor:
    """The mark of an operation outside any hooked module."""
    return value


class Rules(Protocol):
    """What an engine supplies in place of the operations below (same arguments)."""

    def norm(self, x: Tensor, weight, bias, *, eps: float, center: bool, mark: Mark) -> Tensor: ...
    def attention(self, q: Tensor, k: Tensor, v: Tensor, *, bias, scale: float, softcap, mark: Mark) -> Tensor: ...
    def activation(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor: ...
    def scan(self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, mark: Mark) -> Tensor: ...


_active: ContextVar[Rules | None] = ContextVar("interp_rules", default=None)


@contextmanager
def use_rules(rules: Rules | None) -> Iterator[None]:
    """Run the body with `rules` in place of the plain operations."""
    token = _active.set(rules)
    try:
        yield
    finally:
        _active.reset(token)


def norm(x: Tensor, weight, bias, *, eps: float, center: bool, mark: Mark = no_mark) -> Tensor:
    """LayerNorm (`center`) or RMSNorm over the last axis; marks `scale` and `normalized`.

    Papers: Ba 2016 (1607.06450), Zhang & Sennrich 2019 (1910.07467). Statistics in float32 or better.
    """
    if (rules := _active.get()) is not None:
        return rules.norm(x, weight, bias, eps=eps, center=center, mark=mark)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if center:  # the library's own kernel, which hands out its statistics
        normalized, _, inverse = torch.native_layer_norm(wide, wide.shape[-1:], None, None, eps)
        scale = inverse.reciprocal()
        if (changed := mark("scale", scale)) is not scale:
            normalized = normalized * (scale / changed)
    else:
        normalized = wide / mark("scale", (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt())
    return affine(mark("normalized", normalized.to(x.dtype)), weight, bias)


def affine(x: Tensor, weight, bias) -> Tensor:
    """x * weight + bias, each where given."""
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def scores(q: Tensor, k: Tensor, *, bias, scale: float, softcap=None) -> Tensor:
    """Attention scores [batch, head, query, key] with softcap, then additive bias and mask."""
    raw = torch.matmul(q, k.transpose(-1, -2)) * scale
    if softcap is not None:
        raw = softcap * torch.tanh(raw / softcap)
    return raw if bias is None else raw + bias


def repeat_heads(x: Tensor, heads: int) -> Tensor:
    """Key/value heads repeated to the query heads they serve (grouped-query attention)."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)


def attention(
    q: Tensor, k: Tensor, v: Tensor, *, bias=None, scale: float, softcap=None, mark: Mark = no_mark
) -> Tensor:
    """Softmax attention; q [batch, head, query, d], k and v [batch, kv_head, key, d]; returns z like q.

    `bias` is everything added to the scores: masks, relative positions. Marks `rot_q`, `rot_k` (in the order
    [batch, pos, head, d]), `attn_scores` and `pattern`.
    """
    q = mark("rot_q", q.transpose(1, 2)).transpose(1, 2)
    k = mark("rot_k", k.transpose(1, 2)).transpose(1, 2)
    if (rules := _active.get()) is not None:
        return rules.attention(q, k, v, bias=bias, scale=scale, softcap=softcap, mark=mark)
    k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
    logits = mark("attn_scores", scores(q, k, bias=bias, scale=scale, softcap=softcap))
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    pattern = mark("pattern", torch.softmax(wide, -1).to(q.dtype))
    return torch.matmul(pattern, v)


def activation(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An elementwise nonlinearity of one input."""
    if (rules := _active.get()) is not None:
        return rules.activation(function, x)
    return function(x)


def scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, mark: Mark = no_mark) -> Tensor:
    """Selective scan h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t (Gu & Dao 2023, 2312.00752).

    Shapes: x, dt [batch, pos, inner]; A [inner, state]; B, C [batch, pos, state] or, per channel,
    [batch, pos, inner, state]; returns y [batch, pos, inner]. Linear in x given dt, B and C. Marks `state`
    [batch, pos, inner, state], h as y reads it.
    """
    if (rules := _active.get()) is not None:
        return rules.scan(x, dt, A, B, C, mark=mark)
    if B.dim() == 3:
        B, C = B[:, :, None], C[:, :, None]
    decay = torch.exp(dt[..., None] * A)
    inflow = (dt * x)[..., None] * B
    state, states = torch.zeros_like(inflow[:, 0]), []
    for t in range(x.shape[1]):
        state = decay[:, t] * state + inflow[:, t]
        states.append(state)
    return (mark("state", torch.stack(states, 1)) * C).sum(-1)
