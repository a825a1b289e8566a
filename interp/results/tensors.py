"""Arrays in safetensors files: numbers only, nothing executed on reading."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write


def save_arrays(
    path: str | Path, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write numpy or torch arrays, wholly or not at all. bfloat16 becomes float32, which numpy can hold.

    Raises: BadInput for text or objects; InterpError when the disk refuses.
    """
    from safetensors.numpy import save

    plain = {name: _array(name, value) for name, value in arrays.items()}
    return atomic_write(path, save(plain, metadata=dict(metadata or {})))


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name.

    Raises: BadFile when it is absent, damaged or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not Path(path).is_file():
        raise BadFile(f"{path}: there is no such file")
    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise BadFile(f"{path}: damaged, not a safetensors file ({error})") from error


def is_whole(path: str | Path) -> bool:
    """Whether a safetensors file is there and as long as its header says; the numbers are not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return True
    except (SafetensorError, OSError):
        return False


def _array(name: str, value: Any) -> np.ndarray:
    detach = getattr(value, "detach", None)
    if callable(detach):
        tensor = detach().cpu()
        value = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    array = np.asarray(value, order="C")
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{name} is an array of {array.dtype}; only numbers and booleans are saved")
    return array
