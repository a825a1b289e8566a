"""`Model = stem -> schedule(blocks) -> final norm -> head`: any `Spec` as a module."""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.parts.block import Block
from interp.parts.context import Context
from interp.parts.spec import Spec

INIT_STD = 0.02
M = TypeVar("M", bound=nn.Module)


class Model(nn.Module):
    """A language model made of parts. Its weights come from `build_model`; by itself it starts as torch does."""

    ends = ("x = E[tokens]", "logits = x W_U")  # its first and its last equation

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        self.embed = nn.Embedding(spec.d_vocab, spec.d_model)
        in_stem = getattr(spec.position, "where", None) == "stem"
        self.pos_embed = spec.position(spec.n_ctx, spec.d_model) if in_stem else None
        self.embed_ln = spec.norm(spec.d_model) if spec.embed_norm else None
        count = 1 if "blocks" in spec.tied else 3 if "middle" in spec.tied else spec.n_layers
        own = not isinstance(spec.block, tuple)
        self.blocks = nn.ModuleList(spec.block(spec) if own else Block(spec) for _ in range(count))
        # a stream that leaves its last block normed needs no further norm
        ends_normed = spec.norm is None or not own and spec.block[-1].norm_sum is not None
        self.ln_final = None if ends_normed else spec.norm(spec.d_model)
        self.unembed = nn.Linear(spec.d_model, spec.d_vocab, bias=False)
        self.tie()

    def tie(self) -> None:
        """Make the unembedding the embedding, and one block's branches another's, where the spec says so."""
        if "head" in self.spec.tied:
            self.unembed.weight = self.embed.weight
        if "branches" in self.spec.tied:
            for block in self.blocks[1:]:
                for sub in self.spec.block:
                    block.add_module(sub.name, self.blocks[0].get_submodule(sub.name))

    def schedule(self) -> list[tuple[int, int]]:
        """(index of the block, which visit of it) for every execution depth."""
        n = self.spec.n_layers
        if "blocks" in self.spec.tied:
            return [(0, depth) for depth in range(n)]
        if "middle" in self.spec.tied:
            return [(0, 0), *((1, visit) for visit in range(n - 2)), (2, 0)]
        return [(depth, 0) for depth in range(n)]

    def forward(
        self, input_ids: Int[Tensor, "batch pos"], attention_mask: Int[Tensor, "batch pos"] | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits. `attention_mask` is 1 at real tokens, on either side of the padding."""
        return self.run(self.embed(input_ids), Context(input_ids, attention_mask))

    def run(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_out"]:
        """From what the embedding gives to what the unembedding gives."""
        if self.pos_embed is not None:
            x = x + self.pos_embed(context.place).to(x.dtype)
        if self.embed_ln is not None:
            x = self.embed_ln(x)
        for index, _ in self.schedule():
            x = self.blocks[index](x, context)
        x = x[0] if isinstance(x, tuple) else x  # the stream first, then what a block hands on beside it
        return self.unembed(x if self.ln_final is None else self.ln_final(x))


def build_model(spec: Spec, seed: int, make: Callable[[Spec], Model] = Model) -> Model:
    """What `make` makes of the spec, with weights of the seed alone; no global random state is read or moved.

    Normal with deviation 0.02, output projections of branches by 1 / sqrt(number of branches) smaller (Radford et al.
    2019, GPT-2, section 2.3); biases 0, gains 1.
    """
    branches = len(spec.block) if isinstance(spec.block, tuple) else 2
    return built(lambda: make(spec), seed, branches * spec.n_layers)


def built(make: Callable[[], M], seed: int, branches: int) -> M:
    """What `make` makes, with weights as `build_model` gives them; `branches` write to one stream, by `.o` or `.down`.

    A module that shares tensors has a method `tie` that makes them one again.
    """
    with torch.device("meta"):  # shapes only: torch's own initialisation would draw from the global state
        model = make()
    model = model.to_empty(device="cpu")
    if tie := getattr(model, "tie", None):
        tie()  # moving off the meta device makes two tensors of a shared one
    generator = torch.Generator().manual_seed(seed)
    small = INIT_STD / branches**0.5
    with torch.no_grad():
        for path, module in model.named_modules():
            writes = path.endswith((".o", ".down"))
            _initialise(module, small if writes else INIT_STD, generator)
    return model.eval()


def _initialise(module: nn.Module, std: float, generator: torch.Generator) -> None:
    """Fill the parameters and buffers that belong to this module itself; parts that are none of torch's know how."""
    if own := getattr(module, "initialise", None):
        return own(std, generator)
    if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d):
        module.weight.normal_(0.0, std, generator=generator)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and module.weight is not None:
        module.weight.fill_(1.0)
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor):
        bias.zero_()
