"""`ProgramSizes`: what a Transformer Program model is made of, and where each variable lies in its stream."""

from dataclasses import dataclass

from interp.results.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class ProgramSizes:
    """Sizes of a model. Heads and MLPs are per layer.

    `cardinality` is the number of values of every categorical variable, so at least n_ctx and, with `factors` 0, at
    least d_vocab. With `factors` above 0 tokens become that many learned variables. `pooled` models give one answer
    a sequence. The last id of the vocabulary is padding.
    Raises BadInput for sizes that do not fit together.
    """

    d_vocab: int
    n_ctx: int
    d_vocab_out: int
    cardinality: int
    n_layers: int = 1
    cat_heads: int = 4
    num_heads: int = 4
    cat_mlps: int = 2
    num_mlps: int = 2
    d_mlp: int = 64
    factors: int = 0
    causal: bool = False
    pooled: bool = False

    def __post_init__(self) -> None:
        for name, least in (("d_vocab", 1), ("n_ctx", 1), ("d_vocab_out", 1), ("n_layers", 1), ("d_mlp", 1),
                            ("cat_heads", 0), ("num_heads", 0), ("cat_mlps", 0), ("num_mlps", 0), ("factors", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"{name}={getattr(self, name)} was asked for; {least} is the least")
        words = 0 if self.factors else self.d_vocab
        if self.cardinality < max(self.n_ctx, words, 2):
            raise BadInput(f"variables of {self.cardinality} values do not hold {self.n_ctx} positions"
                           + (f" and {words} words; learned factors would (factors=4)" if words else "")
                           + f": give a cardinality of {max(self.n_ctx, words, 2)} or more")
        if not self.cat_heads + self.num_heads:
            raise BadInput("a model without any head cannot look at other positions; give cat_heads or num_heads")

    @property
    def pad(self) -> int:
        return self.d_vocab - 1

    @property
    def token_variables(self) -> int:
        return self.factors or 1

    def categorical(self, layer: int, *, heads: bool = False) -> int:
        """Categorical variables there are before `layer`, or behind its heads."""
        written = layer * (self.cat_heads + self.cat_mlps + self.num_mlps)
        return self.token_variables + 1 + written + heads * self.cat_heads

    def numerical(self, layer: int, *, heads: bool = False) -> int:
        """Numerical variables there are before `layer`, or behind its heads."""
        return 1 + (layer + heads) * self.num_heads

    @property
    def numbers_at(self) -> int:
        """Row of the stream at which the numerical variables begin: behind all categorical ones."""
        return self.cardinality * self.categorical(self.n_layers)

    @property
    def d_model(self) -> int:
        """Width of the stream, which is that of the classifier."""
        return self.numbers_at + self.numerical(self.n_layers)

    def names(self) -> tuple[list[str], list[str]]:
        """The categorical and the numerical variables, in the order of the stream."""
        tokens = [f"factor_{i}" for i in range(self.factors)] or ["tokens"]
        cat, num = [*tokens, "positions"], ["ones"]
        for layer in range(self.n_layers):
            cat += [f"head_{layer}_{i}" for i in range(self.cat_heads)]
            cat += [f"mlp_{layer}_{i}" for i in range(self.cat_mlps)]
            cat += [f"num_mlp_{layer}_{i}" for i in range(self.num_mlps)]
            num += [f"count_{layer}_{i}" for i in range(self.num_heads)]
        return cat, num
