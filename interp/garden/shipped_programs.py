"""The trained programs that ship, by the name of their task; and programs in files."""

from pathlib import Path

from interp.programs.program import Program
from interp.programs.program_file import load_program
from interp.programs.trained_files import METRICS, PROGRAM
from interp.results.errors import BadFile, ModelMissing, nearest
from interp.results.estimate import Estimate
from interp.results.files import read_json

FOLDER = Path(__file__).parent / "programs"


def program_names() -> list[str]:
    """The trained programs that ship, as `open_program` takes them."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{PROGRAM}"))


def program_folder(name: str) -> Path:
    """Where the shipped program `name` is, with its metrics. Raises ModelMissing, naming the nearest."""
    if name not in program_names():
        raise ModelMissing(f"no trained program {name!r}.{nearest(name, program_names())} There are: "
                           f"{', '.join(program_names())}; or give the folder of `interp programs train`")
    return FOLDER / name


def open_program(name: str) -> Program:
    """The program called so, in that folder, or in that file.

    Raises ModelMissing for a name that is none of these, BadFile for a damaged or foreign file.
    """
    return load_program(_file(name))


def scores_of(name: str) -> dict[str, Estimate]:
    """What was measured of that program on held-out sequences, {} where no metrics lie beside it.

    Raises BadFile for damaged metrics.
    """
    program = _file(name)
    path = program.with_name(METRICS)
    if program.name != PROGRAM or not path.exists():
        return {}
    try:
        return {key: Estimate.from_dict(score) for key, score in read_json(path)["scores"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path}: damaged, its scores cannot be read ({error})") from error


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    return (path if path.is_dir() else program_folder(name)) / PROGRAM
