"""The Transformer Program model: a transformer whose parts are made so that training ends in a program.

    x_0      = tokens | positions | 1                             named variables side by side, one-hot or numbers
    x'_l     = x_l  + write(heads_l(x_l))                         every operator writes rows of its own,
    x_{l+1}  = x'_l + write(mlps_l(x'_l))                         so that nothing is ever mixed
    logits   = W x_L                                              (mean over positions where `pooled`)

Friedman, Wettig & Chen 2023, Learning Transformer Programs, arXiv 2306.01128.
The stream is feature-first, [d_model, batch, pos]: all reads of a layer are then one matrix product.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from interp.hooks.tap import mark
from interp.programs.gumbel import Choice
from interp.programs.heads import CategoricalHeads, Context, NumericalHeads, preference
from interp.programs.mlps import Mlps
from interp.programs.sizes import ProgramSizes
from interp.programs.stream import Stream, Write
from interp.results.errors import BadInput


class TransformerProgramModel(nn.Module):
    """See the module. In eval mode every choice is its argmax, so all variables are exact; in training mode `choice`
    says how options are drawn. Padding (the last id) stands behind the tokens and is never looked at."""

    def __init__(self, sizes: ProgramSizes):
        super().__init__()
        self.sizes, self.choice = sizes, Choice("soft")
        self.embed = Tokens(sizes)
        self.pos_embed = Places(sizes)
        self.blocks = nn.ModuleList(Layer(sizes, layer) for layer in range(sizes.n_layers))
        self.unembed = nn.Linear(sizes.d_model, sizes.d_vocab_out, bias=False)

    def forward(
        self, input_ids: Int[Tensor, "batch pos"], attention_mask: Int[Tensor, "batch pos"] | None = None
    ) -> Float[Tensor, "batch *pos label"]:
        """Scores of the labels at every position, or of the sequence where pooled.

        Raises BadInput for a mask that hides a token before one that it shows: positions count from the left.
        """
        context, real = self.context(input_ids, attention_mask)
        stream = self.pos_embed(input_ids).onto(self.embed(input_ids, context.choose).onto(self.empty(input_ids)))
        for block in self.blocks:
            stream = block(stream, context)
        scores = self.unembed(torch.cat(stream).flatten(1).T).view(*input_ids.shape, -1)
        if not self.sizes.pooled:
            return scores
        weight = real.to(scores.dtype)
        return (scores * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)

    def empty(self, input_ids: Int[Tensor, "batch pos"]) -> Stream:
        """A stream to which nothing was written."""
        zeros = self.unembed.weight.new_zeros(self.sizes.d_model, *input_ids.shape)
        return Stream(zeros[: self.sizes.numbers_at], zeros[self.sizes.numbers_at :])

    def context(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> tuple[Context, Tensor]:
        """What operators share, and which tokens are real [batch, pos]."""
        like = self.unembed.weight
        real = input_ids != self.sizes.pad
        if attention_mask is not None:
            real = real & attention_mask.bool()
            if not real[:, 0].all() or (real[:, 1:] > real[:, :-1]).any():
                raise BadInput("the mask must keep tokens on the left and padding on the right: positions are values")
        n = input_ids.shape[1]
        visible = real[:, None, :].to(like.dtype).expand(-1, n, -1)
        if self.sizes.causal:
            visible = visible.tril()
        choose = self.choice if self.training else Choice("argmax")
        return Context(choose, visible, preference(n, like)), real


class Tokens(nn.Module):
    """The variables of a token, and the number 1: its id as a one-hot, or `factors` learned codes."""

    def __init__(self, sizes: ProgramSizes):
        super().__init__()
        self.sizes = sizes
        shape = (sizes.factors, sizes.d_vocab, sizes.cardinality)
        self.logits = nn.Parameter(torch.randn(shape)) if sizes.factors else None
        # follows the model's type and device, also where nothing is learned
        self.register_buffer("codes", torch.eye(sizes.d_vocab, sizes.cardinality)[None], persistent=False)

    def table(self, choose: Choice) -> Float[Tensor, "variable word value"]:
        """The value of each variable for every word."""
        return self.codes if self.logits is None else choose(self.logits)

    def forward(self, input_ids: Int[Tensor, "batch pos"], choose: Choice) -> Write:
        values = self.table(choose)[:, input_ids].permute(0, 3, 1, 2).flatten(0, 1)
        return Write(symbols=values, numbers=torch.ones_like(values[:1]))


class Places(nn.Module):
    """The position as a one-hot, at its place in the stream."""

    def __init__(self, sizes: ProgramSizes):
        super().__init__()
        self.sizes = sizes
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, input_ids: Int[Tensor, "batch pos"]) -> Write:
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        rows = one_hot(place, self.sizes.cardinality).T.to(self.like.dtype)[:, None]
        return Write(self.sizes.token_variables * self.sizes.cardinality, rows.expand(-1, len(input_ids), -1))


class Layer(nn.Module):
    """Heads, then MLPs, which may read what these heads wrote."""

    def __init__(self, sizes: ProgramSizes, layer: int):
        super().__init__()
        self.heads = Heads(sizes, layer)
        self.mlps = MlpPair(sizes, layer) if sizes.cat_mlps + sizes.num_mlps else None

    def forward(self, stream: Stream, context: Context) -> Stream:
        stream = mark(self, "resid_mid", self.heads(stream, context).onto(stream))
        return stream if self.mlps is None else self.mlps(stream, context).onto(stream)


class Heads(nn.Module):
    """All heads of a layer; what they write, at its rows of the stream."""

    def __init__(self, sizes: ProgramSizes, layer: int):
        super().__init__()
        k, cat, num = sizes.cardinality, sizes.categorical(layer), sizes.numerical(layer)
        self.at, self.numbers_at = cat * k, num
        self.categorical = CategoricalHeads(sizes.cat_heads, cat, k) if sizes.cat_heads else None
        self.numerical = NumericalHeads(sizes.num_heads, cat, num, k) if sizes.num_heads else None

    def forward(self, stream: Stream, context: Context) -> Write:
        symbols, numbers = (part and part(stream, context) for part in (self.categorical, self.numerical))
        return Write(self.at, symbols, self.numbers_at, numbers)


class MlpPair(nn.Module):
    """The MLPs of a layer that read symbols, and those that read numbers; all write symbols."""

    def __init__(self, sizes: ProgramSizes, layer: int):
        super().__init__()
        k, cat, num = sizes.cardinality, sizes.categorical(layer, heads=True), sizes.numerical(layer, heads=True)
        self.at = cat * k
        self.categorical = Mlps(sizes.cat_mlps, cat, k, sizes.d_mlp) if sizes.cat_mlps else None
        self.numerical = Mlps(sizes.num_mlps, num, k, sizes.d_mlp, counts=True) if sizes.num_mlps else None

    def forward(self, stream: Stream, context: Context) -> Write:
        parts = [part(stream, context) for part in (self.categorical, self.numerical) if part is not None]
        return Write(self.at, torch.cat(parts))
