"""The laws of the contract that change something: a patch, a later token, the loss.

Same form as in `interp.hooks.laws`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from interp.hooks.bench import Bench, Finding, relative

# -- patching --------------------------------------------------------------------------------------------------------


def patching(b: Bench) -> Iterator[Finding]:
    """A site's own value changes nothing; noise there changes the output (inert sites: not) and is read back."""
    names = list(b.cache)
    yield from _own_values(b, names)
    for site in b.model.sites():
        if site.name in b.cache and not b.cache[site.name].is_floating_point():
            continue
        generator = torch.Generator().manual_seed(b.seed)
        out, wanted, got = _with_noise(b, site, generator)
        changed = relative(out, b.plain)
        inert = site.name in b.model.map.inert_sites
        note = "declared inert" if inert else ""
        yield ("inert" if inert else "changes"), site.name, changed, note
        if not site.on_request:
            yield "round trip", site.name, relative(got, wanted), ""


def _own_values(b: Bench, names: list[str]) -> Iterator[Finding]:
    """All sites at once; where that is not silent, one by one."""

    def keep(value, site):
        return value.clone()

    def error(chosen):
        return relative(
            b.run([(n, keep) for n in chosen]), b.run([(n, lambda value, site: None) for n in chosen])
        )

    together = error(names)
    if together == 0:
        yield "own value", "all sites", 0.0, ""
    else:
        for name in names:
            yield "own value", name, error([name]), ""


def _with_noise(b: Bench, site, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Output with noise at a site, the noisy value, and what reading the site behind the patch gives."""
    kept: dict[str, Tensor] = {}

    def noise(value, site):
        usual = value[value.abs() < 1e30]  # masks are -inf, or the least number there is
        size = float(usual.std()) if usual.numel() > 1 else 1.0
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
        kept["wanted"] = torch.where(value.abs() < 1e30, value + (size or 1.0) * drawn, value)
        return kept["wanted"]

    def read(value, site):
        kept["got"] = value.clone()

    with torch.no_grad(), b.chance(), b.model.firing([(site.name, noise)]):
        out = b.run([(site.name, read)])
    return out, kept["wanted"], kept["got"]


# -- causality and gradients -----------------------------------------------------------------------------------------


def causal(b: Bench) -> Iterator[Finding]:
    """Other tokens at later positions leave every earlier position of every site as it was."""
    key = (
        "decoder_input_ids"
        if isinstance(b.x, dict) and "decoder_input_ids" in b.x
        else b.model.map.input_name
    )
    prefix = "decoder." if key == "decoder_input_ids" else ""
    if not (b.model.map.causal or prefix):
        return
    ids = b.x[key] if isinstance(b.x, dict) else b.x
    half = max(1, ids.shape[1] // 2)
    later = ids.clone()
    if ids.is_floating_point():
        later[:, half:] = ids[:, half:].flip(0) + 1
    else:
        later[:, half:] = (ids[:, half:] + 1) % (b.model.map.d_vocab or int(ids.max()) + 1)
    other = b.read({**b.x, key: later} if isinstance(b.x, dict) else later)[1]
    for name, value in b.cache.items():
        site = b.model.map.sites[name][0]
        if site.pos_axis is None or not name.startswith(prefix) or value.shape[site.pos_axis] != ids.shape[1]:
            continue  # what counts words or blocks has no place among tokens; the output has
        both = [v.narrow(site.pos_axis, 0, min(half, v.shape[site.pos_axis])) for v in (other[name], value)]
        if "key" in site.axes and both[0].shape[-1] >= ids.shape[1]:
            both = [v[..., :half] for v in both]
        yield "causal", name, relative(*both), ""


def gradients(b: Bench) -> Iterator[Finding]:
    """Gradients reach every parameter but exactly the unused ones, and every cached site (inert ones aside)."""
    named = {name: p for name, p in b.model.module.named_parameters() if p.is_floating_point()}
    frozen = [p for p in named.values() if not p.requires_grad]
    for p in frozen:
        p.requires_grad_(True)
    try:
        args, kwargs = b.model.inputs(b.x)
        with torch.enable_grad(), b.chance():
            loss = _scalar(b.model.main_output(b.model.module(*args, **kwargs)), b.seed)
            found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        with torch.enable_grad(), b.chance():
            out, cache = b.model.run_with_cache(b.x, grad=True)
        sites = [name for name in cache if cache[name].requires_grad]
        at = torch.autograd.grad(_scalar(out, b.seed), [cache[name] for name in sites], allow_unused=True)
    finally:
        for p in frozen:
            p.requires_grad_(False)
    yield from _reached(b, dict(zip(named, found)))
    for name, grad in zip(sites, at):
        if name not in b.model.map.inert_sites:
            size = 0.0 if grad is None else float(grad.abs().amax())
            yield "gradient", name, size, "" if size else "no gradient at this site"


def _scalar(out: Tensor, seed: int) -> Tensor:
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (out * weights.to(out)).sum()


def _reached(b: Bench, found: dict[str, Tensor | None]) -> Iterator[Finding]:
    unused = b.model.map.unused_parameters
    for path in unused:
        if not any(_under(name, path) for name in found):
            yield "reaches", path, 1.0, "declared in unused_parameters and no parameter of the model"
    for name, grad in found.items():
        reached, declared = grad is not None and bool(grad.any()), any(_under(name, path) for path in unused)
        note = ""
        if reached == declared:
            note = "declared unused and reached" if declared else "no gradient, and not in unused_parameters"
        yield "reaches", name, float(reached == declared), note


def _under(name: str, path: str) -> bool:
    return name == path or name.startswith(path + ".")
