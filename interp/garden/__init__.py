"""The garden: trained checkpoints that ship with the package, real models, and the recipes that made them."""
