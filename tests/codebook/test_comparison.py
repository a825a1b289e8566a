"""Rivals of codes, thresholds chosen and scored apart, and stability, against counts by hand."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.codebook import attach, seeds
from interp.codebook.book import EMPTY
from interp.codebook.classify import PADDING, count
from interp.codebook.comparison import _probe, compare, means
from interp.codebook.rivals import principal, rivals
from interp.codebook.sae import TopKAutoencoder
from interp.codebook.seeds import stability
from interp.codebook.thresholds import LEAST, Ranked, Thresholds, detect, trust
from interp.garden.catalog import build
from interp.results.errors import BadInput
from interp.tasks.tokfsm import TokFSM

FSM = TokFSM(6, 2, 3)


def clusters(rows=400, n=6, d=8, seed=0):
    """Vectors around n directions, and which one each is around."""
    generator = torch.Generator().manual_seed(seed)
    centres, own = 4 * torch.randn(n, d, generator=generator), torch.randint(n, (rows,), generator=generator)
    return (centres[own] + 0.1 * torch.randn(rows, d, generator=generator))[:, None], own


# -- thresholds ----------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_every_threshold_is_that_of_a_loop_over_all_of_them(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(levels, (20, 3), generator=generator).float()  # with ties
    true = torch.rand(20, generator=generator) < 0.4
    true[0] = True
    cuts = [(unit, cut) for unit in range(3) for cut in values[:, unit].unique().tolist()]

    def right(unit, cut):
        on = values[:, unit] >= cut
        return int((on & true).sum()), int(on.sum())

    table = Thresholds(Ranked(values), true)
    best = max(2 * h / (n + int(true.sum())) for h, n in (right(*at) for at in cuts))
    hits, n = right(*table.best_f1())
    assert 2 * hits / (n + int(true.sum())) == pytest.approx(best)
    hits, n = right(*table.at_recall(0.5))
    assert hits >= 0.5 * int(true.sum())
    for unit, cut in enumerate(table.precise(0.6).tolist()):
        good = [c for u, c in cuts if u == unit and (r := right(u, c))[0] >= LEAST and r[0] / r[1] >= 0.6]
        assert cut == (min(good) if good else math.inf)


def test_what_is_chosen_on_one_half_is_scored_on_the_other():
    here, there = torch.tensor([[3.0], [2.0], [1.0], [0.0]]), torch.tensor([[3.0], [2.5], [0.5], [0.0]])
    true, other = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    found = detect(Ranked(here), true, there, other, recalls=(1.0,), least=0.9)
    assert found["at 0"] == found["f1"] == (0.5, 0.5) and found["f1"].f1 == 0.5
    assert found["union"] == (0.0, 0.0)  # two tokens are too few to call a threshold precise


def test_trust_is_the_precision_of_the_best_code_of_a_token():
    labels, ids = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[[[1]], [[1]], [[1]], [[2]]]])
    counts = count(ids, labels, 2, 3)
    assert trust(counts, 0, ids[0])[:, 0].tolist() == [2 / 4, 2 / 4, 2 / 4, 0]
    assert trust(counts, 0, torch.tensor([[[EMPTY]]])).tolist() == [[0.0]]


# -- rivals --------------------------------------------------------------------------------------------------------


def test_rivals_give_codes_of_their_own_and_tell_clusters_apart():
    x, own = clusters()
    found = rivals(x, 16, 1, seed=0, steps=200)
    assert list(found) == ["k-means", "random hash", "top-k autoencoder", "PCA", "neurons"]
    for name, rival in found.items():
        ids = rival.encode(x)
        assert ids.shape[:2] == (400, 1) and -1 <= int(ids.min()) <= int(ids.max()) < rival.n, name
        assert abs(rival.bits - 4) <= 1  # log2 16
    for name in ("k-means", "top-k autoencoder"):
        ids = found[name].encode(x)[:, 0, 0]
        same = sum(int(torch.bincount(own[ids == i]).max()) for i in ids.unique() if i >= 0)
        assert same / 400 > 0.95, name


def test_several_active_features_of_a_hash_are_of_tables_of_their_own():
    x, _ = clusters()
    ids = rivals(x, 8, 3, seed=0, steps=1)["random hash"].encode(x)
    assert torch.equal(ids[:, 0] // 8, torch.arange(3).expand(400, 3))


def test_principal_components_are_uncorrelated():
    x, _ = clusters()
    z = principal(x)(x)[:, 0]
    covariance = z.T @ z / len(z)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-3 * covariance.max()


def test_an_autoencoder_learns_and_its_forward_is_a_sum_of_its_active_rows():
    x, _ = clusters(d=8)
    made = TopKAutoencoder(16, 8, 2, groups=1, seed=0).requires_grad_(False)
    before = float((made(x) - x).square().sum())
    made.requires_grad_(True).fit(x, steps=300, batch=128).requires_grad_(False)
    assert float((made(x) - x).square().sum()) < 0.2 * before
    values, ids = made.active(x[:1])
    wanted = sum(v * made.decoder[0, i] for v, i in zip(values[0, 0], ids[0, 0])) + made.centre[0, 0]
    assert torch.allclose(made(x[:1])[0, 0], wanted, atol=1e-5)
    assert torch.allclose(made.decoder.norm(dim=-1), torch.ones(1, 16), atol=1e-4)
    with pytest.raises(BadInput, match="k=9 latents of 8"):
        TopKAutoencoder(8, 4, 9)


# -- the table -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared():
    model = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=4, n_ctx=13)
    x = FSM.batch(80, 13, torch.Generator().manual_seed(0))[0]
    books = attach(model, ["blocks.0.attn.hook_z", "blocks.0.hook_mlp_out"], n_codes=12, k=1, init="kmeans", example=x)
    return compare(books, x[:40], x, FSM.labels(x), select=torch.arange(80) % 2 == 0, steps=40), books, x


def test_all_detectors_are_in_one_table_and_the_null_detects_nothing(compared):
    table = compared[0].frame().set_index(["site", "detector"])
    assert len(table) == 2 * 8
    for site in ("blocks.0.attn.hook_z", "blocks.0.hook_mlp_out"):
        rows = table.loc[site]
        assert rows.loc["codes", "live_precision"] > rows.loc["codes, shuffled labels", "live_precision"]
        assert rows.loc["codes", "one_f1"] > rows.loc["codes, shuffled labels", "one_f1"]
        assert rows.loc["codes", "bits"] == pytest.approx(math.log2(12))
        assert rows.drop("linear probe")["live"].min() > 0
    numbers = table.drop(columns=["bits", "live"]).to_numpy()
    assert ((numbers >= 0) & (numbers <= 1) | (numbers != numbers)).all()
    assert compared[0].figure().data


def test_live_precision_is_a_loop_over_all_codes(compared):
    result, books, x = compared
    site = "blocks.0.hook_mlp_out"
    ids, labels = books.codes(x)[site][..., 0, 0], FSM.labels(x)
    select = torch.arange(80) % 2 == 0
    precisions = []
    for code in range(12):
        on, held = (ids[rows] == code for rows in (select, ~select))
        marks = labels[select][on]
        if not (marks >= 0).any() or not held.any():
            continue
        best = int(torch.bincount(marks[marks >= 0], minlength=6).argmax())
        precisions.append(float((labels[~select][held] == best).float().mean()))
    row = result.frame().set_index(["site", "detector"]).loc[(site, "codes")]
    assert row["live_precision"] == pytest.approx(sum(precisions) / len(precisions))


def test_means_over_seeds_have_their_range(compared):
    table = compared[0].frame()
    both = means([table, table.assign(live=table["live"] + 2)])
    assert (both["live high"] - both["live low"] == 2).where(both["live"].notna(), True).all()
    assert both["one_f1"].tolist() == pytest.approx(table["one_f1"].tolist())


def behind(x, n, fill):
    """x with n more columns."""
    return torch.cat([x, x.new_full((len(x), n, *x.shape[2:]), fill)], 1)


def test_rivals_do_not_see_padding():
    model = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=4, n_ctx=20)
    x = FSM.batch(40, 13, torch.Generator().manual_seed(0))[0]
    given = {"input_ids": behind(x, 7, 3), "attention_mask": behind(torch.ones_like(x), 7, 0)}
    labels = FSM.labels(x)
    books = attach(model, "blocks.0.hook_mlp_out", n_codes=12, k=1, init="kmeans", example=x)
    select = torch.arange(40) % 2 == 0
    plain, found = (compare(books, one, one, own, select=select, steps=20).frame().drop(columns="site")
                    .set_index("detector").drop("linear probe")
                    for one, own in ((x, labels), (given, behind(labels, 7, PADDING))))
    assert found.to_numpy() == pytest.approx(plain.to_numpy(), abs=1e-4, nan_ok=True)


def test_the_probe_does_not_see_padding():
    values, labels = torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60).view(12, 5) % 3
    select = torch.arange(12) < 6
    plain = _probe(values, labels, select)
    assert torch.allclose(_probe(behind(values, 4, 100.0), behind(labels, 4, PADDING), select)[:, :5], plain, atol=1e-4)


def test_models_of_half_precision_are_compared():
    model = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=4, n_ctx=13).to(torch.bfloat16)
    x = FSM.batch(20, 13, torch.Generator().manual_seed(0))[0]
    books = attach(model, "blocks.0.hook_mlp_out", n_codes=12, k=1, init="kmeans", example=x)
    assert len(compare(books, x, x, FSM.labels(x), select=torch.arange(20) % 2 == 0, steps=5).frame()) == 8


def test_all_detectors_are_scored_on_the_labels_of_both_halves():
    model = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=4, n_ctx=13)
    x = FSM.batch(40, 13, torch.Generator().manual_seed(0))[0]
    books = attach(model, "blocks.0.hook_mlp_out", n_codes=12, k=1, init="kmeans", example=x)
    labels, select = FSM.labels(x), torch.arange(40) % 2 == 0
    labels[0, 12], labels[1, 12] = 7, 8  # one on each half, alone
    found = compare(books, x, x, labels, select=select, steps=5)
    assert found.left_out == (7, 8)
    for _, rows in found.by_label.groupby("detector"):
        assert rows["label"].tolist() == list(range(6)) and rows["one_f1"].notna().all()
    with pytest.raises(BadInput, match="whole numbers"):
        compare(books, x, x, labels.double(), select=select)


# -- stability -----------------------------------------------------------------------------------------------------


def test_stability_of_renamed_codes_is_one_and_of_shuffled_ones_is_chance():
    ids = torch.randint(8, (20, 30, 2, 1), generator=torch.Generator().manual_seed(0))
    renamed = (ids + 3) % 8
    assert stability(ids, renamed.flip(2))["mean"] == 1.0
    found = stability(ids, torch.randint(8, ids.shape, generator=torch.Generator().manual_seed(1)))
    assert found["weighted"] == pytest.approx(found["shuffled"], abs=0.03) and found["live"] == 16


def test_stability_by_hand():
    a, b = torch.tensor([[0, 0, 1, 1]])[..., None, None], torch.tensor([[0, 0, 0, 1]])[..., None, None]
    found = stability(a, b)
    assert found["mean"] == pytest.approx((2 / 3 + 1 / 2) / 2) and found["weighted"] == pytest.approx(7 / 12)
    part = stability(a, b, real=torch.tensor([[True, True, False, False]]))
    assert part["mean"] == 1.0 and part["live"] == 1
    with pytest.raises(BadInput, match="same input"):
        stability(a, b[:, :2])
    with pytest.raises(BadInput, match="no code is active on the 4 tokens"):
        stability(torch.full_like(a, EMPTY), b)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_stability_is_a_loop_over_pairs_of_codes_in_parts_of_any_size(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(3, 7, 2, n, generator=generator).topk(2)[1] for n in (5, 4))
    a[0, :2] = EMPTY
    on = [{(g, c): {(r, p) for r in range(3) for p in range(7) if c in ids[r, p, g].tolist()}
           for g in range(2) for c in range(5)} for ids in (a, b)]
    best = [(max(len(own & other) / len(own | other) for other in on[1].values()), len(own))
            for own in on[0].values() if own]
    with patch.object(seeds, "FEATURES", 3):
        found = stability(a, b)
    assert found["mean"] == pytest.approx(sum(share for share, _ in best) / len(best)) and found["live"] == len(best)
    assert found["weighted"] == pytest.approx(sum(share * n for share, n in best) / sum(n for _, n in best))
