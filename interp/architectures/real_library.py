"""A model of `transformers` that reads and says numbers: its blocks between a linear read-in and a linear read-out."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.adapters.transformers import site_map
from interp.hooks.model import HookedModel
from interp.hooks.tap import Tap
from interp.parts.real_model import check_inputs


class RealLibrary(nn.Module):
    """`base` without its embedding: out = base(s W_in + b_in) W_U + b_U, s [batch, pos, d_input]."""

    def __init__(self, base: nn.Module, d_input: int, d_output: int):
        super().__init__()
        self.d_input = d_input
        width = base.config.hidden_size
        self.base, self.embed, self.unembed = base, nn.Linear(d_input, width), nn.Linear(width, d_output)
        base.set_input_embeddings(nn.Identity())  # or a table that nobody reads would be kept

    def forward(
        self, inputs: Float[Tensor, "batch pos d_input"], attention_mask: Tensor | None = None
    ) -> Float[Tensor, "batch pos d_output"]:
        """Numbers at every position. Raises BadInput for another width."""
        check_inputs(inputs, self.d_input)
        x = self.base(inputs_embeds=self.embed(inputs), attention_mask=attention_mask, use_cache=False)
        return self.unembed(x.last_hidden_state)


def hook_library(base: nn.Module, reals: tuple[int, int], seed: int, name: str) -> HookedModel:
    """`base` between read-in and read-out, as `HookedModel`; the two are drawn from the seed as torch's linear maps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        m = site_map(base).within("base")
        module = RealLibrary(base, *reals).eval()
    for kind, path in (("hook_embed", "embed"), ("output", "")):
        site, tap = m.sites[kind]
        m.sites[kind] = replace(site, module=path), Tap(path, view=tap.view)
    m.input_name, m.d_vocab, m.unembed = "inputs", None, "unembed"
    return HookedModel(module, m, name=name)
