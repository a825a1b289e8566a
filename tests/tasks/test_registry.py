"""The registry: names, lines, options, and the nearest of what was meant."""

import pytest

from interp.results import BadInput
from interp.tasks import task, tasks

NAMES = ["ioi", "greater-than", "agreement", "induction", "mod-add", "sorting", "atom-mapping"]


def test_every_task_has_a_name_a_line_and_its_options():
    assert [entry.name for entry in tasks()] == NAMES
    assert all(len(entry.line) > 20 and "\n" not in entry.line for entry in tasks())
    assert {e.name: e.options for e in tasks()}["ioi"] == {"tokenizer": None, "counterfactual": "abc", "template": None}


def test_unknown_task_names_the_nearest_and_all():
    with pytest.raises(BadInput, match="no task 'greater_than'. Did you mean \"greater-than\".*There are: ioi, "):
        task("greater_than")


def test_unknown_option_names_the_nearest_and_all():
    with pytest.raises(BadInput, match='no option \'counterfact\'. Did you mean "counterfactual".*It has: tokenizer'):
        task("ioi", counterfact="swap")
    with pytest.raises(BadInput, match="'atom-mapping' has no option 'x'. It has: metric."):
        task("atom-mapping", x=1)
