"""The known defects of the published code (section 1.8 of the notes), each with the test that shows it absent here.

The table of docs/codebook.md names the tests; those that stood nowhere else are below.
"""

import re
from pathlib import Path

import torch

from interp.codebook import Codebook, attach, generate, load
from interp.garden.catalog import build

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| .+ \| `(test_\w+)` \|$", re.MULTILINE)


def model():
    return build("gpt", seed=0, d_model=16, n_layers=2, n_heads=2, d_vocab=11, n_ctx=24)


def test_every_defect_of_the_table_has_a_test_that_exists():
    section = (ROOT / "docs/codebook.md").read_text().split("## Defects of the published code")[1].split("\n## ")[0]
    named = ROW.findall(section)
    assert len(named) == sum(line.startswith("| ") for line in section.splitlines()) - 1 >= 17  # but for the heading
    defined = {name for folder in ("codebook", "tasks", "cli") for path in (ROOT / "tests" / folder).glob("test_*.py")
               for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    assert set(named) <= defined


def test_a_book_of_every_head_gets_its_own_centres():
    x = torch.randint(11, (60, 8), generator=torch.Generator().manual_seed(0))
    made, site = model(), "blocks.0.attn.hook_z"
    books = attach(made, site, n_codes=5, k=1, init="kmeans", example=x)
    begun = attach(made, site, n_codes=5, k=1)
    value = made.read(x, [site])[site]
    for head in range(2):
        assert not torch.equal(books.of(site).codes[head], begun.of(site).codes[head])
        fitted, random = (Codebook(one.of(site).codes[head], k=1).snap(value[:, :, head]) for one in (books, begun))
        assert fitted.error.mean() < 0.5 * random.error.mean()


def test_a_code_is_put_at_the_newest_token_while_text_grows():
    made, ids = model(), torch.tensor([[1, 2, 3]])
    books = attach(made, "blocks.1.hook_mlp_out", n_codes=9, k=2, seed=1)
    edited = books.activate("blocks.1.hook_mlp_out", 7, pos=-1, slot="all")
    made_text, wanted = generate(made, ids, 5, edited, temperature=0), ids
    for _ in range(5):
        with made.edit(edited), torch.no_grad():
            wanted = torch.cat([wanted, made(wanted)[:, -1:].argmax(-1)], 1)
    assert torch.equal(made_text, wanted)


def test_the_number_of_active_codes_is_what_the_book_reads():
    book = Codebook.random(9, 4, k=1)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    for k in (1, 3, 5):
        book.k = k
        assert book.encode(x).shape == (3, k) and torch.allclose(book(x), book.codes[book.encode(x)].sum(1), atol=1e-6)


def test_books_are_plain_tensors_on_disk(tmp_path):
    books = attach(model(), "blocks.0.hook_mlp_out", n_codes=9, k=2)
    books.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    assert torch.equal(load(tmp_path, books.model).of(books.sites[0]).codes, books.of(books.sites[0]).codes)
