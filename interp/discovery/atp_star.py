"""Attribution patching repaired where it is known to fail: AtP*.

A saturated softmax has no gradient, so queries and keys are patched for real up to what their head returns, and only
from there on linearly. A direct effect that the indirect one cancels hides a node, so the gradient is taken once for
every block with what that block adds held constant, and sizes are averaged.
Paper: Kramar 2024 (2403.00745), sections 3.1 and 3.2.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp.discovery.nodes import source
from interp.effects.linear_rules import TANGENT
from interp.effects.linearised import effects_of, gradients
from interp.effects.sources import Groups
from interp.hooks import HookedModel
from interp.results import BadInput, Node


def atp_star_scores(model: HookedModel, part, universe: Sequence[Node]) -> tuple[np.ndarray, dict]:
    """(score per node [node], facts): mean over prompts and dropped blocks of |effect|, in the metric's unit.

    A node's own block is not among the dropped ones. Raises BadInput for keys at single positions: another position of
    the same key changes the same softmax.
    """
    own = [_block(model, node) for node in universe]
    changes = _Changes(model, part, universe)
    blocks = list(model.map.blocks)
    total = np.zeros(len(universe))
    for block in blocks if len(blocks) > 1 else [None]:
        held = [] if block is None else [w for step in model.map.blocks[block].steps for w in step.writes]
        extra = [(name, lambda value, site: value.detach()) for name in held]
        _, values, grads = gradients(model, part.clean, changes.sites, part.metric, TANGENT, extra)
        effects = changes.effects(values, grads).abs().double().mean(1).numpy()
        total += np.where([o == block and block is not None for o in own], 0.0, effects)
    counts = np.array([len(blocks) - (o is not None) if len(blocks) > 1 else 1 for o in own])
    return total / counts, {"forwards": 2.0 + 3.0 * max(1, len(blocks)), "paper": "2403.00745"}


def _block(model: HookedModel, node: Node) -> str | None:
    return next((prefix for prefix in model.map.blocks if node.site.startswith(f"{prefix}.")), None)


class _Changes:
    """What each node changes, at the site where its gradient is taken: itself, or what its head returns."""

    def __init__(self, model: HookedModel, part, universe: Sequence[Node]):
        self.model, self.part, self.universe = model, part, list(universe)
        self.batch = model.batch_of(part.clean)[0]
        self.through = {node: _head_output(model, node) for node in universe}
        plain = [node for node in universe if self.through[node] is None]
        self.groups = Groups(model, [source(node) for node in plain]) if plain else None
        self.base = model.read(part.corrupt, list(self.groups.sites)) if plain else {}
        self.z: dict[str, dict[str, Tensor]] = {}
        outputs = list(dict.fromkeys(z for z in self.through.values() if z is not None))
        for role in ("q", "k"):
            named = {z: z.removesuffix("z") + role for z in outputs}
            wanted = {z: name for z, name in named.items() if any(node.site == name for node in universe)}
            if wanted:
                self.z[role] = self._patched(wanted)
        self.clean_z = model.read(part.clean, outputs) if outputs else {}
        self.sites = list(dict.fromkeys([*(self.groups.sites if plain else ()), *outputs]))

    def _patched(self, wanted: dict[str, str]) -> dict[str, Tensor]:
        """What heads return with all queries (or keys) at their counterfactual, everything else at the clean run."""
        writes = self.model.map.writes
        held = self.model.read(self.part.clean, writes)
        there = self.model.read(self.part.corrupt, list(wanted.values()))
        found: dict[str, Tensor] = {}
        handlers = [(name, lambda value, site: held[site.name]) for name in writes]
        handlers += [(name, lambda value, site: there[site.name]) for name in wanted.values()]
        handlers += [(z, lambda value, site: found.update({site.name: value.detach().clone()})) for z in wanted]
        with torch.no_grad(), self.model.firing(handlers):
            self.model(self.part.clean)
        return found

    def effects(self, values, grads) -> Tensor:
        """[node, batch] for the gradients of one run."""
        rows: dict[Node, Tensor] = {}
        if self.groups is not None:
            masks = self.groups.masks({s: values[s] for s in self.groups.sites}, self.model.lengths(self.part.clean))
            plain = [node for node in self.universe if self.through[node] is None]
            rows |= dict(zip(plain, effects_of(self.groups, masks, values, grads, self.base, self.batch)))
        for node, z in self.through.items():
            if z is not None:
                rows[node] = self._through(node, z, grads[z])
        return torch.stack([rows[node] for node in self.universe])

    def _through(self, node: Node, z: str, grad: Tensor) -> Tensor:
        site, role = self.model.site(node.site), node.site[-1]
        change = grad * (self.clean_z[z] - self.z[role][z])
        mask = torch.zeros([1] * change.dim(), dtype=torch.bool).expand(change.shape).clone()
        lengths = self.model.lengths(self.part.clean)
        for head in range(node.head * site.groups, (node.head + 1) * site.groups):
            mask |= source(Node(z, head, node.pos)).mask(self.model.site(z), change, lengths)
        return torch.where(mask, change, 0).reshape(self.batch, -1).sum(1)


def _head_output(model: HookedModel, node: Node) -> str | None:
    """The site of what the head returns, for a query or key; None for any other node."""
    if not node.site.endswith(("attn.hook_q", "attn.hook_k")):
        return None
    z = node.site[:-1] + "z"
    if z not in model.map.sites:
        return None
    if node.site.endswith("k") and node.pos is not None:
        raise BadInput(f"{node.label}: keys share one softmax, so AtP* scores them at all positions together")
    return z
