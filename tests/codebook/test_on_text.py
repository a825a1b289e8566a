"""Where one code is active on a text, against the codes that the books give."""

import pytest

from interp.codebook import attach
from interp.codebook.circuits import Code
from interp.codebook.on_text import on_text
from interp.codebook.tokens import tokenise
from interp.garden.loading import load
from interp.results.errors import BadInput

SITE, TEXT = "blocks.1.attn.hook_z", "The people of the United States"


@pytest.fixture(scope="module")
def books():
    model = load("garden/text-small")
    return attach(model, [SITE], n_codes=12, k=3, seed=0)


def test_the_strength_of_a_code_is_its_place_among_those_that_are_active(books):
    tokens = tokenise(books.model.tokenizer, [TEXT], 128)
    ids = books.codes(tokens.ids)[SITE][0, :, 2].tolist()
    for code in range(12):
        frame = on_text(books, TEXT, Code(SITE, 2, code))
        assert "".join(frame["token"]) == TEXT
        wanted = [1 - row.index(code) / 3 if code in row else 0.0 for row in ids]
        assert frame["strength"].to_list() == pytest.approx(wanted)


def test_a_text_is_read_without_a_look_at_all_the_weights(books, monkeypatch):
    def looked(tensors):
        raise AssertionError("hashed")

    monkeypatch.setattr("interp.codebook.search.digest", looked)
    assert len(on_text(books, TEXT, Code(SITE, 0, 1)))


@pytest.mark.parametrize(("code", "message"), [
    (Code("blocks.0.hook_mlp_out", 0, 1), "no books at"), (Code(SITE, 4, 1), "4 groups of 12"),
    (Code(SITE, 0, 12), "code 12 of group 0"),
])
def test_a_code_that_is_not_there_is_refused(books, code, message):
    with pytest.raises(BadInput, match=message):
        on_text(books, TEXT, code)
    with pytest.raises(BadInput):
        on_text(books, "", Code(SITE, 0, 1))
