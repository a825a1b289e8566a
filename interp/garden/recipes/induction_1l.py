"""induction-1l: the control that fails. One attention layer on the data of induction-2l: a head sees which token it
stands on, not which token stood before the one it looks at, so it cannot match prefixes (Elhage et al. 2021)."""

from dataclasses import replace

from interp.garden.recipes.induction_2l import RECIPE as TWO_LAYERS

RECIPE = replace(
    TWO_LAYERS,
    name="induction-1l",
    about=TWO_LAYERS.about + " With one layer it fails: the control of induction-2l.",
    sizes=TWO_LAYERS.sizes | {"n_layers": 1},
)
