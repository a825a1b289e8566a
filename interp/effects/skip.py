"""Starting a forward late: blocks below the first source return what they returned in the clean run.

A block's module is called as usual (so that visits count on) but its forward is a lookup. Works for any block whose
output is tensors, whatever they mean; behind a merge of stages each segment has its own last output. In the source's
own block, projections that come before it are looked up too.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from interp.hooks import HookedModel
from interp.hooks.firing import Firing
from interp.hooks.roles import replace_forward
from interp.hooks.sitemap import Block
from interp.hooks.tap import IN, OUT


class CleanRun:
    """What one clean forward leaves for later ones that start at one of the blocks `starts`.

    `raw[i]` is the output of block i where it ends a skippable stretch. `early[start]` has the outputs of projections
    that block `start` computes before its first source, by module path and call, each with its version, which tells
    whether it was written to in place later.
    """

    def __init__(self, model: HookedModel, starts: set[int]):
        self.model = model
        self.blocks = list(model.map.blocks.values())
        self.wanted = {i for start in starts for i in self._ends(start).values()}
        self.raw: dict[int, object] = {}
        self.early: dict[int, dict[str, list[tuple[Tensor, int]]]] = {i: {} for i in starts if i < len(self.blocks)}
        self.reached: set[int] = set()  # blocks whose first source has fired

    def _ends(self, start: int) -> dict[int, int]:
        """For every block below `start`: the index of the last skipped block of its segment."""
        ends: dict[int, int] = {}
        last = None
        for i in reversed(range(start)):
            follower = self.blocks[i + 1] if i + 1 < start else None
            joined = follower is not None and follower.continues and _stream(follower) == _stream(self.blocks[i])
            last = last if joined else i
            ends[i] = last
        return ends

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep raw block outputs of the forward inside."""
        with ExitStack() as stack:
            for path, indices in _by_path(self.blocks, self.wanted).items():
                counter = {"visit": 0}

                def hook(module, args, output, indices=indices, counter=counter):
                    index = indices.get(counter["visit"])
                    counter["visit"] += 1
                    if index is not None:
                        self.raw[index] = _copy(output)  # the next block may write in place

                handle = self.model.module.get_submodule(path).register_forward_hook(hook)
                stack.callback(handle.remove)
            self._record_early(stack)
            yield

    def _record_early(self, stack: ExitStack) -> None:
        """Hooks that keep what projections return before the first source of their block."""
        now: dict[str, int | None] = {"block": None}
        for path, indices in _by_path(self.blocks, set(self.early)).items():
            counter = {"visit": 0}

            def enter(module, args, indices=indices, counter=counter):
                now["block"] = indices.get(counter["visit"])
                counter["visit"] += 1

            stack.callback(self.model.module.get_submodule(path).register_forward_pre_hook(enter).remove)
            for inner in self._projections(path):

                def keep(module, args, output, inner=inner):
                    block = now["block"]
                    if block is not None and block not in self.reached:
                        self.early[block].setdefault(inner, []).append((output, output._version))

                stack.callback(self.model.module.get_submodule(inner).register_forward_hook(keep).remove)

    def _projections(self, path: str) -> list[str]:
        """Plain modules in a block (no role, no parts) whose output is a declared site, so that its first axis is the
        batch's."""
        found = []
        for site, tap in self.model.map.sites.values():
            inside = tap.path.startswith(path + ".") and tap.point == OUT and tap.path not in self.model.map.roles
            if inside and tap.path not in found and site.axes[0] in ("batch", "window"):
                module = self.model.module.get_submodule(tap.path)
                if not list(module.children()) and list(module.parameters()):
                    found.append(tap.path)
        return found

    @contextmanager
    def skipping(self, start: int, times: int, batch: int, firing: Firing, *, early: bool = False) -> Iterator[None]:
        """Blocks below `start` replaced; their outputs repeated `times` along the batch axis.

        With `early`, so are the projections before the first source in block `start`.
        """
        ends = self._ends(start)
        folded = {i: _fold(self.raw[i], times, batch) for i in set(ends.values())}
        firing.offsets = self._offsets(start)
        with ExitStack() as stack:
            for path, indices in _by_path(self.blocks, set(ends)).items():
                module = self.model.module.get_submodule(path)
                undo = _lookup(module, {visit: folded[ends[i]] for visit, i in indices.items()}, firing)
                stack.callback(undo)
            for path, calls in self.early.get(start, {}).items() if early else ():
                outputs = {i: _repeat(output, times) for i, (output, version) in enumerate(calls)
                           if output._version == version}  # else written to in place since
                stack.callback(_lookup(self.model.module.get_submodule(path), outputs, firing))
            yield

    def _offsets(self, start: int) -> dict[tuple[str, str], int]:
        """Visits that the insides of skipped blocks will not make, so that later visits keep their numbers."""
        paths = {block.path for block in self.blocks}
        skipped = {block.prefix + "." for block in self.blocks[:start]}
        offsets: dict[tuple[str, str], int] = {}
        for site, tap in self.model.map.sites.values():
            # a skipped block is still called, so its input and output count on; what it marks inside does not
            if site.prefix in skipped and (tap.path not in paths or tap.point not in (IN, OUT)):
                key = (tap.path, tap.where)
                offsets[key] = max(offsets.get(key, 0), site.visit + 1)
        return offsets


