"""Representer scores: a last layer's logits as a weighted sum over training examples.

Where the last layer W minimizes the mean loss plus l2 ||W||^2, its stationarity condition gives

    logit_c(q) = sum_n alpha[n, c] <f_n, f_q>,    alpha[n, c] = -(1 / (2 l2 N)) dl_n / dlogit_c,

with the features f that go into it.  The terms are the scores.  They see the last layer alone.

References:
    C.-K. Yeh et al., "Representer Point Selection for Explaining Deep Neural Networks", 2018,
        arXiv:1811.09720.
"""

import numpy as np


def representer_scores(
    features: np.ndarray,
    logit_gradients: np.ndarray,
    query_features: np.ndarray,
    query_labels: np.ndarray,
    *,
    l2: float,
) -> np.ndarray:
    """The share of each training example in the logit of each query's label.

    Args:
        features: [N, d] what goes into the last layer; append a 1 for its bias.
        logit_gradients: [N, C] gradient of each training loss with respect to the logits.
        query_features: [Q, d].
        query_labels: [Q] int, the logit that is explained.
        l2: factor of ||W||^2 in the objective, > 0.

    Returns:
        [Q, N] scores; their sum over n is the logit where W is stationary.

    Raises:
        ValueError: if `l2` is not positive.
    """
    if l2 <= 0:
        raise ValueError(f"`l2` must be above 0, got {l2}; without it there is no representer.")
    alphas = -logit_gradients / (2 * l2 * len(features))
    return (query_features @ features.T) * alphas[:, query_labels].T
