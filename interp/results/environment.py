"""What a result was computed with: versions, time and memory."""

import platform
import resource
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("interp", "torch", "transformers", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a number; "not installed" where one is absent."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def peak_memory() -> dict[str, int]:
    """Largest memory of this process since it started, in bytes: ram_bytes, and gpu_bytes where a GPU was
    used.

    It is the process' peak, not the run's: earlier work in the same process counts.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"ram_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    torch = sys.modules.get("torch")  # a process that never imported torch has used no GPU through it
    if torch is not None and torch.cuda.is_initialized():
        peak["gpu_bytes"] = sum(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))
    return peak


def now() -> str:
    """This moment, UTC, to the second: 2026-01-31T12:00:00+00:00."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
