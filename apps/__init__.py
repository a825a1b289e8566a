"""Applications on top of `interp`; nothing in `interp` imports them."""
