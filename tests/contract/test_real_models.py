"""The laws, and exactness of effects, on the real models: embedded ones always, fetched ones where they are."""

import pytest
import torch

import interp
from interp.discovery import nodes
from interp.discovery.methods import head_by_head
from interp.discovery.nodes import source
from interp.hooks import Counterfactual
from interp.results import ModelMissing

FETCHED = [pytest.param(name, marks=pytest.mark.slow) for name in ("smollm2-135m", "minilm-l6", "dinov2-s")]


def loaded(name: str):
    try:
        return interp.load(name)
    except ModelMissing as missing:
        pytest.skip(str(missing))


def an_input(model, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    if model.map.input_name == "pixel_values":
        return torch.randn(2, 3, 56, 56, generator=generator)
    return torch.randint(5, min(500, model.map.d_vocab), (2, 9), generator=generator)


@pytest.mark.parametrize("name", ["rxnmapper", "garden/induction-2l", "garden/text-small", *FETCHED])
def test_laws_hold_on_a_trained_model(name):
    model = loaded(name)
    interp.check_model(model, an_input(model)).raise_if_failed()


@pytest.mark.parametrize(("name", "task"), [
    ("rxnmapper", "atom-mapping"), ("garden/induction-2l", "induction"),
    pytest.param("smollm2-135m", "ioi", marks=pytest.mark.slow),
])
def test_batched_effects_equal_patching_head_by_head(name, task):
    model = loaded(name)
    prompts = interp.task(task, model=model, n=12, seed=0).part("discover").rows([0, 1])
    universe = nodes(model)
    chosen = universe[:: max(1, len(universe) // 8)]
    found = interp.effects(
        model, prompts.clean, [source(n) for n in chosen], prompts.metric, baseline=Counterfactual(prompts.corrupt)
    ).values.double().numpy()
    literal = head_by_head(model, prompts, chosen)
    assert abs(literal).max() > 0.01
    assert abs(found - literal).max() <= 1e-4 * max(1.0, abs(literal).max())


def test_one_visit_of_the_shared_block_or_all_of_them():
    model = loaded("rxnmapper")
    prompts = interp.task("atom-mapping", model=model, n=12, seed=0)
    with torch.no_grad():
        clean = model(prompts.clean)
        with model.edit(interp.Ablate("blocks.10.attn.hook_z", head=5)):
            one = model(prompts.clean)
        with model.edit(interp.Ablate("blocks.10.attn.hook_z", head=5, tied=True)):
            tied = model(prompts.clean)
        with model.edit(*(interp.Ablate(f"blocks.{d}.attn.hook_z", head=5) for d in range(12))):
            every = model(prompts.clean)
    assert torch.equal(tied, every)
    assert 0 < (one - clean).abs().max() < (tied - clean).abs().max()
