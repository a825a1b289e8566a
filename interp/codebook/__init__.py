"""Codebook features: activations as sums of a few discrete codes (arXiv 2310.17230), in any hooked model.

    books = interp.codebook.attach(model, "blocks.*.attn.hook_z", n_codes=1024, k=8)    # one book per head
    books.train((tokens, targets), steps=500)
    books.codes(x)                                        # {site: ids [batch, pos, head, k]}
    books.search("war|battle", texts).frame()             # codes as detectors, chosen and scored on different texts
    with model.edit(books.activate(site, 17, head=3)): model(x)
    interp.codebook.compare(books, fit, x, labels, select=half).frame()                 # codes against their rivals
    interp.codebook.code_circuit(books, x, sources, targets).frame()                    # which codes write which code
    interp.codebook.build_index(books, texts, folder)     # codes of a body of text on disk, memory-mapped, resumable
    books.detach()                                        # the model as it was, bit for bit

Names are imported when they are first used.
"""

from interp.results.lazy_package import lazy_names

_HOME = {
    "blind_reading": ("blind",),
    "book": ("Codebook",),
    "books": ("Books", "attach"),
    "choosing": ("contexts", "influence", "log_chance", "spelled", "strongest"),
    "circuits": ("Code", "code_circuit", "commonest", "suppressed"),
    "classify": ("Detectors", "detectors", "purity"),
    "comparison": ("compare",),
    "files": ("load",),
    "index": ("build_index",),
    "measures": ("Measured", "measure"),
    "search": ("TokenCodes", "similar"),
    "seeds": ("stability",),
    "steer": ("generate", "perplexity"),
    "train": ("Training",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
