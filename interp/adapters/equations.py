"""Equations as people write them: `resid_mid = ln1(resid_pre + attn_out)`, parsed into the steps of a block.

A step is `to = [norm(] [number *] start + write + ... [)]`. Names are sites of the block, with or without
their `hook_`; a norm is one declared by its name (`ln1`). A block called `blocks.{d}` stands for every depth.
"""

import re
from collections.abc import Sequence

from interp.hooks.sitemap import Add, Block, NormRef, SiteMap
from interp.results.errors import BadInput, nearest

_STEP = re.compile(r"^\s*(?P<to>[\w.]+)\s*=\s*(?:(?P<norm>\w+)\((?P<inside>[^()]*)\)|(?P<plain>[^()]*))\s*$")
_START = re.compile(r"^(?:(?P<keep>[\d.]+)\s*\*\s*)?(?P<site>[A-Za-z_][\w.]*)$")


def parse(m: SiteMap, prefix: str, steps: Sequence[str], norms: dict[str, NormRef]) -> None:
    """Add the block `prefix` (or, with `{d}`, every such block) with its steps to the map; "" is the stem.

    Raises BadInput for a line that is no equation, or a name in it that is no site of the block.
    """
    if prefix == "":
        m.stem = _step(m, "", steps[0], norms, stem=True)
        return
    for one in _prefixes(m, prefix):
        resid_pre = f"{one}.hook_resid_pre"
        if resid_pre not in m.sites or f"{one}.hook_resid_post" not in m.sites:
            raise BadInput(f"the block {one!r} has an equation, so it needs the sites hook_resid_pre and "
                           "hook_resid_post")
        site, tap = m.sites[resid_pre]
        parsed = tuple(_step(m, one, text, norms) for text in steps)
        m.blocks[one] = Block(one, tap.path, site.visit, parsed)


def _prefixes(m: SiteMap, prefix: str) -> list[str]:
    if "{d}" not in prefix:
        return [prefix]
    found = re.compile(re.escape(prefix).replace(re.escape("{d}"), r"\d+") + r"(?=\.)")
    names = dict.fromkeys(match.group() for name in m.sites if (match := found.match(name)))
    if not names:
        raise BadInput(f"no site starts with {prefix!r}, so its equation says nothing")
    return sorted(names, key=lambda name: int(re.search(r"\d+", name).group()))


def _step(m: SiteMap, prefix: str, text: str, norms: dict[str, NormRef], stem: bool = False) -> Add:
    match = _STEP.match(text)
    if match is None:
        raise BadInput(f"{text!r} is no equation; write it like 'resid_mid = resid_pre + attn_out' or "
                       "'resid_mid = ln1(resid_pre + attn_out)'")
    terms = [term.strip() for term in (match["inside"] or match["plain"]).split("+")]
    norm = _norm(prefix, match["norm"], norms) if match["norm"] else None
    to = _site(m, prefix, match["to"])
    if stem:
        return Add("", tuple(_site(m, prefix, term) for term in terms), to, norm)
    first = _START.match(terms[0])
    if first is None:
        raise BadInput(f"{terms[0]!r} in {text!r} is neither a site nor a number times one")
    writes = tuple(_site(m, prefix, term) for term in terms[1:])
    return Add(_site(m, prefix, first["site"]), writes, to, norm, float(first["keep"] or 1.0))


def _site(m: SiteMap, prefix: str, word: str) -> str:
    """`attn_out` of `blocks.3` as `blocks.3.hook_attn_out`; full names stay as they are."""
    head, _, last = word.rpartition(".")
    kind = word if last.startswith("hook_") else f"{head}.hook_{last}" if head else f"hook_{last}"
    for name in (f"{prefix}.{kind}" if prefix else kind, kind, word):
        if name in m.sites:
            return name
    raise BadInput(f"the equation of {prefix or 'the stem'!r} names {word!r}, which is no site of it."
                   f"{nearest(f'{prefix}.{kind}', m.sites)}")


def _norm(prefix: str, word: str, norms: dict[str, NormRef]) -> NormRef:
    name = f"{prefix}.{word}" if prefix else word
    if name not in norms:
        raise BadInput(f"the equation of {prefix or 'the stem'!r} uses the norm {word!r}; declare it among the "
                       f"sites: {{{name!r}: 'path.of.the.norm'}}")
    return norms[name]
