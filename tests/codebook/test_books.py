"""Books in models of the catalog: attached, taken away, changed, counted per visit."""

import pytest
import torch

from interp.codebook import Codebook, attach
from interp.codebook.books import Books
from interp.garden.catalog import build, catalog
from interp.hooks import Ablate
from interp.hooks.fingerprint import fingerprint
from interp.results.errors import BadInput, MissingSite

PLACES = {
    "gpt": ["blocks.*.attn.hook_z", "blocks.0.hook_attn_out", "blocks.*.mlp.hook_post", "blocks.1.hook_resid_post"],
    "mamba": ["blocks.*.hook_mixer_out", "blocks.0.ssm.hook_x", "blocks.1.ssm.hook_state"],
    "gla": ["blocks.*.mixer.hook_state"],
    "looped": ["blocks.*.hook_mlp_out", "blocks.*.attn.hook_z"],
    "swin": ["blocks.*.hook_attn_out", "blocks.0.attn.hook_z", "stage.0.hook_out"],
}
ENTRIES = {entry.name: entry for entry in catalog() if entry.name in PLACES}


def gpt(**sizes):
    return build("gpt", seed=0, d_model=16, n_layers=2, n_heads=2, d_vocab=11, n_ctx=12, **sizes)


def ids(rows=3):
    return torch.randint(11, (rows, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PLACES)
def test_attach_acts_inside_edit_only_and_leaves_no_trace(name):
    model = build(name, seed=0)
    x = ENTRIES[name].example(model)
    before, clean = fingerprint(model.module), model(x)
    books = attach(model, PLACES[name], n_codes=12, k=2, example=x)
    inside = books(x)
    assert not torch.allclose(inside, clean, atol=1e-4)
    codes = books.codes(x)
    assert list(codes) == sorted((s.name for s in model.sites(PLACES[name])), key=list(model.map.sites).index)
    assert all(0 <= int(c.min()) <= int(c.max()) < 12 and c.shape[-1] == 2 for c in codes.values())
    assert torch.equal(books.detach()(x), clean)
    assert fingerprint(model.module) == before


def test_a_site_of_heads_has_a_book_per_head_and_the_value_is_what_the_books_say():
    model, x = gpt(), ids()
    books = attach(model, "blocks.0.attn.hook_z", n_codes=9, k=2)
    value = model.run_with_cache(x, "blocks.0.attn.hook_z")[1]["blocks.0.attn.hook_z"]
    with model.edit(books):
        given = model.run_with_cache(x, "blocks.0.attn.hook_z")[1]["blocks.0.attn.hook_z"]
    for head in range(2):
        alone = Codebook(books.of("blocks.0.attn.hook_z").codes[head], k=2)
        assert torch.allclose(given[:, :, head], alone(value[:, :, head]), atol=1e-6)


def test_the_states_of_a_scan_have_one_book_for_all_channels():
    model, site = build("mamba", seed=0), "blocks.0.ssm.hook_state"
    x = ENTRIES["mamba"].example(model)
    states = model.read(x, [site])[site]  # [batch, pos, channel, d_state]
    books = attach(model, site, n_codes=9, k=2, example=x)
    assert books.codes(x)[site].shape == (*states.shape[:-1], 1, 2)
    alone = Codebook(books.of(site).codes[0], k=2)
    with model.edit(books):
        assert torch.allclose(model.read(x, [site])[site], alone(states), atol=1e-6)


def test_groups_share_the_channels_out():
    model, x = gpt(), ids()
    books = attach(model, "blocks.0.hook_mlp_out", n_codes=9, k=1, groups=4)
    assert books.of("blocks.0.hook_mlp_out").codes.shape == (4, 9, 4)
    assert books.codes(x)["blocks.0.hook_mlp_out"].shape == (3, 6, 4, 1)


def test_a_module_applied_several_times_has_one_book_counted_per_visit():
    model = build("looped", seed=0)
    x = ENTRIES["looped"].example(model)
    books = attach(model, "blocks.*.hook_mlp_out", n_codes=12, k=2)
    assert len(books.sites) == 4 and len(books.table) == 1
    book = books.of("blocks.3.hook_mlp_out")
    books.table.train()
    books(x)
    books.table.eval()
    codes = books.codes(x)
    for visit, site in enumerate(books.sites):
        wanted = torch.bincount(codes[site].flatten(), minlength=12)
        assert torch.equal(book.uses[visit, 0], wanted)


def test_padding_is_not_counted():
    from interp.hooks.index import Lengths

    model, x = gpt(), ids()
    books = attach(model, "blocks.0.hook_mlp_out", n_codes=9, k=2)
    layout = books.place("blocks.0.hook_mlp_out").layout
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [0] * 3 + [1] * 3])
    value = torch.randn(3, 6, 16)
    real = layout.real(value, Lengths.of(3, 6, mask))
    assert torch.equal(real.expand(3, 6, 1, 1)[..., 0, 0], mask.bool())
    assert layout.real(value, model.lengths(x)) is None


