"""Writes docs/catalog.md: every architecture, its paper, its mixers, its size. Run: python docs/generate_catalog.py"""

from pathlib import Path

from interp.architectures.parents import parent_of
from interp.architectures.traits import traits
from interp.garden.catalog import catalog

PAGE = Path(__file__).with_name("catalog.md")
HEAD = """# The catalog

Every architecture of `interp.build(NAME, seed=0, **sizes)`. `interp show NAME` prints its forward pass as equations
beside its sites; `interp models --family ssm` (`--modality`, `--paper`, `--pattern`, `--stream`) chooses. Each keeps
all laws of the contract in float32 and float64 (`tests/contract/test_laws.py`), with exact declarations and no
exemptions; its paper's claim is a test named `test_works_when_<paper>_<name>` (`tests/architectures`), which says where
it holds only in part. Parameters are those of the default sizes.

Mixers: *softmax* rows sum to 1; *unnormalised* rows do not; *implicit* ones have no pattern, and
`model.mixing_matrix(cache, depth)` gives the matrix they stand for; *none* have neither. `interp show NAME` ends with
the equations in which an entry differs from what it was *made from*. Which law was tested on which entry, at how many
places, and what is declared: [laws](laws.md).
"""


def page() -> str:
    """The page as it should be."""
    lines = [HEAD]
    entries = catalog()
    for family in dict.fromkeys(entry.family for entry in entries):
        lines += [f"\n## {family[0].upper()}{family[1:]}\n",
                  "| name | what | made from | kind | mixers | parameters | paper |", "|---|---|---|---|---|---|---|"]
        for entry in entries:
            if entry.family == family:
                own = traits(entry)
                number = "" if entry.paper is None else f" (row {entry.paper})"
                parent = f"`{parent_of(entry.name)}`" if parent_of(entry.name) else ""
                lines.append(f"| `{entry.name}` | {entry.title} | {parent} | {entry.kind} | {', '.join(own.patterns)} "
                             f"| {own.parameters:,} | {entry.citation}{number} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
