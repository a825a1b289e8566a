"""One code on one text: at which tokens it is among the k most similar, and which place it has there."""

from typing import TYPE_CHECKING

from interp.codebook.books import Books
from interp.codebook.circuits import Code
from interp.codebook.search import inputs, one_per_token
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


def on_text(books: Books, text: str, code: Code) -> "pd.DataFrame":
    """A row a token: token, strength (1 where the code is the most similar one, down to 1/k; 0 where it is not active),
    and codes, all that are active there, most similar first.

    Raises BadInput for a site without books, a group that is not there, an empty text, a model without tokenizer.
    """
    import pandas as pd

    if code.site not in books.sites:
        raise BadInput(f"there are no books at {code.site!r}; there are: {', '.join(books.sites)}")
    groups, n_codes = books.of(code.site).groups, books.of(code.site).n_codes
    if not (0 <= code.group < groups and 0 <= code.code < n_codes):
        raise BadInput(f"the book at {code.site!r} has {groups} groups of {n_codes} codes; code {code.code} of group "
                       f"{code.group} was asked for")
    tokens, x = inputs(books, [text])
    ids = one_per_token(books.codes(x), tokens.ids)[code.site][:, :, code.group]
    rows = []
    for row, pos in tokens.real.nonzero().tolist():
        here = ids[row, pos].tolist()
        strength = 1 - here.index(code.code) / len(here) if code.code in here else 0.0
        rows.append({"token": tokens.piece(row, pos), "strength": strength, "codes": " ".join(map(str, here))})
    return pd.DataFrame(rows)
