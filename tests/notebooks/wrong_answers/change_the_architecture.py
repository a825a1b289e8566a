"""Wrong answers to notebook 12: checking function -> arguments that it must reject."""

from itertools import combinations

import torch

WRONG = {
    "fair_pairs": [
        (lambda made_of: set(map(frozenset, combinations(made_of, 2))),),  # all pairs
        (lambda made_of: {frozenset((a, b)) for a, b in combinations(made_of, 2)
                          if sum(made_of[a][key] == made_of[b][key] for key in made_of[a]) == 1},),  # the same in one
    ],
    "mixer_sites": [
        (lambda model: [f"blocks.{depth}.hook_attn_out" for depth in range(model.n_layers)],),
        (lambda model: [write for block in model.map.blocks.values() for s in block.steps for write in s.writes],),
    ],
    "token_shift": [
        (lambda stream, mix: mix * stream + (1 - mix) * stream.roll(1, 1),),  # the last one comes in at the front
        (lambda stream, mix: mix * stream + (1 - mix) * torch.cat([stream[:, 1:], 0 * stream[:, :1]], 1),),  # ahead
        (lambda stream, mix: stream,),
    ],
}
