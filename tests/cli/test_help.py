"""What a stranger sees first."""

import pytest

from interp.cli import app
from tests.cli.helpers import interp

COMMANDS = sorted(command.name for command in app.registered_commands)


def test_every_command_of_the_design_is_there():
    assert {group.name for group in app.registered_groups} >= {"programs", "codebook"}
    wanted = {"models", "show", "fetch", "effects", "decompose", "discover", "evaluate", "train", "runs", "doctor",
              "compare", "depth", "disagreement", "sweep"}
    assert wanted <= set(COMMANDS)


def test_help_lists_every_command_in_a_whole_line_each():
    result = interp("--help")
    assert result.exit_code == 0 and "..." not in result.stdout.partition("Commands:")[2]
    assert all(f"\n  {command} " in result.stdout for command in [*COMMANDS, "programs", "codebook"])
    assert "130" in result.stdout and "interp discover induction" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_explains_itself(command):
    result = interp(command, "--help")
    text = result.stdout
    assert result.exit_code == 0 and f"interp {command}" in text.partition("Example:")[2]
    assert ("--json" in text) == (command != "dashboard")  # a server has no result to print
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if line.startswith("  -") or line.startswith("  --"):
            explained = "  " in line.strip() or lines[i + 1].startswith("      ")
            assert explained, f"{command}: {line.strip()} has no help"


def test_seed_is_everywhere_that_something_is_drawn():
    for command in ("show", "effects", "decompose", "discover", "evaluate", "train"):
        assert "--seed" in interp(command, "--help").stdout


def test_version_is_the_packages():
    import interp as package

    assert interp("--version").stdout == f"interp {package.__version__}\n"


@pytest.mark.parametrize("args", [["discver"], ["discover"], ["discover", "ioi"], ["discover", "ioi", "--modl", "x"],
                                  ["discover", "ioi", "--model", "x", "--n", "many"], ["evaluate"]])
def test_wrong_usage_ends_with_2_and_says_how(args):
    result = interp(*args)
    assert result.exit_code == 2 and result.stdout == ""
    assert "Usage: interp" in result.stderr and "Error:" in result.stderr
