"""Writes docs/laws.json by running every law on every entry of the catalog (a minute), and docs/laws.md from it.

Run: python docs/generate_laws.py [ENTRY ...] (those alone are run again). The tests of the contract compare their own
runs with the record, entry by entry.
"""

import json
import sys
from pathlib import Path

import torch

from interp.architectures.contract import check_entry, places, shaken
from interp.architectures.entry import Entry
from interp.effects import decompose
from interp.effects.decomposed_tensor import NoRule
from interp.garden.catalog import catalog
from interp.hooks import Source
from interp.hooks.tolerances import TOLERANCES

PAGE, RECORD = (Path(__file__).with_name(f"laws.{kind}") for kind in ("md", "json"))
MEANING = {
    "deterministic": "two forwards agree bit for bit; declared random sites differ, and all else agrees once they are "
                     "held",
    "fires": "every site fires once with its declared axes and heads, every visit of its module is declared",
    "finite": "no NaN or infinity, masked scores aside",
    "caching": "the output with everything cached is the output",
    "own forward": "with our norms and softmaxes in place the output is that of the module's own",
    "kept": "what was cached is not overwritten by the rest of the forward",
    "equation": "each step of a block: start, kept as declared, plus writes, through its norm, is the next point",
    "block": "carry and contributions sum to the block's output",
    "writes": "no branch writes nothing but zeros",
    "whole model": "contributions carried to the end sum to the last stream",
    "pattern": "rows sum to one where the pattern is a softmax",
    "mixing": "the pattern, or the mixing matrix, times the values is what the mixer mixed",
    "own value": "patching a site with what it holds changes nothing",
    "round trip": "a patched value is read back",
    "changes": "noise at a site changes the output",
    "inert": "at sites declared inert it does not",
    "causal": "later tokens change no earlier position of any site",
    "reaches": "gradients reach every parameter but exactly the unused ones",
    "gradient": "and every site but the inert ones",
    "unchanged": "the module is left as it was",
}
HEAD = """# Entries and laws

Which laws of `interp.check_model` were tested on which entry of the catalog, and at how many places: sites, blocks or
parameters. All hold. A number is the count in float32 and in float64, where those differ both; a dot: the law does not
apply (no attention pattern, not causal, stages instead of one stream, no declared exception). Models are small, with
noise on every parameter (`interp.architectures.contract`). This page is made by `docs/generate_laws.py` from
`docs/laws.json`, and the tests of the contract fail where what they count is not what is written here.
"""


def opaque(entry: Entry) -> str | None:
    """The operation that the decomposed engine names as the one it has no rule for, from the first write of the first
    block to the output; None where it goes through."""
    model, x = shaken(entry, torch.float64)
    write = next(name for step in next(iter(model.map.blocks.values())).steps for name in step.writes)
    try:
        decompose(model, x, [Source(write)], ["output"], rules="cdt")
    except NoRule as error:
        return str(error).removeprefix("operation ").split()[0]
    return None


def record(names: list[str], before: dict) -> dict:
    """What running entries (none named: all) finds: {entry: places by dtype, opaque operation}. Raises LawBroken."""
    found = {}
    for entry in catalog():
        if names and entry.name not in names and entry.name in before:
            found[entry.name] = before[entry.name]
            continue
        checks = {str(dtype).removeprefix("torch."): places(check_entry(entry, dtype).raise_if_failed())
                  for dtype in (torch.float32, torch.float64)}
        found[entry.name] = {"places": checks, "opaque": opaque(entry)}
    return found


def page() -> str:
    """The page as it should be, from the record and the declarations of the entries as they are now."""
    found = json.loads(RECORD.read_text())
    return "\n".join([HEAD, *_summary(found), *_laws(found), *_table(found), *_declared(), *_engine(found)]) + "\n"


def _summary(found: dict) -> list[str]:
    counts = [count for row in found.values() for laws in row["places"].values() for count in laws.values()]
    return [f"{len(found)} entries, {len(TOLERANCES)} laws, 2 dtypes: {len(counts):,} tested combinations at "
            f"{sum(counts):,} places."]


def _laws(found: dict) -> list[str]:
    lines = ["\n## Laws\n", "| law | what holds | float64 | float32 | entries |", "|---|---|---|---|---|"]
    for law, (wide, single, *_) in TOLERANCES.items():
        held = sum(law in row["places"]["float32"] for row in found.values())
        bound = "more than " if law in ("changes", "gradient") else ""
        lines.append(f"| {law} | {MEANING[law]} | {bound}{wide:g} | {bound}{single:g} | {held} |")
    return lines


def _table(found: dict) -> list[str]:
    laws = list(TOLERANCES)
    lines = ["\n## Places by entry\n", f"| entry | {' | '.join(laws)} |", "|---" * (len(laws) + 1) + "|"]
    for name, row in found.items():
        cells = []
        for law in laws:
            counts = [str(row["places"][dtype].get(law, "·")) for dtype in ("float32", "float64")]
            cells.append(" / ".join(dict.fromkeys(counts)))
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def _declared() -> list[str]:
    """Declarations are exact: the laws `reaches`, `inert` and `deterministic` fail for one too many or too few."""
    lines = ["\n## Declared\n", "What cannot hold, by the entry itself; blocks as {d}. Tested in both directions.\n",
             "| entry | what | where | why |", "|---|---|---|---|"]
    for entry in catalog():
        model, _ = shaken(entry)
        for what in ("unused_parameters", "inert_sites", "random_sites"):
            rows: dict[tuple[str, str], None] = {}
            for name, why in getattr(model.map, what).items():
                parts = [("{d}" if part.isdigit() else part) for part in name.split(".")]
                rows[".".join(parts), why] = None
            lines += [f"| `{entry.name}` | {what.replace('_', ' ')} | `{name}` | {why} |" for name, why in rows]
    return lines


def _engine(found: dict) -> list[str]:
    stopped = {name: row["opaque"] for name, row in found.items() if row["opaque"]}
    lines = ["\n## Effects\n",
             f"On all {len(found)} entries the patched engine equals a plain loop over sources, and the linearised one "
             "the gradient (`tests/contract/test_catalog_effects.py`). The decomposed engine (`cdt`, from the first "
             f"write to the output) goes through {len(found) - len(stopped)}; on the others it raises an error that "
             "names the operation, and says to use `ablation`, which covers them:\n",
             "| entry | operation without a rule |", "|---|---|"]
    return lines + [f"| `{name}` | `{operation}` |" for name, operation in stopped.items()]


if __name__ == "__main__":
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in record(sys.argv[1:], before).items())
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    PAGE.write_text(page())