def test_kmeans_of_an_example_is_nearer_than_normal_codes():
    model, x = gpt(), ids(40)
    site = "blocks.0.hook_mlp_out"
    normal = attach(model, site, n_codes=30, k=1)
    fitted = attach(model, site, n_codes=30, k=1, init="kmeans", example=x)
    value = model.run_with_cache(x, site)[1][site][:, :, None]
    errors = [books.of(site).snap(value).error.mean().item() for books in (fitted, normal)]
    assert errors[0] < 0.2 * errors[1]


# -- changes of codes ----------------------------------------------------------------------------------------------


@pytest.fixture
def books() -> Books:
    return attach(gpt(), ["blocks.*.attn.hook_z", "blocks.1.hook_mlp_out"], n_codes=9, k=3)


def read(books, intervention, x):
    """The codes that act under an intervention."""
    from interp.codebook.books import Watched

    found = {}
    with books.model.edit(Watched(books, lambda s, b, snap, real: found.update({s.name: snap.ids}),
                                  intervention.changes)):
        out = books.model(x)
    with books.model.edit(intervention):
        assert torch.equal(books.model(x), out)
    return found


def test_activate_puts_a_code_where_it_was_not(books):
    x, site = ids(), "blocks.1.hook_mlp_out"
    before, after = books.codes(x)[site], read(books, books.activate(site, 5, pos=-1), x)[site]
    assert torch.equal(after[:, :-1], before[:, :-1])
    there = (before[:, -1] == 5).any(-1, keepdim=True)
    wanted = torch.where(there, before[:, -1], torch.cat([before[:, -1, :, :2], torch.full((3, 1, 1), 5)], -1))
    assert torch.equal(after[:, -1], wanted) and not there.all()


def test_suppress_leaves_a_gap_or_takes_the_next(books):
    x, site = ids(), "blocks.0.attn.hook_z"
    before = books.codes(x)[site]
    code = int(before[0, 0, 1, 1])
    gap = read(books, books.suppress(site, code, head=1), x)[site]
    assert torch.equal(gap[:, :, 0], before[:, :, 0])
    assert torch.equal(gap[:, :, 1], before[:, :, 1].where(before[:, :, 1] != code, -1))
    full = read(books, books.suppress(site, code, head=1, refill=True), x)[site]
    value = books.model.run_with_cache(x, site)[1][site]
    wanted = books.of(site).encode(value, without=torch.tensor([code]))[:, :, 1]
    assert torch.equal(full[:, :, 1].sort(-1)[0], wanted.sort(-1)[0])


def test_replace_and_put_and_changes_in_a_row(books):
    x, site = ids(), "blocks.1.hook_mlp_out"
    before = books.codes(x)[site]
    code = int(before[0, 0, 0, 0])
    after = read(books, books.replace(site, code, 8).activate(site, 2, slot=0), x)[site]
    wanted = before.where(before != code, 8)
    has = (wanted == 2).any(-1, keepdim=True)
    wanted = torch.where(has, wanted, torch.cat([torch.full_like(wanted[..., :1], 2), wanted[..., 1:]], -1))
    assert torch.equal(after, wanted)
    other = books.codes(ids().flip(1))[site]
    assert torch.equal(read(books, books.put(site, other, pos=slice(2, 4)), x)[site][:, 2:4], other[:, 2:4])
    assert (read(books, books.activate(site, 7, slot="all"), x)[site] == 7).all()


def test_putting_a_codes_own_codes_changes_nothing_and_all_codes_of_another_change_all(books):
    x, y, site = ids(), ids().flip(1), "blocks.1.hook_mlp_out"
    plain, own = books(x), books
    for name, found in books.codes(x).items():
        own = own.put(name, found)
    with books.model.edit(own):
        assert torch.equal(books.model(x), plain)
    with books.model.edit(books.put(site, books.codes(y)[site])):
        assert not torch.equal(books.model(x), plain)