def _stream(block: Block) -> str:
    return block.prefix.split("blocks")[0]


def _by_path(blocks: list[Block], indices: set[int]) -> dict[str, dict[int, int]]:
    """{module path: {visit: block index}} of the chosen blocks."""
    table: dict[str, dict[int, int]] = {}
    for i in sorted(indices):
        table.setdefault(blocks[i].path, {})[blocks[i].visit] = i
    return table


def _lookup(module: nn.Module, outputs: dict[int, object], firing: Firing) -> Callable[[], None]:
    original, state = module.forward, {"forward": None, "visit": 0}

    def forward(*args, **kwargs):
        if state["forward"] != firing.forwards:  # a new forward of the model: count from the first visit
            state["forward"], state["visit"] = firing.forwards, 0
        visit = state["visit"]
        state["visit"] += 1
        return outputs[visit] if visit in outputs else original(*args, **kwargs)

    return replace_forward(module, forward)


def _repeat(value: Tensor, times: int) -> Tensor:
    return value.repeat(times, *[1] * (value.dim() - 1))


def _copy(raw):
    """The same with every tensor cloned."""
    if isinstance(raw, tuple | list):
        return _like(raw, [_copy(r) for r in raw])
    return raw.clone() if isinstance(raw, Tensor) else raw


def _like(raw, parts: list):
    """A tuple, named tuple or list of the kind of `raw`."""
    return type(raw)(*parts) if hasattr(raw, "_fields") else type(raw)(parts)


def _fold(raw, times: int, batch: int):
    """Every tensor with the batch as its first axis, repeated (source major); what has it elsewhere brings
    `repeat_batch`."""
    if hasattr(raw, "repeat_batch"):
        return raw.repeat_batch(times)
    if isinstance(raw, Tensor):
        fits = raw.dim() > 0 and raw.shape[0] == batch
        return _repeat(raw, times) if fits else raw
    if isinstance(raw, tuple | list):
        return _like(raw, [_fold(r, times, batch) for r in raw])
    return raw


def rows_per_chunk(batch: int, most: int) -> int:
    """How many sources share one forward so that it has at most `most` rows."""
    return max(1, most // batch)


def default_rows(model: HookedModel, n_pos: int, budget: int, reads_few: bool) -> int:
    """Rows of one forward within `budget` bytes of activations (estimated from the model's widths)."""
    widest = max((p.shape[0] for p in model.parameters() if p.dim() == 2), default=1)
    d_model = next((p.shape[-1] for p in model.parameters() if p.dim() == 2), 1)
    logits = 0 if reads_few else (model.map.d_vocab or 0)
    hidden = min(widest, 8 * d_model)
    per_row = n_pos * (12 * d_model + 3 * hidden + 2 * logits + 4 * n_pos) * torch.finfo(model.dtype).bits // 8
    return int(max(1, min(512, budget // max(per_row, 1))))
