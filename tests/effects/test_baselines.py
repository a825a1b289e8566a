"""What a source is put at: every baseline against its definition, and padding on either side."""

import pytest
import torch

from interp.effects import effects
from interp.hooks import Counterfactual, Mean, Patch, Resample, Source
from interp.hooks.baselines import resolve
from tests.effects.models import IMAGES, NAMES, V, curved_metric, inputs, tiny
from tests.effects.oracles import close, every_source, loop_effects, some

EXACT = 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_mean_per_position_is_the_mean_of_the_rows(name):
    model, x, over = tiny(name), inputs(name), inputs(name, batch=5, seed=9)
    sources = some([s for s in every_source(model) if "attn_scores" not in s.site], 12, seed=5)
    names = {s.site for s in sources}
    rows = model.read(over, list(names))
    mean = {}
    for n in names:  # windows of one image are its own rows
        value = rows[n]
        per = value.shape[0] // 5 if model.site(n).axes[0] == "window" else 1
        value = value.reshape(-1, per, *value.shape[1:]).mean(0)
        mean[n] = value.repeat(2, *[1] * (value.dim() - 1)) if per > 1 else value
    got = effects(model, x, sources, curved_metric, baseline=Mean(over))
    close(got.values, effects(model, x, sources, curved_metric, baseline=mean).values, EXACT)
    close(got.values, loop_effects(model, x, sources, curved_metric, mean), EXACT)
    linear = effects(model, x, sources, curved_metric, "tangent", baseline=Mean(over)).values
    close(linear, effects(model, x, sources, curved_metric, "tangent", baseline=mean).values, EXACT)


@pytest.mark.parametrize("name", ["gpt2", "vit", "t5", "mamba", "poolformer"])
def test_mean_over_all_positions_is_one_vector(name):
    model, x, over = tiny(name), inputs(name), inputs(name, batch=5, seed=9)
    sites = [s for s in model.sites() if s.kind in ("hook_resid_post", "hook_mlp_out", "hook_mixer_out", "hook_embed")]
    rows = model.read(over, [s.name for s in sites])
    mean = {s.name: rows[s.name].mean((0, 1), keepdim=True) for s in sites}
    sources = [Source(s.name) for s in sites] + [Source(s.name, pos=-1) for s in sites]
    got = effects(model, x, sources, curved_metric, baseline=Mean(over, per="all"))
    close(got.values, loop_effects(model, x, sources, curved_metric, mean), EXACT)


@pytest.mark.parametrize("rules", ["ablation", "tangent"])
@pytest.mark.parametrize("name", ["gpt2", "swin", "t5"])
def test_resample_averages_the_effects_of_its_draws(name, rules):
    model, x = tiny(name), inputs(name)
    sources = some(every_source(model), 8, seed=6)
    baseline = Resample(inputs(name, batch=4, seed=9), draws=5, seed=3)
    got = effects(model, x, sources, curved_metric, rules, baseline=baseline).values
    sites = [model.site(s) for s in {s.site for s in sources}]
    drawn = resolve(model, sites, baseline, x)
    single = [effects(model, x, sources, curved_metric, rules, baseline=base).values for base in drawn]
    close(got, torch.stack(single).mean(0), EXACT)
    assert len(drawn) == 5 and (single[0] != single[1]).any()
    again = effects(model, x, sources, curved_metric, rules, baseline=baseline).values
    assert torch.equal(got, again)
    other = Resample(baseline.inputs, draws=5, seed=4)
    assert not torch.equal(got, effects(model, x, sources, curved_metric, rules, baseline=other).values)


def test_resampled_rows_are_rows_of_the_pool():
    model, x, pool = tiny("gpt2"), inputs("gpt2"), inputs("gpt2", batch=4, seed=9)
    site = "blocks.1.attn.hook_z"
    rows = model.read(pool, [site])[site]
    for base in resolve(model, [model.site(site)], Resample(pool, draws=6, seed=0), x):
        for row in base[site]:
            assert (row == rows).flatten(1).all(1).any()


def test_windows_are_resampled_image_by_image():
    model, x, pool = tiny("swin"), inputs("swin"), inputs("swin", batch=3, seed=9)
    site = "blocks.0.attn.hook_z"
    rows = model.read(pool, [site])[site].unflatten(0, (3, -1))
    for base in resolve(model, [model.site(site)], Resample(pool, draws=4, seed=0), x):
        images = base[site].unflatten(0, (2, -1))
        assert all((image == rows).flatten(1).all(1).any() for image in images)


def test_the_effect_of_the_mean_is_not_the_mean_of_effects():
    model, x, pool = tiny("gpt2"), inputs("gpt2"), inputs("gpt2", batch=6, seed=9)
    source = [Source("blocks.0.hook_mlp_out")]
    mean = effects(model, x, source, curved_metric, baseline=Mean(pool)).values
    resampled = effects(model, x, source, curved_metric, baseline=Resample(pool, draws=64)).values
    assert (mean - resampled).abs().max() > 0.05


