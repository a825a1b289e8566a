"""Codebook features: activations as sums of a few discrete codes (arXiv 2310.17230), in any hooked model.

    books = interp.codebook.books(model, "blocks.*.attn.hook_z", n_codes=1024, k=8)     # one book per head
    books.train((tokens, targets), steps=500)
    books.codes(x)                                        # {site: ids [batch, pos, head, k]}
    books.search("war|battle", texts).frame()             # codes as detectors, chosen and scored on different texts
    with model.edit(books.activate(site, 17, head=3)): model(x)
    books.detach()                                        # the model as it was, bit for bit

Names are imported when they are first used.
"""

from interp.results.lazy_package import lazy_names

_HOME = {
    "book": ("Codebook",),
    "books": ("Books", "attach"),
    "classify": ("Detectors", "detectors", "purity"),
    "files": ("load",),
    "measures": ("Measured", "measure"),
    "search": ("TokenCodes",),
    "steer": ("generate", "perplexity"),
    "train": ("Training",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
