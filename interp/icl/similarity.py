"""How alike two learners are, prompt by prompt (Fu et al. 2023, arXiv 2310.17086, section 3).

    SimE(A, B)  cos( (A_k - y_k)_k, (B_k - y_k)_k )     their errors over the points of a prompt
    SimW(A, B)  cos( w_A, w_B )                         weights that explain their answers to many queries behind one
                                                        context, by least squares
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

NONE = 0.05

def error_similarity(
    a: Float[Tensor, "... batch n"], b: Float[Tensor, "... batch n"], ys: Float[Tensor, "batch n"]
) -> Float[Tensor, "... batch"]:
    """SimE of every prompt.

    Both errors get one more coordinate of 5 % of the answers' norm. So two learners that have solved a prompt are alike
    (1), one that has is like no other (0), and what is left of solved prompts does not count, which is the sampling
    error of a read-out (some 5 % for 64 channels and 20000 rows).
    """
    left, right = a.double() - ys, b.double() - ys
    floor = (NONE * ys.double().norm(dim=-1)).clamp_min(1e-300) ** 2
    sizes = (left.square().sum(-1) + floor) * (right.square().sum(-1) + floor)
    return ((left * right).sum(-1) + floor) / sizes.sqrt()


def induced_weights(
    queries: Float[Tensor, "batch query d"], said: Float[Tensor, "... batch query"]
) -> Float[Tensor, "... batch d"]:
    """The weights that explain answers to queries best, behind each context."""
    return (torch.linalg.pinv(queries.double()) @ said.double()[..., None])[..., 0]


def weight_similarity(a: Float[Tensor, "... batch d"], b: Float[Tensor, "... batch d"]) -> Float[Tensor, "... batch"]:
    """SimW of every prompt from induced weights; weights of zero are like zero weights alone."""
    a, b = torch.broadcast_tensors(a, b)
    none = a.norm(dim=-1).le(1e-12) & b.norm(dim=-1).le(1e-12)
    return torch.where(none, 1.0, cosine_similarity(a, b, dim=-1, eps=1e-12))
