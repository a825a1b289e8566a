"""Models, tasks and run folders as commands open them, so that mistakes show before anything is written."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.commands.shared import note
from interp.results.errors import BadInput

if TYPE_CHECKING:
    from interp.hooks import HookedModel
    from interp.results import Node, Run
    from interp.tasks import Task

RUNS = Path("runs")


def open_model(name: str) -> "HookedModel":
    """The model called so. An architecture, which has no trained weights, is an error that says what to do."""
    from interp.garden.catalog import catalog
    from interp.garden.loading import garden_groups, garden_names, load

    if name in {entry.name for entry in catalog()} and not Path(name).exists():
        raise BadInput(
            f"{name!r} is an architecture without trained weights. Trained models: {', '.join(garden_groups())}; "
            f"see `interp models`. A random one: interp.build({name!r}).save(DIR), then --model DIR"
        )
    if f"garden/{name}" in garden_names() and not Path(name).exists():
        name = f"garden/{name}"
    return load(name)


def open_task(name: str, model: "HookedModel", n: int, seed: int) -> "Task":
    """n prompts of a task for this model."""
    from interp.tasks import task

    return task(name, model=model, n=n, seed=seed)


def read_node(text: str, model: "HookedModel") -> "Node":
    """A node as a person types it: L3H5, MLP2, L0H1@-1 or a full site name. It must exist in the model."""
    from interp.discovery.nodes import source
    from interp.results import Node

    node = Node.from_label(text)
    source(node).check(model.site(node.site))
    return node


def model_hash(model: "HookedModel") -> str:
    """sha256 over the names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def open_run(out: Path | None, command: str, config: dict[str, Any], seed: int, resume: bool) -> "Run":
    """The run folder of a command: `out`, or a free one in runs/; with `resume`, the unfinished one of these settings.

    Raises BadInput when there is nothing to resume.
    """
    from interp.results import Run

    if out is None:
        out = _unfinished(command, config, seed) if resume else _free(_stem(command, config))
    elif resume and not (out / "result.json").exists():
        note(f"{out} holds no run yet: a new one begins")
    return Run.create(out, command, config, seed, resume=resume)


def _stem(command: str, config: dict[str, Any]) -> str:
    words = [command, config.get("task"), config.get("model"), config.get("method") or config.get("rules")]
    return "-".join("".join(c if c.isalnum() or c in "._-" else "-" for c in Path(str(w)).name) for w in words if w)


def _free(stem: str) -> Path:
    number = 1
    while (RUNS / f"{stem}-{number}").exists():
        number += 1
    return RUNS / f"{stem}-{number}"


def _unfinished(command: str, config: dict[str, Any], seed: int) -> Path:
    from interp.results import BadFile, Run
    from interp.results.plain import to_plain, without_none

    wanted = without_none(to_plain(config, "config"))
    for folder in sorted(RUNS.glob(f"{_stem(command, config)}-*"), key=lambda f: f.stat().st_mtime, reverse=True):
        try:
            run = Run.open(folder)
            same = (run.command, run.config, run.seed) == (command, wanted, seed)
        except BadFile:
            continue
        if same and run.status in ("interrupted", "failed"):
            return folder
    raise BadInput(f"no unfinished run of these settings in {RUNS}/; start one without --resume, or name it with --out")
