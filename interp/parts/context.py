"""`Context`: what every sublayer of one forward shares: where each token stands and which tokens are real."""

from copy import copy

import torch
from torch import Tensor


class Context:
    """Positions and masks of one forward.

    `ids` are the tokens, `place` [1 or batch, pos] counts from the first real token of a row; `real` [batch, pos] is
    True at real tokens, or None where all are.
    """

    def __init__(self, input_ids: Tensor, attention_mask: Tensor | None = None):
        if attention_mask is None:
            self.real, self.place = None, torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        else:
            self.real = attention_mask.bool()
            self.place = (self.real.long().cumsum(1) - 1).clamp(min=0)
        self.ids = input_ids
        self.sees_itself, self.group = False, None
        self._masks: dict[tuple[bool, torch.dtype], Tensor] = {}

    @classmethod
    def grouped(cls, place: Tensor, group: Tensor) -> "Context":
        """A sequence in groups that do not see each other (words, blocks): `group` and `place` in it, [batch, pos]."""
        context = cls(place)
        context.place, context.group = place, group
        return context

    def only(self, active: Tensor) -> "Context":
        """The same forward among the `active` tokens [batch, pos]; another one sees itself and is seen by nobody."""
        other = copy(self)
        other.real = active if self.real is None else self.real & active
        other.sees_itself, other._masks = True, {}
        return other

    def mask(self, causal: bool, dtype: torch.dtype) -> Tensor:
        """What is added to the scores, [1 or batch, 1, query, key]: 0 where a query may look, else very negative.

        The lowest finite number and not -inf: the row of a padded query sees nothing and must not become NaN.
        """
        key = (causal, dtype)
        if key not in self._masks:
            n = self.place.shape[1]
            hidden = torch.zeros(1, 1, n, n, dtype=torch.bool, device=self.place.device)
            if causal:
                hidden = hidden | torch.ones_like(hidden).triu(1)
            if self.real is not None:
                hidden = hidden | ~self.real[:, None, None, :]
            if self.group is not None:
                hidden = hidden | (self.group[:, None, :, None] != self.group[:, None, None, :])
            if self.sees_itself:
                hidden = hidden & ~torch.eye(n, dtype=torch.bool, device=hidden.device)
            zero = torch.zeros((), dtype=dtype, device=self.place.device)
            self._masks[key] = torch.where(hidden, torch.finfo(dtype).min, zero)
        return self._masks[key]

    def weight(self, dtype: torch.dtype) -> Tensor:
        """1 at real tokens and 0 at padding, [1 or batch, pos]."""
        return torch.ones_like(self.place, dtype=dtype) if self.real is None else self.real.to(dtype)
