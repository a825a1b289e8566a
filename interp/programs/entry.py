"""The Transformer Program model in the catalog. Importing this module puts it there."""

from dataclasses import fields

import torch

from interp.architectures.catalog import register
from interp.architectures.entry import Entry
from interp.hooks.model import HookedModel, Inputs
from interp.programs.hooked import build_program_model, hook_program
from interp.programs.sizes import ProgramSizes

NAME = "transformer-program"
_DEFAULTS = {"d_vocab": 8, "n_ctx": 8, "d_vocab_out": 8, "cardinality": None}  # None: as many values as are needed


def program_recipe(sizes: ProgramSizes) -> dict:
    """What `save` writes so that a model of these sizes can be built again."""
    return {"source": "catalog", "name": NAME, "sizes": {f.name: int(getattr(sizes, f.name)) for f in fields(sizes)}}


def sizes_of(recipe: dict) -> ProgramSizes:
    """The inverse of `program_recipe`."""
    flags = {name: bool(recipe["sizes"].get(name, False)) for name in ("causal", "pooled")}
    return ProgramSizes(**recipe["sizes"] | flags)


def _make(*, seed: int, **given: int | None) -> HookedModel:
    chosen = ENTRY.sizes | {name: value for name, value in given.items() if value is not None}
    if chosen["cardinality"] is None:
        chosen["cardinality"] = max(2, chosen["n_ctx"], 0 if chosen["factors"] else chosen["d_vocab"])
    sizes = sizes_of({"sizes": chosen})
    return hook_program(build_program_model(sizes, seed).eval(), name=NAME, recipe=program_recipe(sizes))


def _example(model: HookedModel, *, batch: int = 16, n_pos: int | None = None, seed: int = 0) -> Inputs:
    """Full sequences, and more of them than elsewhere: where all choices are hard, a few inputs move few of them."""
    sizes = model.module.sizes
    return torch.randint(0, sizes.pad, (batch, n_pos or sizes.n_ctx), generator=torch.Generator().manual_seed(seed))


def _equations(model: HookedModel) -> list[tuple[str, str]]:
    sizes = model.module.sizes
    tokens = f"{sizes.factors} learned variables of each token" if sizes.factors else "one_hot(tokens)"
    rows = [
        (f"x = {tokens} | 1 | one_hot(positions)", "hook_embed, hook_pos_embed"),
        (f"for d = 0 .. {sizes.n_layers - 1}:", ""),
        ("  resid_pre = x   (| puts variables side by side; g_* are one-hot)", "hook_resid_pre"),
        ("  q, k, v = g_q x, g_k x, g_v x", "attn.hook_gate_q|gate_k|gate_v|q|k|v"),
        ("  match = q^T P k,  P with one-hot rows", "attn.hook_predicate"),
    ]
    if sizes.cat_heads:
        rows += [("  pattern = the closest match, else position 0", "attn.hook_attn_scores|pattern"),
                 ("  z = pattern v", "attn.hook_z")]
    if sizes.num_heads:
        rows += [("  count = match v   (v a number, such as 1)", "num_attn.hook_pattern|z")]
    rows += [("  x = x | z | count", "hook_attn_out")]
    if sizes.cat_mlps + sizes.num_mlps:
        rows += [("  resid_mid = x", "hook_resid_mid"),
                 ("  w = one_hot(argmax W_2 relu(W_1 (g_1 x | g_2 x)))", "mlp.hook_gate|read|pre|post|logits|value"),
                 ("  x = x | w", "hook_mlp_out, hook_resid_post")]
    mean = "mean over positions of " if sizes.pooled else ""
    return [*rows, (f"logits = {mean}W x", "output")]


ENTRY = Entry(
    name=NAME,
    title="Transformer Program: attention by predicates and look-up MLPs over named discrete variables",
    family="programs",
    kind="sequence labeller",
    citation="Friedman, Wettig & Chen 2023, Learning Transformer Programs, arXiv 2306.01128",
    make=_make,
    sizes=_DEFAULTS | {f.name: int(f.default) for f in fields(ProgramSizes) if f.name not in _DEFAULTS},
    equations=_equations,
    example=_example,
)

register(ENTRY)
