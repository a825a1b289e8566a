"""Trained programs on disk: weights and sizes, the program as a table, what was measured. Nothing in them runs."""

import json
from pathlib import Path

from interp.hooks.files import read_model_files, save_model
from interp.programs.configs import Config
from interp.programs.entry import NAME, program_recipe, sizes_of
from interp.programs.hooked import build_program_model, hook_program
from interp.programs.program_file import save_program
from interp.programs.train import Trained
from interp.results.errors import BadFile
from interp.results.estimate import Estimate
from interp.results.files import atomic_write
from interp.results.training_state import CHECKPOINT
from interp.tasks.sequences import dataset

PROGRAM, METRICS = "program.json", "metrics.json"


def save_trained(trained: Trained, folder: str | Path, *, weights: bool = True) -> Path:
    """Write `program.json`, `metrics.json` and, with `weights`, the model; drop the checkpoint there.

    Returns the folder. Raises InterpError where the disk refuses.
    """
    folder, record = Path(folder), trained.record()
    save_program(trained.program, folder / PROGRAM)
    atomic_write(folder / METRICS, json.dumps(record, indent=2) + "\n")
    if weights:
        hooked = hook_program(trained.model, name=trained.data.name, recipe=program_recipe(trained.model.sizes))
        save_model(hooked, folder, extra={"training": record})
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def load_trained(folder: str | Path) -> Trained:
    """What `save_trained` wrote with weights, its dataset drawn again.

    Raises BadFile for anything damaged or foreign.
    """
    files = read_model_files(folder)
    record = files.extra.get("training")
    if files.recipe.get("name") != NAME or not isinstance(record, dict):
        raise BadFile(f"{folder}: holds {files.recipe.get('name')!r}, not a trained program")
    try:
        model = build_program_model(sizes_of(files.recipe), 0)
        files.fill(model)
        data = dataset(record["task"], **record["sizes"], seed=record["data_seed"])
        scores = {name: Estimate.from_dict(score) for name, score in record["scores"].items()}
        return Trained(model.eval(), data, Config(**record["config"]), record["seed"], scores,
                       record["sampled_accuracy"], record["cpu_seconds"])
    except (KeyError, TypeError) as error:
        raise BadFile(f"{folder}: damaged, its training record does not fit ({error})") from error
