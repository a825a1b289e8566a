"""Wrong answers to notebook 05: checking function -> arguments that it must reject."""

import interp


def _zeroed(model, task, layer, head):
    with model.edit(interp.Ablate(f"blocks.{layer}.attn.hook_z", head=head)):
        return (task.metric(model(task.clean))).mean().item()


WRONG = {
    "effect_of_patching": [(_zeroed,), (lambda model, task, layer, head: 32.0,)],
    "two_means": [
        (lambda z: (z.mean(0).expand_as(z), z.mean((0, 1)).expand_as(z)),),  # exchanged
        (lambda z: (z.mean((0, 1)), z.mean(0)),),  # not of the shape
    ],
    "both_directions": [
        (lambda gate: (gate(1, 0) - gate(0, 0), gate(1, 1) - gate(0, 1)),),  # exchanged
        (lambda gate: (gate(1, 1) - gate(0, 0), gate(1, 1) - gate(0, 0)),),  # both parts at once
    ],
}
