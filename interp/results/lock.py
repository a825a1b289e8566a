"""A lock that ends with its process: how a run that was killed is told from one that is going on."""

import time
from pathlib import Path
from typing import IO

from interp.results.errors import BadInput
from interp.results.files import write_failed

try:
    import fcntl
except ImportError:  # Windows has no flock: runs are not locked there, and a killed one reads as interrupted
    fcntl = None


class Lock:
    """An exclusive lock on a folder, held by one process until it releases it or ends, however it ends."""

    NAME = ".lock"

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    def take(cls, folder: Path) -> "Lock":
        """Lock the folder. Raises: BadInput when another process, or another Run of this one, holds it."""
        try:
            file = open(folder / cls.NAME, "w")  # noqa: SIM115 (kept open: the open file is the lock)
        except OSError as error:
            raise write_failed(folder / cls.NAME, error) from error
        # `held` takes the lock for a moment, so one refusal proves nothing.
        for attempt in range(4):
            if _try(file):
                return cls(file)
            time.sleep(0.03 * (attempt + 1))
        file.close()
        raise BadInput(
            f"{folder} is being written by a run that is still going: wait for it, or choose another folder"
        )

    @classmethod
    def held(cls, folder: Path) -> bool:
        """Whether some process holds the lock now."""
        try:
            with open(folder / cls.NAME) as file:
                return not _try(file, shared=True)
        except OSError:
            return False

    def release(self) -> None:
        """Give the lock back. Twice is fine."""
        self._file.close()


def _try(file: IO[str], shared: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, as some network ones
        return True
    return True
