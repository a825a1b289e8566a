"""`Model = stem -> schedule(blocks) -> final norm -> head`: any `Spec` as a module."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.parts.block import Block
from interp.parts.context import Context
from interp.parts.gates import LayerScale
from interp.parts.spec import Spec

INIT_STD = 0.02


class Model(nn.Module):
    """A language model made of parts. Its weights come from `build_model`; by itself it starts as torch does."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        self.embed = nn.Embedding(spec.d_vocab, spec.d_model)
        in_stem = getattr(spec.position, "where", None) == "stem"
        self.pos_embed = spec.position(spec.n_ctx, spec.d_model) if in_stem else None
        self.embed_ln = spec.norm(spec.d_model) if spec.embed_norm else None
        self.blocks = nn.ModuleList(Block(spec) for _ in range(1 if "blocks" in spec.tied else spec.n_layers))
        # a stream that leaves its last block normed needs no further norm
        ends_normed = spec.norm is None or spec.block[-1].norm_sum is not None
        self.ln_final = None if ends_normed else spec.norm(spec.d_model)
        self.unembed = nn.Linear(spec.d_model, spec.d_vocab, bias=False)
        self.tie()

    def tie(self) -> None:
        """Make the unembedding the embedding, where the spec says so."""
        if "head" in self.spec.tied:
            self.unembed.weight = self.embed.weight

    def schedule(self) -> list[tuple[int, int]]:
        """(index of the block, which visit of it) for every execution depth."""
        n = len(self.blocks)
        return [(depth % n, depth // n) for depth in range(self.spec.n_layers)]

    def forward(
        self, input_ids: Int[Tensor, "batch pos"], attention_mask: Int[Tensor, "batch pos"] | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits. `attention_mask` is 1 at real tokens, on either side of the padding."""
        context = Context(input_ids, attention_mask)
        x = self.embed(input_ids)
        if self.pos_embed is not None:
            x = x + self.pos_embed(context.place).to(x.dtype)
        if self.embed_ln is not None:
            x = self.embed_ln(x)
        for index, _ in self.schedule():
            x = self.blocks[index](x, context)
        return self.unembed(x if self.ln_final is None else self.ln_final(x))


def build_model(spec: Spec, seed: int) -> Model:
    """A model whose weights depend on the seed alone; no global random state is read or moved.

    Normal with deviation 0.02, output projections of branches by 1 / sqrt(number of branches) smaller (Radford et al.
    2019, GPT-2, section 2.3); biases 0, gains 1.
    """
    with torch.device("meta"):  # shapes only: torch's own initialisation would draw from the global state
        model = Model(spec)
    model = model.to_empty(device="cpu")
    model.tie()  # moving off the meta device makes two tensors of a shared one
    generator = torch.Generator().manual_seed(seed)
    small = INIT_STD / (len(spec.block) * spec.n_layers) ** 0.5
    with torch.no_grad():
        for path, module in model.named_modules():
            writes = path.endswith((".o", ".down"))
            _initialise(module, small if writes else INIT_STD, generator)
    return model.eval()


def _initialise(module: nn.Module, std: float, generator: torch.Generator) -> None:
    """Fill the parameters that belong to this module itself."""
    if isinstance(module, nn.Linear | nn.Embedding):
        module.weight.normal_(0.0, std, generator=generator)
    elif isinstance(module, LayerScale):
        module.scale.fill_(module.start)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.weight.fill_(1.0)
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor):
        bias.zero_()
