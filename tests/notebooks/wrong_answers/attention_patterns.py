"""Wrong answers to notebook 02: checking function -> arguments that it must reject."""

import torch


def _first_copy(tokens):
    pattern = torch.zeros(len(tokens), len(tokens))
    for query in range(len(tokens)):
        pattern[query, (tokens == tokens[query]).float().argmax()] = 1
    return pattern


def _transposed(pattern):
    name = {"previous": pattern.diagonal(1), "self": pattern.diagonal(), "first": pattern[0]}
    return max(name, key=lambda key: name[key].mean().item())


WRONG = {
    "name_pattern": [(_transposed,), (lambda pattern: "mixed",)],
    "logit_when_turned": [
        (lambda model, many, repeat, heads: 0.0,),
        (lambda model, many, repeat, heads: -float(len(heads)),),
    ],
    "latest_copy": [(_first_copy,), (lambda tokens: torch.eye(len(tokens)),)],
}
