"""The state of a training that can be killed: parameters, the optimiser's memory and the step, in one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

CHECKPOINT = "checkpoint.safetensors"
STRIDE = 1_000_003  # between the seeds of steps of neighbouring runs, which must not share their batches


def save_state(
    folder: Path, module: "nn.Module", optimiser: "Optimizer", identity: Mapping[str, str], step: int
) -> Path:
    """Write the state after `step` steps of the run `identity`, wholly or not at all."""
    from safetensors.torch import save

    tensors = {}
    for name, parameter in module.named_parameters():  # shared ones come once
        tensors[f"model.{name}"] = parameter.detach().cpu().clone()
        for key, value in optimiser.state[parameter].items():
            tensors[f"{key}.{name}"] = value.detach().cpu().clone()
    return atomic_write(folder / CHECKPOINT, save(tensors, metadata={**identity, "step": str(step)}))


def resume_state(
    folder: Path | None, module: "nn.Module", optimiser: "Optimizer", identity: Mapping[str, str]
) -> int:
    """Put the state in `folder` in place and return its step; 0 where there is none.

    Raises BadFile for a damaged checkpoint, BadInput for one of another run.
    """
    if folder is None or not (folder / CHECKPOINT).exists():
        return 0
    import torch
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    try:
        with safe_open(str(path), "pt") as file:
            found = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise BadFile(f"{path}: damaged, delete it to start again ({error})") from error
    other = [key for key in identity if found.get(key) != identity[key]]
    if other:
        raise BadInput(f"{folder} holds a checkpoint of another run ({other[0]} {found.get(other[0])!r}, not "
                       f"{identity[other[0]]!r}); choose another folder or delete {CHECKPOINT} there")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(tensors.pop(f"model.{name}"))
            keys = [key for key in tensors if key.endswith(f".{name}") and key.count(".") == name.count(".") + 1]
            # the step count stays on the CPU, where Adam keeps it
            optimiser.state[parameter] = {
                key.split(".")[0]: tensors[key] if key.startswith("step.") else tensors[key].to(parameter.device)
                for key in keys
            }
    return int(found["step"])