def test_books_compose_with_ordinary_interventions(books):
    x = ids()
    plain = books(x)
    with books.model.edit(books.activate("blocks.1.hook_mlp_out", 5), Ablate("blocks.1.hook_mlp_out")):
        gone = books.model(x)
    with books.model.edit(books, Ablate("blocks.1.hook_mlp_out")):
        assert torch.equal(books.model(x), gone)
    with books.model.edit(books), books.model.edit(Ablate("blocks.0.attn.hook_z", head=1)):
        assert not torch.equal(books.model(x), plain)


@pytest.mark.parametrize(("act", "error", "says"), [
    (lambda b: b.activate("blocks.1.hook_mlp_ut", 1), MissingSite, "blocks.1.hook_mlp_out"),
    (lambda b: b.activate("blocks.1.hook_mlp_out", 9), BadInput, "codes 0 to 8"),
    (lambda b: b.activate("blocks.0.attn.hook_z", 1, head=2), BadInput, "groups 0 to 1"),
    (lambda b: b.activate("blocks.0.attn.hook_z", 1, slot=3), BadInput, "slots 0 to 2"),
    (lambda b: b.put("blocks.0.attn.hook_z", torch.tensor([11])), BadInput, "0 to 8"),
    (lambda b: attach(b.model, "blocks.0.attn.hook_pattern"), MissingSite, "no feature axis"),
    (lambda b: attach(b.model, "blocks.0.ln1.hook_scale"), MissingSite, "no feature axis"),
    (lambda b: attach(b.model, "output"), MissingSite, "no feature axis"),
    (lambda b: attach(b.model, "blocks.9.hook_mlp_out"), MissingSite, "no site"),
    (lambda b: attach(b.model, "blocks.0.hook_mlp_out", n_codes=4, k=5), BadInput, "k=5"),
    (lambda b: attach(b.model, "blocks.0.attn.hook_z", groups=2), BadInput, "one book per head"),
    (lambda b: attach(b.model, "blocks.0.hook_mlp_out", groups=3), BadInput, "cannot be cut into 3"),
    (lambda b: attach(b.model, "blocks.0.hook_mlp_out", groups=0), BadInput, "groups=0"),
    (lambda b: attach(b.model, "blocks.0.hook_mlp_out", n_codes=-1), BadInput, "n_codes=-1"),
    (lambda b: attach(b.model, "blocks.0.hook_mlp_out", k=2.0), BadInput, "k=2.0"),
    (lambda b: attach(b.model, "blocks.0.hook_mlp_out", similarty="cosine"), BadInput, "similarity"),
    (lambda b: attach(b.model, []), BadInput, "no site was named"),
    (lambda b: attach(b.model, "blocks.0.hook_mlp_out", init="kmeans"), BadInput, "example"),
    (lambda b: attach(build("swin", seed=0), "blocks.0.hook_attn_out"), BadInput, "example"),
    (lambda b: gpt().edit(b).__enter__(), BadInput, "belong to gpt"),
])
def test_bad_input_says_what_to_do(books, act, error, says):
    with pytest.raises(error, match=says):
        act(books)


def test_activations_that_are_not_finite_are_refused_and_the_model_is_left_alone(books):
    with torch.no_grad():
        kept = books.model.module.blocks[0].mlp.up.weight.clone()
        books.model.module.blocks[0].mlp.up.weight[0] = torch.nan
    with pytest.raises(BadInput, match="at 'blocks.1.attn.hook_z': the activations hold NaN"):
        books(ids())
    with torch.no_grad():
        books.model.module.blocks[0].mlp.up.weight.copy_(kept)
    assert torch.isfinite(books(ids())).all()


def test_changes_act_in_training_mode_too_and_leave_the_ids_that_were_read_alone(books):
    x, site = ids(), "blocks.1.hook_mlp_out"
    before = books.codes(x)[site]
    kept = before.clone()
    with books.model.edit(books.put(site, before).activate(site, 5, slot=0).replace(site, 1, 2)):
        evaluated = books.model(x)
        books.table.train()
        assert torch.equal(books.model(x), evaluated)
        books.table.eval()
    assert torch.equal(before, kept) and not torch.equal(evaluated, books(x))


def test_experts_have_a_book_each():
    model = build("widenet", seed=0)
    site, x = model.site("blocks.0.expert.hook_post"), ids()
    books = attach(model, site, n_codes=5, k=1, example=x)
    value = model.run_with_cache(x, site)[1][site]
    assert books.of(site).groups == value.shape[2] and books.codes(x)[site.name].shape == (*value.shape[:-1], 1)
