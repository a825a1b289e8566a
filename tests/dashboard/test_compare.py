"""Compare as a page: one selection on both sides, what circuits have in common, the same from the library."""

import pytest

from apps.dashboard import folders
from tests.dashboard.helpers import address, open_page, said

PAIR = ("induction-2l", "induction-2l-cdt")


def test_circuits_open_on_a_pair_that_ships_with_the_numbers_of_the_library():
    from interp.discovery import compare

    test = open_page("compare", h="L0H2")
    assert not test.exception and ":material/error:" not in said(test)
    found = compare(*(folders.find(name) / "circuit.json" for name in PAIR))
    shown = {item.label: item.value for item in test.metric}
    for row in found.frame().query("null != 'same size'").itertuples():
        assert shown[row.statistic] == f"{row.value:.2f}"
    row = found.nodes().set_index("label").loc["L0H2"]
    assert f"**{row['score_a']:.4g}** in A, **{row['score_b']:.4g}** in B; member of both" in said(test)
    assert "run" not in address(test)  # what is shown without a choice is not written into the address


def test_circuits_of_different_models_show_where_their_scores_lie():
    test = open_page("compare", b_run="digits-vit")
    assert not test.exception and "only where they lie in depth" in said(test)


def test_models_share_the_selection_and_are_subtracted_as_shares():
    test = open_page("compare", mode="models", n=12, h="L0H1")
    assert not test.exception and ":material/error:" not in said(test)
    assert "induction in garden/repeats-attn-only-rotary" in said(test) and "8 nodes have the same name" in said(test)
    weak = open_page("compare", mode="models", n=12, b_m="garden/induction-1l")
    assert "4 nodes have the same name" in said(weak) and "may not do this task" in said(weak)


def test_runs_of_any_kind_lie_side_by_side():
    test = open_page("compare", mode="runs", run="text-small-codes", b_run="induction-2l")
    assert not test.exception and "settings and findings differ" in said(test)


@pytest.mark.parametrize(("keys", "expected"), [
    ({"b_run": "nowhere"}, "there is no run"), ({"run": "text-small-codes"}, "circuit.json"),
    ({"mode": "models", "b_m": "garden/nowhere"}, "does not grow here"),
    ({"mode": "models", "b_m": "garden/mod-add-29", "b_t": "ioi"}, "needs a tokenizer"),
])
def test_wrong_input_is_a_card(keys, expected):
    test = open_page("compare", n=12, **keys)
    assert not test.exception and ":material/error:" in said(test) and expected in said(test)


@pytest.mark.parametrize(("name", "page"), [("itransformer", "explore"), ("graph-transformer", "compare"),
                                            ("looped", "explore")])
def test_models_of_series_graphs_and_loops_are_shown_like_any_other(tmp_path, name, page):
    import interp

    interp.build(name, seed=0).save(tmp_path / name)
    test = open_page(page, m=tmp_path / name, n=12, h="L0H1", mode="models", b_m="garden/induction-1l")
    assert not test.exception and ":material/error:" not in said(test)


def test_an_image_model_is_shown_as_patches_on_its_image_and_where_a_patch_looks():
    test = open_page("explore", m="garden/digits-vit", t="digits", h="L1H2", pos=6, n=12)
    assert "Where L1H2 looks from patch 1,2" in said(test)
