"""Influence scores of training examples, for any pure ``loss(params, example) -> scalar``.

One convention throughout: scores are [queries, training examples], and a positive one supports the
query, which is to say that training on the example lowers what is explained of the query.

    gradient_dot, gradient_cosine, self_influence    at one set of parameters
    tracin, tracin_f                                 over checkpoints, over variants of the last
    influence_function                               with CG, LiSSA, Arnoldi or EKFAC
    metagradient_scores                              through the whole training
    sketch_gradients, nearest                        for many queries
    representer_scores                               of the last layer

All parameters count, whatever layer they belong to.
"""

from .blocks import Blocks, Padding
from .checkpoints import tracin, tracin_f
from .curvature import Fisher, GaussNewton, Hessian
from .directional import directional_scores, example_gradients, gradient_norms
from .gradient_similarity import gradient_cosine, gradient_dot, self_influence
from .influence import influence_function, inverse_products
from .kronecker import EKFAC
from .representer import representer_scores
from .sketches import nearest, sketch_gradients
from .solvers import CG, Arnoldi, LiSSA
from .unrolling import metagradient_scores, train_unrolled
from .variants import continued_variants, noisy_variants

__all__ = [
    "Arnoldi",
    "Blocks",
    "CG",
    "EKFAC",
    "Fisher",
    "GaussNewton",
    "Hessian",
    "LiSSA",
    "Padding",
    "continued_variants",
    "directional_scores",
    "example_gradients",
    "gradient_cosine",
    "gradient_dot",
    "gradient_norms",
    "influence_function",
    "inverse_products",
    "metagradient_scores",
    "nearest",
    "noisy_variants",
    "representer_scores",
    "self_influence",
    "sketch_gradients",
    "tracin",
    "tracin_f",
    "train_unrolled",
]
