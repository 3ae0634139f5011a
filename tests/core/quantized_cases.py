"""What the tests of codes share: shapes of operands and scales, codes of them, their numbers."""

import jax.numpy as jnp
import numpy as np

from gossamer.core.quantized import Quantized

X_FORMS = {  # shape, shape of the scale; three matrices are as many as there are groups
    "[rows, in] []": ((5, 12), ()),
    "[rows, in] [1, 1]": ((5, 12), (1, 1)),
    "[3, rows, in] [3, 1, 1]": ((3, 5, 12), (3, 1, 1)),
    "[2, 3, rows, in] [2, 3, 1, 1]": ((2, 3, 5, 12), (2, 3, 1, 1)),
    "[rows, in] [groups]": ((5, 12), (3,)),
    "[in] []": ((12,), ()),
    "[in] [groups]": ((12,), (3,)),
}
W_FORMS = {
    "[]": ((12, 4), ()),
    "[1, 1]": ((12, 4), (1, 1)),
    "[1, out]": ((12, 4), (1, 4)),
    "[groups, out]": ((12, 4), (3, 4)),
    "stack [3, 1, 1]": ((3, 12, 4), (3, 1, 1)),
    "stack [3, 1, out]": ((3, 12, 4), (3, 1, 4)),
}


def tensor(form, *, seed=0, levels=127, dyadic=False, dtype=np.float32):
    """Codes of all magnitudes up to `levels`, scales of any digits or powers of two."""
    shape, scale_shape = form
    generator = np.random.default_rng(seed)
    codes = generator.integers(-levels, levels, shape, endpoint=True).astype(dtype)
    if dyadic:
        scale = np.exp2(generator.integers(-3, 0, scale_shape, endpoint=True))
    else:
        scale = generator.uniform(0.1, 1.0, scale_shape)
    scale = jnp.asarray(scale, jnp.float32)
    return Quantized(jnp.asarray(codes), scale, 8 if levels > 7 else 4, levels)


def pair(x_form, w_form, **options):
    return tensor(X_FORMS[x_form], **options), tensor(W_FORMS[w_form], seed=1, **options)


def by_hand(quantized, *, activation=False):
    """The numbers codes * scale, one index of the inputs after the other."""
    codes = np.asarray(quantized.codes).astype(np.float32)
    scale = np.asarray(quantized.scale)
    axis = -1 if activation else -2
    rows = []
    for i in range(codes.shape[axis]):
        row = np.take(codes, i, axis)
        if scale.ndim == 0:
            rows.append(row * scale)
        elif scale.ndim == 1:
            rows.append(row * scale[i * len(scale) // codes.shape[-1]])
        elif activation:
            rows.append(row * scale[..., 0])
        else:
            rows.append(row * scale[..., i * scale.shape[-2] // codes.shape[-2], :])
    return np.stack(rows, axis)
