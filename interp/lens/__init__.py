"""Lenses: the stream at any depth, read as if it were the last.

`Head` is the rest of a model behind its last block; `logit_lens` reads every depth through it (`readings` one prompt,
token by token, `trajectory` some tokens over depth, `spoken` outputs that are numbers), `fit_tuned_lens` learns an
affine map to go before it, and `direct_attribution` says how much of a metric each writer puts there.
"""

from interp.lens.attribution import Attribution, direct_attribution
from interp.lens.head import Head
from interp.lens.logit import Lens, logit_lens
from interp.lens.readings import Readings, readings, spoken, trajectory
from interp.lens.tuned import TunedLens, fit_tuned_lens

__all__ = ["Attribution", "Head", "Lens", "Readings", "TunedLens", "direct_attribution", "fit_tuned_lens",
           "logit_lens", "readings", "spoken", "trajectory"]
