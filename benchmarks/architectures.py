"""Forward of every entry of the catalog against its parent, at equal size, in the same run.

Run: python -m benchmarks.architectures [--only NAME]. Batch 4, 128 tokens, width 128, 4 heads, as many depths as the
entry has; images of 64 patches; 128 series. No gradients, float32, one thread. What is above 2 says why, in WHY.
"""

import argparse
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.timing import ratios, show_rows
from interp.adapters.transformers import library
from interp.architectures.entry import Entry
from interp.architectures.parents import parent_of
from interp.garden.catalog import catalog
from interp.hooks import HookedModel

SIZES = dict(d_model=128, n_layers=2, n_heads=4, d_vocab=128, n_ctx=128, image=32, patch=4, n_phases=4, d_phase=32)
OWN: dict[str, dict[str, int]] = {  # where equal size needs something of its own
    "vit": {"n_ctx": 64}, "dependency-vit": {"n_ctx": 64}, "widenet": {"n_layers": 4}, "mor": {"n_layers": 4},
    "transformer-program": {"d_vocab": 8, "n_ctx": 128},
}
REFERENCES: dict[str, tuple[str, str, dict]] = {  # a library's own class: kind, and its words for the sizes
    "gpt": ("GPT2", "LMHeadModel", dict(n_embd=128, n_layer=2, n_head=4, vocab_size=128, n_positions=128)),
    "llama": ("Llama", "ForCausalLM", dict(
        hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=128, max_position_embeddings=128)),
}
WHY = {
    "gla": "the recurrence token by token, so that every state is a site; the paper's chunks need a kernel",
    "mamba": "the library's reference scan, a token at a time; its kernels do not exist on a CPU",
    "lstm": "a recurrence token by token cannot use the whole sequence at once",
    "widenet": "all four experts run on every token, so that those which were not chosen can be read",
    "memoryformer": "tables of 16 rows for every 4 inputs: four multiplications by zero for each that counts",
    "atlas": "128 steps of learning, each a gradient and five Newton-Schulz products of every head's memory",
    "graph-transformer": "eigenvectors of every graph's Laplacian, n^3 in float64",
    "graph-transformer-edges": "a second stream with 128 x 128 pairs, each with an MLP, where the nodes are 128",
    "transformer-program": "one-hot variables of 128 values in the place of numbers",
}
BATCH, N_POS, GOAL = 4, 128, 2.0


def built(entry: Entry, depths: int | None = None, **more: int) -> HookedModel:
    """The entry at the common size, or as near as it can be."""
    wanted = SIZES | OWN.get(entry.name, {}) | more | ({} if depths is None else {"n_layers": depths})
    return entry.make(seed=0, **{size: value for size, value in wanted.items() if size in entry.sizes})


def forward(entry: Entry, model: HookedModel) -> Callable[[], object]:
    """Runs the model on an input of the common size."""
    x = entry.example(model, batch=BATCH, n_pos=N_POS)
    return lambda: model(x)


def reference(name: str) -> Callable[[], object]:
    """The library's own model of that size."""
    kind, head, sizes = REFERENCES[name]
    T = library()
    config = getattr(T, f"{kind}Config")(**sizes, attn_implementation="eager", bos_token_id=0, eos_token_id=0)
    module: nn.Module = getattr(T, f"{kind}{head}")(config).eval()
    x = torch.randint(0, 128, (BATCH, N_POS))
    return lambda: module(x, use_cache=False).logits


def row(entry: Entry, against: str, base: Callable[[], object], own: Callable[[], object], rounds: int) -> dict:
    """One line of the table."""
    with torch.no_grad():
        found = ratios({against: base, entry.name: own}, rounds)
    ms, ratio, spread = found[entry.name]
    return {"entry": entry.name, "against": against, "CPU ms": round(ms, 1), "ratio": round(ratio, 2),
            "IQR": round(spread, 2), "why": WHY.get(entry.name, "") if ratio > GOAL else ""}


def depths_of(model: HookedModel) -> int:
    """Blocks with a token mixer: those between visits have none."""
    mixing = {site.depth for site in model.sites() if site.kind.startswith(("attn.", "mixer.", "ssm.")) or
              site.kind == "hook_mixer_out"}
    return len(mixing) or model.n_layers


def main() -> None:
    """Show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one entry")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.manual_seed(0)
    entries = {entry.name: entry for entry in catalog()}
    lines = []
    for name, entry in entries.items():
        if given.only not in (None, name):
            continue
        model = built(entry)
        own = forward(entry, model)
        if name in REFERENCES:
            lines.append(row(entry, f"transformers {REFERENCES[name][0]}", reference(name), own, given.rounds))
        if (parent := parent_of(name)) is not None:
            other = entries[parent]
            sizes = {"n_ctx": 64} if other.name == "vit" else {}
            twin = built(other, depths_of(model) if "n_layers" in other.sizes else None, **sizes)
            lines.append(row(entry, parent, forward(other, twin), own, given.rounds))
    show_rows("Forward of every entry against its parent", lines)


if __name__ == "__main__":
    main()
