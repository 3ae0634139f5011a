"""What all networks are made of: convolution, batch norm, dense, pooling and dropout.

A network calls them by the names that its PyTorch definition gives to the same layers, such as
``f.norm("bn1", f.conv("conv1", x, 64))``, so that counts and weights of the definitions carry over
as they are, see `conversion`.  Images are ``[batch, height, width, channels]``.

Weights come to a layer as they are to be used, in float or as codes, see ``core.quantization``;
activations are quantized at the site "input" of each convolution and dense layer.  In training,
batch norm divides by the statistics of the batch at hand and reports them, not their moving
average, as the collection "batch_stats": averaging is left to ``core.training``.
"""

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ...core.convolution import convolve
from ...core.quantization import Policy
from ...core.quantized import Tensor, matmul
from ...core.sites import quantize_site, site_name

_DENSE_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # that of PyTorch


def _conv_init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Normal, of variance 2 / (height width out).

    Drawn in a row: draws of four dimensions take XLA ten times longer to compile on a CPU.
    """
    height, width, _, outputs = shape
    noise = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return noise * math.sqrt(2 / (height * width * outputs))


@dataclass(frozen=True)
class Options:
    """What is the same in all layers of a network."""

    width: float = 1.0
    """Factor of all numbers of channels, for small machines; they stay multiples of 8."""
    dtype: str = "float32"
    """Of activations and products; parameters, statistics and logits stay in float32."""
    policy: Policy | None = None
    """Which weights and activations are quantized."""

    def __post_init__(self):
        if not self.width > 0:
            raise ValueError(f"`width` must be positive, got {self.width}.")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"`dtype` must be float32 or bfloat16, got {self.dtype!r}.")
        if self.policy is not None and self.dtype != "float32":
            raise ValueError("`dtype` must be float32 where `policy` quantizes; leave it out.")

    def scaled(self, channels: int, multiple: int = 8) -> int:
        """A number of channels of the definition, in this width."""
        if self.width == 1:
            return channels
        return multiple * max(1, round(channels * self.width / multiple))


class Conv(nn.Module):
    """A convolution with zero padding and a bias if asked for.

    Attributes:
        features: channels of the result.
        kernel_size: height and width of the kernel.
        stride: of the window, in both directions.
        padding: zeros around the image; None for half the kernel, which keeps the size.
        groups: of channels that do not meet.
        bias: whether there is one.
        options: of the network.
    """

    features: int
    kernel_size: int
    stride: int
    padding: int | None
    groups: int
    bias: bool
    options: Options

    @nn.compact
    def __call__(self, x: Tensor) -> jax.Array:
        """``[batch, height, width, in] -> [batch, height', width', features]``."""
        x = quantize_site(self, self.options.policy, "input", x)
        size = self.kernel_size
        shape = (size, size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", _conv_init, shape)
        if self.options.policy is None:
            kernel = kernel.astype(self.options.dtype)
        y = convolve(
            x,
            kernel,
            stride=self.stride,
            padding=size // 2 if self.padding is None else self.padding,
            groups=self.groups,
            name=site_name(self, "kernel"),
        )
        return _add_bias(self, y) if self.bias else y


class Dense(nn.Module):
    """``x W + b``.

    Attributes:
        features: size of the outputs.
        options: of the network.
    """

    features: int
    options: Options

    @nn.compact
    def __call__(self, x: Tensor) -> jax.Array:
        """``[batch, in] -> [batch, features]``."""
        x = quantize_site(self, self.options.policy, "input", x)
        kernel = self.param("kernel", _DENSE_INIT, (x.shape[-1], self.features))
        if self.options.policy is None:
            kernel = kernel.astype(self.options.dtype)
        return _add_bias(self, matmul(x, kernel, name=site_name(self, "kernel")))


def _add_bias(module: Any, x: jax.Array) -> jax.Array:
    bias = module.param("bias", nn.initializers.zeros, (x.shape[-1],))
    return x + bias.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


@dataclass(frozen=True)
class Layers:
    """The layers of one call of a network; the module that calls owns what they create."""

    options: Options
    train: bool

    def conv(
        self,
        name: str,
        x: Tensor,
        features: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> jax.Array:
        """See `Conv`."""
        size = (kernel_size, stride, padding, groups)
        return Conv(features, *size, bias, self.options, name=name)(x)

    def norm(self, name: str, x: jax.Array) -> jax.Array:
        """Batch norm: y = scale (x - mean) / sqrt(var + 1e-5) + bias, for each channel."""
        layer = nn.BatchNorm(
            use_running_average=not self.train,
            momentum=0.0,  # what is reported are the statistics of this batch alone
            epsilon=1e-5,
            dtype=self.options.dtype,
            name=name,
        )
        return layer(x)

    def conv_norm(self, names: tuple[str, str], x: Tensor, *size: int, **options: Any) -> jax.Array:
        """A convolution and its batch norm."""
        return self.norm(names[1], self.conv(names[0], x, *size, **options))

    def dense(self, name: str, x: Tensor, features: int) -> jax.Array:
        """See `Dense`."""
        return Dense(features, self.options, name=name)(x)

    def head(self, name: str, x: jax.Array, num_classes: int) -> jax.Array:
        """Logits ``[batch, num_classes]`` in float32, of the mean over the image."""
        return self.dense(name, spatial_mean(x), num_classes).astype(jnp.float32)

    def drop(self, module: nn.Module, x: jax.Array, rate: float, *, whole: bool = False):
        """Dropout of elements, or of whole examples (drop connect, stochastic depth)."""
        if not self.train or rate == 0:
            return x
        shape = (len(x),) + (1,) * (x.ndim - 1) if whole else x.shape
        # Drawn in a row: draws of four dimensions take long to compile.
        keep = jax.random.bernoulli(module.make_rng("dropout"), 1 - rate, (math.prod(shape),))
        return jnp.where(keep.reshape(shape), x / (1 - rate), 0)


def max_pool(x: jax.Array, size: int, stride: int, padding: int = 0) -> jax.Array:
    """The largest value of each window, as maxima of shifted images.

    Elementwise operations fuse, forward and backward; the window operations of XLA do not, and are
    many times slower on a CPU.  Equal maxima share the gradient.
    """
    edges = (padding, padding)
    x = jnp.pad(x, ((0, 0), edges, edges, (0, 0)), constant_values=-jnp.inf)
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    largest = None
    for i in range(size):
        for j in range(size):
            rows = slice(i, i + stride * (height - 1) + 1, stride)
            columns = slice(j, j + stride * (width - 1) + 1, stride)
            part = x[:, rows, columns]
            largest = part if largest is None else jnp.maximum(largest, part)
    assert largest is not None
    return largest


def mean_pool(x: jax.Array, size: int, stride: int, padding: int = 0) -> jax.Array:
    """The mean of each window, in which padding counts as zeros."""
    edges: Any = ((padding, padding), (padding, padding))  # flax declares a string
    return nn.avg_pool(x, (size, size), (stride, stride), edges)


def spatial_mean(x: jax.Array) -> jax.Array:
    """``[batch, height, width, channels] -> [batch, channels]``, summed in float32."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.float32).astype(x.dtype)


def adaptive_mean(x: jax.Array, size: int) -> jax.Array:
    """Means of `size` x `size` windows of any image, flattened channel by channel.

    Window i covers rows floor(i h / size) to ceil((i + 1) h / size), as PyTorch has it, so that a
    smaller image is repeated.

    Returns:
        ``[batch, channels * size * size]`` in PyTorch's order.
    """
    for axis in (1, 2):
        side = x.shape[axis]
        windows = []
        for i in range(size):
            start, stop = i * side // size, -(-(i + 1) * side // size)
            part = jax.lax.slice_in_dim(x, start, stop, axis=axis)
            windows.append(jnp.mean(part, axis=axis, keepdims=True))
        x = jnp.concatenate(windows, axis=axis)
    return jnp.transpose(x, (0, 3, 1, 2)).reshape(len(x), -1)
