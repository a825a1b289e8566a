"""How a model uses its depth, and what happens when one takes it away.

Names are imported when they are first used: `interp.depth.profile(model, x)`.
"""

from interp.results.lazy_package import lazy_names

_HOME = {
    "erase": ("Erasure", "erasure"),
    "gradients": ("DepthGradients", "integrated_gradients"),
    "influence": ("block_influence", "block_influences", "macro_influences"),
    "maps": ("Maps", "diagonal_test", "map_depths"),
    "phases": ("segment",),
    "profiles": ("Profile", "half_depth", "profile"),
    "structures": ("Structure", "structure"),
    "score": ("DepthScores", "depth_score", "depth_scores"),
    "similarity": ("cka",),
    "skip": ("SkipEffects", "skip_effects"),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
