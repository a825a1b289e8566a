"""Entries of image classifiers in stages: the sizes they share, and one call for each member."""

from collections.abc import Callable

from interp.architectures.entry import Entry
from interp.hooks.model import HookedModel
from interp.parts.norms import LayerNorm
from interp.parts.pyramid import Blocks, Pyramid, equations, hooked, images
from interp.parts.spec import Spec

SIZES = dict(d_model=32, n_layers=2, n_heads=2, image=32, patch=4, n_classes=10)


def staged(
    name: str, title: str, blocks: Callable[..., Blocks], own: dict[str, int] | None = None, *, family: str,
    citation: str, paper: int, norm=LayerNorm, embed_norm: bool = True, **parts,
) -> Entry:
    """A member whose `blocks(**own)` are made from the sizes that it alone has; `parts` are the stem and the merge of
    `Pyramid`. `n_layers` counts the blocks of one stage."""
    own = own or {}
    sizes = SIZES | own

    def make(*, seed: int, **given: int) -> HookedModel:
        chosen_sizes = sizes | given
        chosen = blocks(**{key: chosen_sizes[key] for key in own})
        spec = Spec(d_model=chosen_sizes["d_model"], n_layers=chosen_sizes["n_layers"], n_heads=chosen_sizes["n_heads"],
                    d_vocab=chosen_sizes["n_classes"], block=chosen(0, 0), norm=norm, position=None,
                    embed_norm=embed_norm)
        return hooked(lambda: Pyramid(spec, chosen, side=chosen_sizes["image"], patch=chosen_sizes["patch"], **parts),
                      len(spec.block) * spec.n_layers, seed, name=name,
                      recipe={"source": "catalog", "name": name, "sizes": chosen_sizes})

    return Entry(name=name, title=title, family=family, kind="vision", make=make, sizes=sizes, equations=equations,
                 example=images, citation=citation, paper=paper)
