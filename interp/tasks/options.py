"""The options that stand in a name, "dyck:length=8,opposite=true": read in one place for every registry of tasks."""

from collections.abc import Callable, Mapping
from typing import Any

from interp.results.errors import BadInput


def read_options(
    written: str, given: Mapping[str, Any], value: Callable[[str], Any], *, whole: str, of: str
) -> dict[str, Any]:
    """The options `written` behind the colon of a name, beside those that were `given`; `value` reads one.

    `whole` and `of` say in errors what was read and whose options they are. Raises BadInput for an item that is no
    option, and for an option that is there twice.
    """
    found = dict(given)
    for item in filter(None, written.split(",")):
        option, equals, text = item.partition("=")
        if not equals or not option or not text:
            raise BadInput(f"{item!r} in {whole} is no option; write NAME=VALUE")
        if option in found:
            raise BadInput(f"the option {option!r} of {of} is given twice")
        found[option] = value(text)
    return found
