"""The checking functions of the exercises reject what is wrong, and say why."""

import importlib

import pytest

from tests.notebooks.conftest import TUTORIALS

CHECKS = [path.stem for path in sorted((TUTORIALS / "checks").glob("[a-z]*.py"))]


def unanswered(*_):
    raise NotImplementedError


@pytest.mark.parametrize("name", CHECKS)
def test_an_open_exercise_is_not_right(name, capsys):
    module = importlib.import_module(f"checks.{name}")
    checks = [value for key, value in vars(module).items() if hasattr(value, "__wrapped__") and not key.startswith("_")]
    assert checks
    for function in checks:
        extra = function.__wrapped__.__code__.co_argcount - 1
        assert function(unanswered, *[None] * extra) is False or "not yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", CHECKS)
def test_wrong_answers_are_rejected(name, capsys):
    module = importlib.import_module(f"checks.{name}")
    wrong = importlib.import_module(f"tests.notebooks.wrong_answers.{name}").WRONG
    checks = {key for key, value in vars(module).items() if hasattr(value, "__wrapped__")}
    assert checks == set(wrong), "every checking function is given wrong answers"
    for check, answers in wrong.items():
        assert answers
        for answer in answers:
            assert getattr(module, check)(*answer) is False, f"{name}.{check} takes a wrong answer for a right one"
            assert capsys.readouterr().out.startswith("not yet: ")
