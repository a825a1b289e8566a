"""What is measured of one trained model so that it can stand beside others: accuracy, heads or what stands for them,
circuit, depth, state and work.

Numbers of nodes are comparable among models of one granularity only (a Mamba block is one node, an attention layer of
four heads four), so circuits are also given as shares: of the effect mass, the summed size of all scores, that the
members carry, and of the *written dimensions*, those in which a node can write to the stream: d_head for a head, the
smaller of its width and the stream's for an MLP, the width of the stream for a mixer without heads.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from interp.depth import half_depth, skip_effects
from interp.depth.profiles import BLOCK, profile
from interp.discovery import discover
from interp.discovery.depth_mass import kind_of
from interp.discovery.nodes import nodes as all_nodes
from interp.garden.comparison.cost import flops, state_size
from interp.garden.comparison.tasks import TEST_SEED, TokenTask
from interp.hooks.model import HookedModel
from interp.icl import head_scores
from interp.icl.repeats import Repeats
from interp.results.circuit import Circuit
from interp.results.errors import BadInput, InterpError
from interp.results.node import Node
from interp.tasks import task as make_task

PROMPTS = 64
METHOD = "ablation"


@dataclass(frozen=True)
class Measured:
    """One model: `numbers` by name (see `COLUMNS`), `curves` by name with one value a depth, `absent` says why a number
    or curve is not there. Plain values throughout."""

    numbers: dict[str, float]
    curves: dict[str, list[float]]
    notes: dict[str, str]
    absent: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


COLUMNS = {
    "previous_token": "most that a head (or channel) looks at the token before, share of a query's attention",
    "prefix_matching": "most that one looks behind earlier occurrences of its token, all of them added up",
    "circuit_mass": "share of the effect mass that the circuit carries",
    "circuit_written": "share of the dimensions that can be written in which its nodes write",
    "circuit_nodes": "nodes of the circuit, to be compared at one granularity only",
    "half_written": "share of the depth by which half of what is written, relative to the stream, is written",
    "half_output": "share of the depth by which half of the effects of leaving blocks out lies",
    "state_start": "numbers carried from token to token behind 1 token",
    "state_end": "numbers carried behind a whole context",
    "products": "operations in matrix products a token",
    "elementwise": "numbers that other arithmetic gives a token",
}


def measure(model: HookedModel, task: TokenTask, seed: int = 0) -> Measured:
    """Everything about one trained model of a task. What cannot be measured is in `absent`, with the reason."""
    found = Measured({}, {}, {}, {})
    for part, of in (("heads", _heads), ("circuit", _circuit), ("depth", _depth), ("cost", _cost)):
        try:
            of(model, task, seed, found)
        except InterpError as error:
            found.absent[part] = str(error)
    return found


def _prompts(task: TokenTask) -> torch.Tensor:
    return task.data(PROMPTS, torch.Generator().manual_seed(TEST_SEED + 1)).tokens


def _heads(model: HookedModel, task: TokenTask, seed: int, found: Measured) -> None:
    if not task.repeats:
        raise BadInput(f"{task.name} is not about tokens that come again, so that no head is asked to look behind them")
    scores = head_scores(model, prompts=Repeats.of(_prompts(task), bos=task.bos), seed=seed)
    for score in ("previous_token", "prefix_matching"):
        depth, head, value = scores.top(score, 1)[0]
        found.numbers[score] = value
        found.notes[score] = f"L{depth}H{head}, {scores.mixing[depth]}"


def _circuit(model: HookedModel, task: TokenTask, seed: int, found: Measured) -> None:
    if task.circuit is None:
        raise BadInput(f"no task of interp.tasks has prompts with counterfactuals for {task.name}")
    circuit = discover(model, make_task(task.circuit, model=model, n=PROMPTS, seed=seed), METHOD, seed=seed)
    found.numbers.update(circuit_size(model, circuit))
    kinds = [kind_of(node) for node in circuit.nodes]
    every = [kind_of(node) for node in circuit.scores]
    found.notes["circuit"] = ", ".join(f"{kinds.count(kind)} of {every.count(kind)} {kind}s" for kind in
                                       dict.fromkeys(every))
    found.notes["members"] = " ".join(node.label for node in circuit.nodes)


def circuit_size(model: HookedModel, circuit: Circuit) -> dict[str, float]:
    """circuit_mass, circuit_written and circuit_nodes of a circuit among the nodes of a model.

    Raises BadInput where no node has an effect.
    """
    mass = sum(abs(score) for score in circuit.scores.values())
    if not mass > 0:
        raise BadInput(f"every score of {circuit.method} in {circuit.model} is 0: no circuit has a size")
    every = {node: written_dimensions(model, node) for node in all_nodes(model)}
    return {
        "circuit_mass": sum(abs(circuit.scores[node]) for node in circuit.nodes) / mass,
        "circuit_written": sum(every[node] for node in circuit.nodes) / sum(every.values()),
        "circuit_nodes": float(len(circuit.nodes)),
    }


def written_dimensions(model: HookedModel, node: Node) -> int:
    """In how many dimensions of the stream a node can write at most: by the shapes of what it hands on."""
    tokens = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    width = model.read(tokens, node.site)[node.site].shape[-1]
    if node.head is not None:
        return width  # of z: one head's values
    inner = node.site.replace("hook_mlp_out", "mlp.hook_post")
    if inner != node.site and inner in model.map.sites:
        width = min(width, model.read(tokens, inner)[inner].shape[-1])
    return width


def _depth(model: HookedModel, task: TokenTask, seed: int, found: Measured) -> None:
    x = _prompts(task)
    shown = profile(model, x, lens=0)
    skips = skip_effects(model, x, "current")
    found.curves["written"] = shown.curve(BLOCK, "relative").tolist()
    found.curves["output"] = skips.output_mean.mean(1).tolist()
    found.numbers["half_written"] = half_depth(np.nan_to_num(found.curves["written"]))
    found.numbers["half_output"] = half_depth(found.curves["output"])


def _cost(model: HookedModel, task: TokenTask, seed: int, found: Measured) -> None:
    work = flops(model, task.n_ctx)
    found.numbers.update(products=work.products, elementwise=work.elementwise,
                         state_start=float(state_size(model, 1)), state_end=float(state_size(model, task.n_ctx)))
