"""icl-linear-d5: linear regression in context, y = w . x in five dimensions with up to ten examples (Garg et al. 2022,
arXiv 2208.01066)."""

from interp.garden.icl import in_context

RECIPE = in_context(
    "icl-linear-d5",
    "Says y = w . x at every x of a prompt x, y, x, y ..., from the examples before it; w is another in each prompt.",
    "linear:d=5", n=11, steps=10_000, d_model=64, n_layers=3, n_heads=2,
)
