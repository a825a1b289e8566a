"""`Context`: what every sublayer of one forward shares: where each token stands and which tokens are real."""

import torch
from torch import Tensor


class Context:
    """Positions and masks of one forward.

    `place` [1 or batch, pos] counts from the first real token of a row; `real` [batch, pos] is True at real tokens,
    or None where all are.
    """

    def __init__(self, input_ids: Tensor, attention_mask: Tensor | None = None):
        if attention_mask is None:
            self.real, self.place = None, torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        else:
            self.real = attention_mask.bool()
            self.place = (self.real.long().cumsum(1) - 1).clamp(min=0)
        self._masks: dict[tuple[bool, torch.dtype], Tensor] = {}

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
            zero = torch.zeros((), dtype=dtype, device=self.place.device)
            self._masks[key] = torch.where(hidden, torch.finfo(dtype).min, zero)
        return self._masks[key]
