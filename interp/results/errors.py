"""The errors a user can meet. Each message says what was asked, what is there, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class InterpError(ValueError):
    """Base of every error the package raises on purpose. `exit_code` is what the command line returns."""

    exit_code: int = 1


class MissingSite(InterpError):
    """A site was named that the architecture does not have, or that did not fire."""


class RequiresPattern(InterpError):
    """The analysis reads attention patterns and the model has none at that depth."""


class RequiresResidualStream(InterpError):
    """The analysis reads a residual stream and the model does not declare one."""


class BadInput(InterpError):
    """An argument, prompt or table that cannot be used as given."""


class ModelMissing(InterpError):
    """A model or its data is not on this machine; the message says how to get it."""

    exit_code = 3


class BadFile(InterpError):
    """A file that is damaged, of another kind, or of another schema version."""


def nearest(word: str, options: Iterable[str]) -> str:
    """' Did you mean "x"?' for the option closest to `word` or the first that begins with it, or '' where there is
    none. Case is ignored."""
    by_lower = {option.lower(): option for option in options}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    found = found or [option for option in by_lower if word and option.startswith(word.lower())]
    return f' Did you mean "{by_lower[found[0]]}"?' if found else ""
