"""The registry: names, lines, options, and the nearest of what was meant."""

import pytest

from interp.results import BadInput
from interp.tasks import task, tasks
from tests.tasks.small import bpe

NAMES = ["ioi", "greater-than", "agreement", "pronoun", "capitals", "docstring", "induction", "recall", "mod-add",
         "sorting", "dyck", "atom-mapping", "similarity", "digits", "patches", "between"]


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


def test_options_may_stand_in_the_name_and_the_task_says_them():
    written = task("ioi:template=2,counterfactual=swap", tokenizer=bpe(), n=12)
    given = task("ioi", tokenizer=bpe(), n=12, counterfactual="swap", template=2)
    assert written.prompts.equals(given.prompts)
    assert written.name == given.name == "ioi:counterfactual=swap,template=2"  # in the order of the signature
    again = task(given.name, tokenizer=bpe(), n=12)
    assert again.prompts.equals(given.prompts) and again.name == given.name
    assert task("ioi", tokenizer=bpe(), n=12, counterfactual="abc").name == "ioi"  # the default is not said
    assert task("capitals:known=false", tokenizer=bpe(), n=12).name == "capitals:known=false"


@pytest.mark.parametrize(("name", "message"), [
    ("ioi:template", "'template' in the task 'ioi:template' is no option; write NAME=VALUE"),
    ("ioi:template=", "is no option"),
    ("ioi:colour=2", "no option 'colour'"),
    ("ioi:template=1,template=2", "'template' of task 'ioi' is given twice"),
    ("ioi:template=two", "templates 0 to 4, not 'two'"),
    ("oi:template=2", 'no task \'oi\'. Did you mean "ioi"'),
])
def test_a_mistake_in_the_name_is_told(name, message):
    with pytest.raises(BadInput, match=message):
        task(name, tokenizer=bpe(), n=12)
