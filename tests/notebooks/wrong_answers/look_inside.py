"""Wrong answers to notebook 01: checking function -> arguments that it must reject."""

WRONG = {
    "count_heads": [(lambda model: 8,), (lambda model: len(model.sites("blocks.*.attn.hook_z")),)],
    "share_back": [
        (lambda pattern, back: pattern.diagonal(back).mean().item(),),  # looks ahead
        (lambda pattern, back: (pattern.diagonal(-back).sum() / len(pattern)).item(),),  # counts queries without a key
    ],
    "without_heads": [(lambda model, heads: 1.0, None), (lambda model, heads: 0.57, None)],
}
