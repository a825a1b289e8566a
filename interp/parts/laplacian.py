"""Positions of nodes: eigenvectors of the graph's Laplacian (Belkin & Niyogi 2003; Dwivedi & Bresson 2020, 2012.09699,
section 2.1).

    L = I - D^-1/2 A D^-1/2,  L u_k = lambda_k u_k,  0 = lambda_0 <= lambda_1 ...     positions of node i: u_1i, u_2i ..

Surprises: on a path they are the cosines that sinusoidal positions are made of; and they are no function of a node
alone, for their signs are free, and where an eigenvalue comes twice any turn of its vectors would do as well.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def laplacian_vectors(adjacency: Bool[Tensor, "batch node node"], count: int) -> Float[Tensor, "batch node count"]:
    """The `count` eigenvectors behind the first of I - D^-1/2 A D^-1/2, in float64; zeros where there are fewer.

    Their largest entry is positive, a convention: the sign is free, and training should flip it at random (the paper).
    Where an eigenvalue comes twice, its vectors are free too.
    """
    a = (adjacency | adjacency.transpose(1, 2)).double()
    eye = torch.eye(a.shape[1]).to(a)
    a = a * (1 - eye)
    root = a.sum(-1).clamp(min=1).rsqrt()
    vectors = torch.linalg.eigh(eye - root[:, :, None] * a * root[:, None])[1]
    vectors = vectors[:, :, 1 : 1 + count]
    sign = vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    return nn.functional.pad(vectors * sign, (0, count - vectors.shape[2]))
