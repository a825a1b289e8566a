"""Sites, hooks, caches, interventions: the one vocabulary every analysis meets a model through."""

from interp.hooks.baselines import Baseline, Counterfactual, Mean, Resample
from interp.hooks.cache import Cache
from interp.hooks.index import Index, Lengths, Source
from interp.hooks.interventions import Ablate, Freeze, Patch, Steer
from interp.hooks.model import HookedModel
from interp.hooks.site import Site
from interp.hooks.sitemap import SiteMap

__all__ = [
    "Ablate", "Baseline", "Cache", "Counterfactual", "Freeze", "HookedModel", "Index", "Lengths", "Mean", "Patch",
    "Resample", "Site", "SiteMap", "Source", "Steer",
]
