"""The laws of the contract that read a model: it runs the same twice, fires, adds up, mixes as it says.

A law compares runs of the model with each other, with the module's own forward, or with the declared
equations; it yields (law, where, error, note). None knows an architecture.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from interp.hooks.bench import Bench, Finding, attempt, relative, seeded
from interp.hooks.contributions import carry, contributions, norm_linear
from interp.hooks.sitemap import Add, Block
from interp.results.errors import RequiresResidualStream

# -- running ---------------------------------------------------------------------------------------------------------


def deterministic(b: Bench) -> Iterator[Finding]:
    """Two forwards agree bit for bit; with random sites declared, they agree once those are held, and those differ."""
    declared = b.model.map.random_sites
    with seeded(b.seed):
        one = b.model.run_with_cache(b.x)[1]
    with seeded(b.seed + 1):
        two = b.model.run_with_cache(b.x)[1]
    for name in declared:
        same = name in one and relative(two[name], one[name]) == 0
        yield "deterministic", name, float(same), "declared random and the same in two runs" if same else ""
    if declared:
        hold = [(name, lambda value, site: one[site.name]) for name in declared]
        with seeded(b.seed + 1), b.model.firing(hold):
            two = b.model.run_with_cache(b.x)[1]
    moved = [(name, relative(two[name], one[name])) for name in one]
    yield "deterministic", "all sites", max((error for _, error in moved), default=0.0), ""
    for name, error in moved:
        if error > 0:
            yield "deterministic", name, error, "differs between two runs and is not declared in random_sites"


def fires(b: Bench) -> Iterator[Finding]:
    """Every default site fires once a forward with its declared axes; no visit of its module goes undeclared."""
    for name in b.cache:
        site, value = b.model.map.sites[name][0], b.cache[name]
        count = b.cache.counts[name]
        yield "fires", name, abs(count - 1), "" if count == 1 else f"fired {count} times"
        if "..." not in site.axes and value.dim() != len(site.axes):
            yield (
                "fires",
                name,
                1.0,
                f"has shape {list(value.shape)} where its axes are {' '.join(site.axes)}",
            )
        if site.heads is not None and value.shape[site.head_axis] != site.heads:
            yield (
                "fires",
                name,
                1.0,
                f"has {value.shape[site.head_axis]} heads where {site.heads} are declared",
            )
        if value.is_floating_point() and not site.kind.endswith("attn_scores"):
            bad = int((~value.isfinite()).sum())
            yield "finite", name, float(bad), f"{bad} values are NaN or infinite" if bad else ""
    yield from _visits(b)


def _visits(b: Bench) -> Iterator[Finding]:
    declared: dict[tuple, set[int]] = {}
    for site, tap in b.model.map.sites.values():
        declared.setdefault((tap.path, tap.where), set()).add(site.visit)
    handlers = [(site.name, lambda value, site: None) for site in b.model.sites() if not site.on_request]
    with torch.no_grad(), b.model.firing(handlers) as firing:
        b.model(b.x)
        seen = dict(firing.visits)
    for key, count in seen.items():
        if count > len(declared.get(key, ())):
            note = f"ran {count} times, {len(declared.get(key, ()))} visits are declared"
            yield "fires", f"{key[0]} ({key[1]})", float(count), note


def caching(b: Bench) -> Iterator[Finding]:
    """Caching changes neither the output nor, afterwards, what was cached; opened roles compute the same."""
    # in float64 every run of ours opens the roles, so this compares like with like
    yield "caching", "output", relative(b.cached[0], b.plain), ""
    args, kwargs = b.model.inputs(b.x)
    with torch.no_grad(), b.chance():
        own = b.model.main_output(b.model.module(*args, **kwargs))
    yield "own forward", "output", relative(b.run(open_roles=True), own), ""
    copies: dict[str, Tensor] = {}

    def copy(value, site):
        copies[site.name] = value.detach().clone()

    b.run([(name, copy) for name in b.cache])
    for name, value in copies.items():
        yield "kept", name, relative(b.cache[name], value), ""


# -- equations -------------------------------------------------------------------------------------------------------


def equations(b: Bench) -> Iterator[Finding]:
    """Each step, each block and the whole model add up, and no block writes nothing at all."""
    for block in b.model.map.blocks.values():
        if not block.steps:
            continue
        for step in block.steps:
            if step.to in b.cache:
                yield "equation", step.to, *attempt(partial(_step_sum, b, step), b.cache[step.to])
        yield "block", block.prefix, *attempt(partial(_block_sum, b, block), b.cache[block.resid_post])
        written = [name for step in block.steps for name in step.writes]
        silent = [name for name in written if not b.cache[name].any()]
        yield "writes", block.prefix, len(silent) / max(len(written), 1), f"zero: {silent}" if silent else ""
    for stream in dict.fromkeys(_where(block)[0] for block in b.model.map.blocks.values()):
        yield from _whole(b, stream)


def _where(block: Block) -> tuple[str | None, int]:
    stream, _, depth = block.prefix.rpartition("blocks.")
    return stream.rstrip(".") or None, int(depth)


def _step_sum(b: Bench, step: Add) -> Tensor:
    total = sum(b.cache[name] for name in step.writes)
    total = total + step.carried(b.cache, b.cache[step.start]) if step.start else total
    if step.norm is None:
        return total
    shift = step.norm.role.shift(b.model.module.get_submodule(step.norm.path))
    total = norm_linear(b.model, step.norm, b.cache, total)
    return total if shift is None else total + shift


def _block_sum(b: Bench, block: Block) -> Tensor:
    stream, depth = _where(block)
    terms = contributions(b.model, b.cache, depth, stream)
    return sum(terms.values()) + carry(b.model, b.cache, depth, b.cache[block.resid_pre], stream)


def _whole(b: Bench, stream: str | None) -> Iterator[Finding]:
    last = [block for block in b.model.map.blocks.values() if _where(block)[0] == stream][-1]
    try:
        error, note = attempt(
            lambda: sum(contributions(b.model, b.cache, stream=stream).values()), b.cache[last.resid_post]
        )
    except RequiresResidualStream:
        return
    yield "whole model", last.resid_post, error, note


def patterns(b: Bench) -> Iterator[Finding]:
    """Rows of softmax patterns sum to one."""
    for name, value in b.cache.items():
        if b.model.map.sites[name][0].pattern == "softmax":
            yield "pattern", name, float((value.double().sum(-1) - 1).abs().amax()), ""


def mixing(b: Bench) -> Iterator[Finding]:
    """Patterns applied to values give z; a mixing matrix leads from and to the sites it names."""
    for name, pattern in b.cache.items():
        v, u, z = (name.replace("hook_pattern", f"hook_{letter}") for letter in "vuz")
        v = u if u in b.cache else v  # one projection may be query, key and value at once
        if name.endswith("attn.hook_pattern") and v in b.cache and z in b.cache:
            values = b.cache[v].repeat_interleave(b.model.map.sites[v][0].groups, 2)
            yield "mixing", z, *attempt(partial(torch.einsum, "bhqk,bkhd->bqhd", pattern, values), b.cache[z])
    for block in b.model.map.blocks.values():
        if block.mixing is not None and block.mixes is not None:
            start, to = block.mixes
            matrix = block.mixing(b.model.module.get_submodule(block.path), b.cache, block.prefix)
            values, wanted = (b.cache[site].flatten(2) for site in (start, to))
            share = max(values.shape[-1] // matrix.shape[1], 1)  # channels of a head have one matrix
            matrix = matrix.repeat_interleave(share, 1)
            yield "mixing", to, *attempt(partial(torch.einsum, "bcqk,bkc->bqc", matrix, values), wanted)
