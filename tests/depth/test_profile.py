"""The depth profile against per-token loops, massive activations found and masked, and its views."""

import numpy as np
import pytest
import torch

from interp.depth import profile
from interp.depth.collect import branches, collect
from interp.depth.tokens import describe_tokens, massive, massive_frame
from interp.garden.loading import load
from interp.lens.stream import stream_blocks
from interp.results import BadInput, RequiresResidualStream, Run
from tests.depth.test_engine import ids, model_of, streams

NAMES = ("gpt", "post-norm", "peri-ln", "parallel", "ladder", "looped", "mamba")


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_branches_are_measured_token_by_token_where_they_are_added(name):
    model, x = model_of(name), ids()
    found, blocks = collect(model, x), stream_blocks(model)
    cache = model.read(x, list(dict.fromkeys([*streams(model), *(s.start for b in blocks for s in b.steps)])))
    for branch in branches(blocks):
        write, stream = cache[branch.site], cache[branch.step.start]
        own = found.values[branch.kind]
        for row, t in ((0, 0), (2, 8)):
            c, k = write[row, t], stream[row, t]
            assert own["norm"][branch.depth, row, t] == pytest.approx(float(c.norm()), rel=1e-5)
            assert own["relative"][branch.depth, row, t] == pytest.approx(float(c.norm() / k.norm()), rel=1e-4)
            assert own["cosine"][branch.depth, row, t] == pytest.approx(float(c @ k / c.norm() / k.norm()), abs=1e-5)


def test_parallel_branches_share_the_stream_they_are_compared_with():
    model = model_of("parallel")
    starts = {branch.step.start for branch in branches(stream_blocks(model)) if branch.depth == 1}
    assert starts == {"blocks.1.hook_resid_pre"}


@torch.no_grad()
def test_blocks_of_a_post_norm_model_are_compared_behind_their_norms():
    model, x = model_of("post-norm"), ids()
    found, cache = collect(model, x).values["block"], model.run_with_cache(x)[1]
    first, second = (getattr(model.module.blocks[1], n) for n in ("ln1", "ln2"))

    def linear(norm, x, scale):
        return norm.weight * (x - x.mean(-1, keepdim=True)) / scale

    kept = cache["blocks.1.hook_resid_pre"]
    for norm, name in ((first, "ln1"), (second, "ln2")):
        kept = linear(norm, kept, cache[f"blocks.1.{name}.hook_scale"])
    written = cache["blocks.1.hook_resid_post"] - kept
    assert torch.allclose(found["relative"][1], written.norm(dim=-1) / kept.norm(dim=-1), atol=1e-4)


@torch.no_grad()
def test_centred_measures_lose_what_all_tokens_share():
    model, x = model_of("gpt"), ids()
    own, cache = collect(model, x).values["mlp"], model.run_with_cache(x)[1]
    c, k = (cache[f"blocks.1.{name}"] for name in ("hook_mlp_out", "hook_resid_mid"))
    length = k.norm(dim=-1)
    ordinary = length <= 4 * length.median()
    c, k = c - c[ordinary].mean(0), k - k[ordinary].mean(0)
    assert torch.allclose(own["cosine_centred"][1], torch.cosine_similarity(c, k, -1), atol=1e-5)


def test_a_small_budget_reads_twice_and_changes_nothing():
    model, x = model_of("gpt"), ids(rows=4)
    whole, pieces = collect(model, x), collect(model, x, budget=1)
    for part, measures in whole.values.items():
        for measure, value in measures.items():
            assert torch.allclose(value, pieces.values[part][measure], atol=1e-4, equal_nan=True), (part, measure)


def test_relative_contributions_are_means_of_ratios_over_real_tokens():
    found = profile(model_of("gpt"), ids(), lens=0)
    ratios = found.values["mlp"]["relative"][1]
    assert found.curve("mlp", "relative")[1] == pytest.approx(float(ratios.mean()))
    assert found.curve("mlp", "relative", "median")[1] == pytest.approx(float(ratios.flatten().median()))
    first = found.curve("mlp", "relative", token_type="first")[1]
    assert first == pytest.approx(float(ratios[:, 0].mean()))
    frame = found.frame(token_types=True)
    assert set(frame["tokens"]) == {"all", "first", "other"} and (frame["low"] <= frame["mean"]).all()


