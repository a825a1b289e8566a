"""TokFSM: sequences of states of a random finite-state machine, each state written as several digits.

A language model of them has to know the state, which no single token shows: it is the digits before.
Tamkin, Taufeeque and Goodman 2023, arXiv 2310.17230, section 3.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from interp.hooks import HookedModel
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean


@dataclass(frozen=True)
class TokFSM:
    """A machine of `n_states` states with `n_edges` random next states each, all equally likely, drawn from `seed`.

    Tokens 0 to base - 1 are digits, `begin` opens a sequence. The paper's has 100 states, 10 edges and base 10.
    Raises BadInput for fewer than two states, more edges than states, or a base below 2.
    """

    n_states: int = 100
    n_edges: int = 10
    base: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_states < 2 or not 1 <= self.n_edges <= self.n_states or self.base < 2:
            raise BadInput(f"{self.n_states} states with {self.n_edges} edges each in base {self.base}: give 2 states "
                           "or more, 1 to as many edges, and a base of 2 or more")

    @property
    def digits(self) -> int:
        """Digits of a state: the least that write them all. Whole numbers, since logarithms round."""
        n = 1
        while self.base**n < self.n_states:
            n += 1
        return n

    @property
    def begin(self) -> int:
        return self.base

    @property
    def vocab(self) -> tuple[str, ...]:
        """The text of every token."""
        letters = "0123456789abcdefghijklmnopqrstuvwxyz"
        words = tuple(letters) if self.base <= len(letters) else tuple(f"{i}." for i in range(self.base))
        return (*words[: self.base], "|")

    @cached_property
    def edges(self) -> Bool[Tensor, "state state"]:
        """Which state may follow which."""
        order = torch.rand(self.n_states, self.n_states, generator=Generator().manual_seed(self.seed)).argsort(1)
        return torch.zeros(self.n_states, self.n_states, dtype=torch.bool).scatter_(1, order[:, : self.n_edges], True)

    def write(self, states: Int[Tensor, "row n"]) -> Int[Tensor, "row pos"]:
        """Tokens of sequences of states, `begin` first and the highest digit of each state first."""
        powers = self.base ** torch.arange(self.digits - 1, -1, -1)
        digits = (states[..., None] // powers % self.base).flatten(1)
        return torch.cat([torch.full_like(digits[:, :1], self.begin), digits], 1)

    def read(self, tokens: Int[Tensor, "row pos"]) -> Int[Tensor, "row n"]:
        """States of whole groups of digits behind `begin`; -1 for what is no state."""
        digits = tokens[:, 1:]
        digits = digits[:, : digits.shape[1] // self.digits * self.digits].unflatten(1, (-1, self.digits))
        states = (digits * self.base ** torch.arange(self.digits - 1, -1, -1)).sum(-1)
        return states.where((digits < self.base).all(-1) & (states < self.n_states), -1)

    def states(self, rows: int, length: int, generator: Generator) -> Int[Tensor, "row n"]:
        """Random walks of `length` states from a random start."""
        walk = [torch.randint(self.n_states, (rows,), generator=generator)]
        while len(walk) < length:
            walk.append(torch.multinomial(self.edges[walk[-1]].float(), 1, generator=generator)[:, 0])
        return torch.stack(walk, 1)

    def batch(self, rows: int, length: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Tokens and next tokens [row, length], from random walks."""
        tokens = self.write(self.states(rows, -(-(length + 1) // self.digits), generator))[:, : length + 1]
        return tokens[:, :-1], tokens[:, 1:]

    def labels(self, tokens: Int[Tensor, "row pos"]) -> Int[Tensor, "row pos"]:
        """The state that ends at each token, -100 where none does."""
        found = torch.full_like(tokens, -100)
        states = self.read(tokens)
        found[:, self.digits : 1 + states.shape[1] * self.digits : self.digits] = states.where(states >= 0, -100)
        return found

    def valid(self, tokens: Int[Tensor, "row pos"]) -> Bool[Tensor, "row step"]:
        """Whether each transition between the states that are written is an edge."""
        states = self.read(tokens)
        both = (states[:, :-1] >= 0) & (states[:, 1:] >= 0)
        return self.edges[states[:, :-1].clamp(min=0), states[:, 1:].clamp(min=0)] & both

    @torch.no_grad()
    def state_accuracy(self, model: HookedModel, *, rows: int = 128, length: int = 32, seed: int = 0) -> Estimate:
        """The share of transitions that are edges in sequences that the model writes itself, given `begin` and a state.

        Under `model.edit(...)`, of the edited model. The interval is over sequences.
        """
        generator = Generator().manual_seed(seed)
        tokens = self.write(self.states(rows, 1, generator))
        while tokens.shape[1] < length:
            drawn = torch.multinomial(model(tokens)[:, -1].softmax(-1), 1, generator=generator)
            tokens = torch.cat([tokens, drawn], 1)
        return bootstrap_mean(self.valid(tokens).double().mean(1), unit="sequences")

    @torch.no_grad()
    def next_states(self, model: HookedModel, prompts: Int[Tensor, "row pos"]) -> Float[Tensor, "row state"]:
        """Probability of each next state, all digits together, behind prompts that end with a state."""
        every = self.write(torch.arange(self.n_states)[:, None])[:, 1:]
        full = torch.cat([prompts.repeat_interleave(self.n_states, 0), every.repeat(len(prompts), 1)], 1)
        logs = model(full[:, :-1]).log_softmax(-1)[:, -self.digits :]
        picked = logs.gather(-1, full[:, -self.digits :, None]).sum((1, 2))
        return picked.view(len(prompts), self.n_states).exp()