def test_a_mapping_gives_tensors_by_site():
    model, x = tiny("gpt2"), inputs("gpt2")
    site = "blocks.0.attn.hook_z"
    value = torch.randn(1, 1, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sources = [Source(site, head=2), Source(site, head=1, pos=-1)]
    got = effects(model, x, sources, curved_metric, baseline={site: value}).values
    close(got, loop_effects(model, x, sources, curved_metric, {site: value}), EXACT)


class AtLast:
    """A metric of one position a prompt, as tasks have them."""

    def __init__(self, positions, token: int = 7):
        self.positions, self.token = positions, token

    def read(self, at):
        return at[:, self.token] - at[:, self.token + 1]

    def __call__(self, output):
        return self.read(output[torch.arange(len(output)), self.positions])


def padded(prompts, side: str, model_name: str):
    """(mapping of padded prompts, absolute positions of the last real tokens)."""
    width = max(map(len, prompts))
    ids, mask = torch.zeros(len(prompts), width, dtype=torch.long), torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        part = slice(width - len(prompt), width) if side == "left" else slice(0, len(prompt))
        ids[row, part], mask[row, part] = prompt, 1
    x = {"input_ids": ids, "attention_mask": mask}
    if model_name == "gpt2":
        x["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    last = torch.full((len(prompts),), width - 1) if side == "left" else torch.tensor([len(p) - 1 for p in prompts])
    return x, last


# BERT's positions are absolute and cannot be given: padding it on the left makes another prompt
PADDED = [("gpt2", "left"), ("gpt2", "right"), ("llama", "left"), ("llama", "right"), ("bert", "right")]


@pytest.mark.parametrize("name, side", PADDED)
@pytest.mark.parametrize("rules", ["ablation", "tangent", "frozen"])
def test_padding_changes_nothing(name, side, rules):
    model, generator = tiny(name), torch.Generator().manual_seed(1)
    prompts = [torch.randint(1, V, (n,), generator=generator) for n in (4, 7, 5)]
    sources = [Source("blocks.0.attn.hook_z", head=1, pos=-1), Source("blocks.0.hook_resid_pre", pos=0),
               Source("blocks.1.hook_mlp_out", pos=slice(1, 3)), Source("blocks.1.attn.hook_q", head=2, pos=(1, -1, 2))]
    x, last = padded(prompts, side, name)
    got = effects(model, x, sources, AtLast(last), rules).values
    for row, prompt in enumerate(prompts):
        own = [Source(s.site, head=s.head, pos=s.pos[row] if isinstance(s.pos, tuple) else s.pos) for s in sources]
        alone = effects(model, prompt[None], own, AtLast(torch.tensor([len(prompt) - 1])), rules).values
        close(got[:, row], alone[:, 0], 1e-6 if name == "llama" else EXACT)


def test_the_mean_leaves_padding_out():
    model, generator = tiny("gpt2"), torch.Generator().manual_seed(1)
    prompts = [torch.randint(1, V, (n,), generator=generator) for n in (4, 7, 5)]
    x, _ = padded(prompts, "left", "gpt2")
    site = model.site("blocks.1.hook_mlp_out")
    got = resolve(model, [site], Mean(x, per="all"))[0][site.name]
    real = torch.cat([model.read(p[None], [site.name])[site.name][0] for p in prompts])
    close(got.reshape(1, -1), real.mean(0)[None], EXACT)


def test_two_streams_have_lengths_of_their_own():
    """T5: positions of encoder sites are counted in the prompt, those of the decoder in what it has written."""
    model, generator = tiny("t5"), torch.Generator().manual_seed(1)
    ids = torch.randint(1, V, (2, 9), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    x = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": ids[:, :4]}
    short = {"input_ids": ids[:1, :6], "decoder_input_ids": ids[:1, :4]}
    kinds, cross = ("hook_mlp_out", "attn.hook_z"), "decoder.blocks.0.cross_attn.hook_"
    sources = [Source(f"encoder.blocks.1.{kind}", pos=p) for kind in kinds for p in (-1, 0, 4)]
    sources += [Source(cross + "z", pos=-1), Source(cross + "k", pos=-1)]
    got = effects(model, x, sources, curved_metric).values
    wanted = effects(model, short, sources, curved_metric).values
    close(got[:7, 0], wanted[:7, 0], 1e-6)


@pytest.mark.parametrize("name", list(IMAGES))
def test_positions_of_images_count_patches(name):
    model, x = tiny(name), inputs(name)
    site = "blocks.1.hook_resid_pre"
    there = model.read(inputs(name, seed=9), [site])[site]
    here = model.read(x, [site])[site]
    wanted = []
    for pos in (-1, here.shape[1] - 1, 5, 0):
        new = here.clone()
        new[:, pos] = there[:, pos]
        with torch.no_grad(), model.edit():
            clean = curved_metric(model(x))
        with torch.no_grad(), model.edit(Patch(site, new)):
            wanted.append(clean - curved_metric(model(x)))
    sources = [Source(site, pos=p) for p in (-1, here.shape[1] - 1, 5, 0)]
    got = effects(model, x, sources, curved_metric, baseline=Counterfactual(inputs(name, seed=9))).values
    close(got, torch.stack(wanted), EXACT)
    assert torch.equal(got[0], got[1])
