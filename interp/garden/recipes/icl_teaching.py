"""icl-teaching: monotone conjunctions of eight variables, each prompt beginning with the fewest examples that leave one
conjunction (Bhattamishra et al. 2023, arXiv 2310.03016, section 4)."""

from interp.garden.icl import in_context

RECIPE = in_context(
    "icl-teaching",
    "Says whether a conjunction holds at every x of a prompt x, y, x, y ... that begins with a teaching sequence, as "
    "log-odds of +1; x and y are -1 and +1.",
    "teaching:d=8", n=16, steps=800, warmup=100, d_model=64, n_layers=3, n_heads=4,
)
