"""The plain layers of a quantizable network: where activations are quantized, and two layers.

Weights come to a layer as they are to be used, in float or as codes, see ``core.quantization``; a
layer multiplies them with `quantized.matmul`. What a layer decides itself is where activations are
quantized, see ``core.sites``.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ..core.quantization import Policy
from ..core.quantized import Quantized, Tensor, matmul, take
from ..core.sites import quantize_site, site_name


class Dense(nn.Module):
    """``x W + b``, like ``flax.linen.Dense``, with a quantized product where so configured.

    Attributes:
        features: size of the outputs.
        policy: rules for the site "input".
    """

    features: int
    policy: Policy | None = None

    @nn.compact
    def __call__(self, x: Tensor) -> jax.Array:
        """``[..., in] -> [..., features]``."""
        x = quantize_site(self, self.policy, "input", x)
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        product = matmul(x, kernel, name=site_name(self, "kernel"))
        return product + bias.reshape((1,) * (product.ndim - 1) + (-1,))


class Embedding(nn.Module):
    """A vector for each symbol, like ``flax.linen.Embed``; codes where the vectors are quantized.

    Attributes:
        number: of symbols.
        features: size of a vector.
    """

    number: int
    features: int

    @nn.compact
    def __call__(self, indices: jax.Array) -> Tensor:
        """``[...] -> [..., features]``."""
        initializer = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        embedding = self.param("embedding", initializer, (self.number, self.features))
        return take(embedding, indices, name=site_name(self, "embedding"))


class LookAhead(nn.Module):
    """Adds to each frame the next ones, cell by cell: y_t = x_t + sum_k w_k x_{t + k}.

    At the start of training the weights are zero.

    Attributes:
        frames: the next frames that a frame waits for.

    References:
        Wang et al., Lookahead convolution layer for unidirectional recurrent neural networks,
        ICLR 2016 workshop.
    """

    frames: int

    @nn.compact
    def __call__(self, x: jax.Array, past: jax.Array, *, is_last: bool) -> tuple[jax.Array, ...]:
        """Mixes what has waited long enough.

        Args:
            x: ``[batch, time, size]``, zero at padded frames.
            past: ``[batch, 0 or frames, size]``, those that wait: what the call before returned.
            is_last: whether zeros follow, so that nothing waits any longer.

        Returns:
            ``[batch, waiting + time - frames, size]``, or all if `is_last`, and those that wait.
        """
        initializer = nn.initializers.zeros
        weights = self.param("weights", initializer, (self.frames + 1, x.shape[-1]))
        x = jnp.concatenate([past, x], axis=1)
        waiting = x[:, x.shape[1] - self.frames :]
        if is_last:
            x = jnp.pad(x, ((0, 0), (0, self.frames), (0, 0)))
        ready = x.shape[1] - self.frames
        mixed = (weights[None, [k]] * x[:, k : k + ready] for k in range(self.frames + 1))
        return sum(mixed, start=x[:, :ready]), waiting


def zero_padding(x: jax.Array, paddings: jax.Array) -> jax.Array:
    """Sets padded frames ``[batch, time, ...]`` to zero; `paddings` is ``[batch, time]``."""
    keep = (1 - paddings).reshape(paddings.shape + (1,) * (x.ndim - 2))
    return x * keep.astype(x.dtype)


def draw_mask(key: jax.Array, probability: float, shape: tuple[int, ...]) -> jax.Array:
    """Draws ones with a probability: the numbers of `jax.random.bernoulli`, in any shape.

    They are drawn in a row, because draws of four dimensions take XLA ten times longer to compile
    on the CPU, several seconds each.
    """
    return jax.random.bernoulli(key, probability, (math.prod(shape),)).reshape(shape)


def dropout(module: nn.Module, x: Tensor, rate: float, *, deterministic: bool) -> Tensor:
    """Drops elements with probability `rate`; codes become zero and stay whole numbers."""
    if deterministic or rate == 0:
        return x
    keep = draw_mask(module.make_rng("dropout"), 1 - rate, x.shape)
    if isinstance(x, Quantized):
        return x.masked(keep, 1 - rate)
    return jnp.where(keep, x / (1 - rate), 0)