def test_massive_tokens_are_found_shown_and_masked():
    model, x = model_of("gpt"), ids()
    clean = profile(model, x, lens=0)
    huge = model.map.sites["blocks.1.hook_mlp_out"]
    assert huge and clean.massive().empty

    def blow_up(value, site):
        value = value.clone()
        value[:, 4] = value[:, 4] * 1000
        return value

    with model.firing([("blocks.1.hook_mlp_out", blow_up)]):
        found = profile(model, x, lens=0)
    table = found.massive()
    assert table["position"].tolist() == [4, 4, 4] and set(table["from_depth"]) == {2} and set(table["to_depth"]) == {3}
    plain, masked = (found.curve("mlp", "norm", masked=m)[1] for m in (False, True))
    assert plain > 10 * masked and masked == pytest.approx(float(
        found.values["mlp"]["norm"][1][:, [0, 1, 2, 3, 5, 6, 7, 8]].mean()))
    with pytest.raises(BadInput, match="no 'othr' tokens.*other"):
        found.select("othr")


def test_norms_by_hand_and_their_ratio_to_the_median():
    norms = torch.ones(3, 1, 5)
    norms[1, 0, 3] = 20
    tokens = describe_tokens(model_of("gpt"), ids(1, 5), torch.ones(1, 5, dtype=torch.bool))
    assert massive(norms, tokens).tolist() == [[False, False, False, True, False]]
    row = massive_frame(norms, tokens).iloc[0]
    assert (row["position"], row["times_median"], row["at_depth"]) == (3, 20, 1)
    assert (row["from_depth"], row["to_depth"]) == (1, 1)


def test_token_types_of_text_and_of_pictures():
    model = load("garden/text-small")
    x = torch.tensor([model.tokenizer.encode("The men, of 1850 came.")])
    tokens = describe_tokens(model, x, torch.ones(x.shape, dtype=torch.bool))
    kinds = dict(zip(tokens.texts[0].tolist(), tokens.types[0].tolist(), strict=True))
    assert tokens.types[0, 0] == "first" and kinds[","] == kinds["."] == "delimiter" and kinds[" of"] == "word"
    assert "number" in tokens.kinds
    pixels = torch.zeros(1, 3, 4, 4)
    assert describe_tokens(model, pixels, torch.ones(1, 6, dtype=torch.bool)).types[0].tolist() == [
        "cls", "register", *["patch"] * 4]
    own = describe_tokens(model, x, torch.ones(x.shape, dtype=torch.bool), [["a"] * x.shape[1]])
    assert own.kinds == ["a"]


def test_a_shared_block_is_profiled_at_every_visit():
    found = profile(model_of("looped"), ids(), lens=2)
    assert found.n_layers == 3 and np.isfinite(found.curve("attn", "relative")).all()
    assert (found.lens.values["kl"][-1] == 0).all()


@pytest.mark.parametrize("masked", [False, True])
def test_figure_and_run_hold_what_the_tables_say(masked, tmp_path):
    found = profile(model_of("gpt"), ids(), lens=3)
    figure = found.figure(masked)
    assert {"attn", "mlp", "logit lens", "stream, mean"} <= {trace.name for trace in figure.data}
    relative = next(t for t in figure.data if t.name == "mlp" and t.yaxis == "y2")
    assert np.allclose(relative.y, found.curve("mlp", "relative", masked=masked))
    if not masked:
        with Run.create(tmp_path / "run", "depth", {}, 0) as run:
            found.save(run)
        assert run.table("profile").shape[0] == len(found.frame(token_types=True))


def test_a_model_without_a_stream_says_so():
    from interp.adapters import hook

    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    with pytest.raises(RequiresResidualStream, match="no equation"):
        profile(hook(module, sites={"blocks.0.hook_resid_post": "0"}), torch.zeros(2, 3, 4))
