"""What every notebook uses: exercises that check themselves, and links into the dashboard.

A checking function is an ordinary function with asserts, decorated with `check`. In a notebook it prints what is right
or wrong and lets the reader go on; where `INTERP_TUTORIALS=solved` is set (the tests) a wrong answer raises.
"""

import os
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

SOLVED = "INTERP_TUTORIALS"
warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm says so; nothing is missing


def check(function: Callable[..., None]) -> Callable[..., bool]:
    """A checking function that answers: True and a line if every assert holds, else False and what to look at.

    Whatever the reader's own code raises is part of the answer, not a crash of the notebook.
    """

    @wraps(function)
    def answered(*answer: Any) -> bool:
        try:
            function(*answer)
        except NotImplementedError:
            return _wrong("not answered yet: write the exercise above, or open its solution")
        except AssertionError as error:
            return _wrong(str(error) or "the check failed")
        except Exception as error:
            return _wrong(f"your code raised {type(error).__name__}: {error}")
        print(f"right: {(function.__doc__ or function.__name__).splitlines()[0]}")
        return True

    return answered


def _wrong(why: str) -> bool:
    if os.environ.get(SOLVED) == "solved":
        raise AssertionError(why)
    print(f"not yet: {why}")
    return False


def dashboard(page: str = "", **keys: Any) -> None:
    """Print where the same thing is to be seen in the dashboard, once `interp dashboard` runs."""
    query = urlencode({"v": 1, **keys})
    print(f"in the dashboard (`interp dashboard`): http://127.0.0.1:8501/{page}?{query}")
