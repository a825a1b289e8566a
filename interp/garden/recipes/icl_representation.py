"""icl-representation: y = w . Phi(x), where Phi is one random rotation with a leaky ReLU behind it, the same for all
prompts (Guo et al. 2023, arXiv 2310.10616)."""

from interp.garden.icl import in_context

RECIPE = in_context(
    "icl-representation",
    "Says y = w . Phi(x) at every x of a prompt x, y, x, y ...; w is another in each prompt, Phi is in the weights.",
    "representation:d=5,layers=1", n=16, steps=3000, d_model=64, n_layers=4, n_heads=2,
)
