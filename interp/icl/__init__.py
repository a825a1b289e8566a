"""In-context learning: which algorithm a model runs, and where.

Names are imported when they are first used: `interp.icl.head_scores(model)`.
"""

from interp.results.lazy_package import lazy_names

_HOME = {
    "curves": ("Curves", "prefix_curves", "run"),
    "over_training": ("Emergence", "emergence"),
    "layout": ("concatenated", "interleave"),
    "functions": ("task", "tasks"),
    "models": ("build", "predict"),
    "training": ("Curriculum", "train"),
    "composed": ("Composition", "composition", "copying_eigenvalues", "copying_scores"),
    "vectors": ("FunctionVectors", "function_vectors"),
    "head_table": ("HeadScores",),
    "heads": ("head_scores",),
    "token_losses": ("InContext", "in_context", "induction_loss"),
    "interleaved": ("interleaved_scores",),
    "match": ("Matching", "match_algorithms"),
    "momentum": ("Bode", "bode"),
    "pasting": ("Pasting", "paste"),
    "probes": ("Probes", "probe"),
    "readouts": ("fit_readouts",),
    "swapping": ("Swap", "swap"),
    "text_prompts": ("TextCurve", "text_curve"),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME, modules=("baselines",))
