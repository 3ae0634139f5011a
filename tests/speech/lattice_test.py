import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech import lattice

arc_posteriors = jax.jit(lattice.arc_posteriors)
lattice_loss = jax.jit(lattice.lattice_loss)


@jax.jit
def total_loss(log_probs, *rest):
    return jnp.sum(lattice_loss(log_probs, *rest))


gradient_of = jax.jit(jax.grad(total_loss))


def log_probs_of(seed, batch=3, frames=6, nodes=5):
    rng = np.random.default_rng(seed)
    return lattice.Arcs(*np.log(rng.uniform(0.05, 0.5, (2, batch, frames, nodes))))


def paddings(lengths, size):
    return (np.arange(size) >= np.asarray(lengths)[:, None]).astype(np.float64)


def test_posteriors_count_alignments_of_equal_weight(float64):
    # The last of 4 blanks comes last; 3 blanks and 2 labels in any order make 10 paths of equal
    # weight, and those that begin with a blank order 2 blanks and 2 labels: 6.
    ones = lattice.Arcs(jnp.zeros((1, 4, 3)), jnp.zeros((1, 4, 3)))
    rest = paddings([4], 4), paddings([2], 2)
    posteriors = arc_posteriors(ones, *rest)
    np.testing.assert_allclose(posteriors.blank[0, 0, 0], 6 / 10, rtol=1e-14)
    np.testing.assert_allclose(posteriors.label[0, 0, 0], 4 / 10, rtol=1e-14)


def test_gradient_is_minus_the_posterior(float64):
    log_probs = log_probs_of(0)
    rest = paddings([6, 3, 1], 6), paddings([4, 2, 0], 4)
    gradient = gradient_of(log_probs, *rest)
    posteriors = arc_posteriors(log_probs, *rest)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, -y), gradient, posteriors)


def test_every_frame_has_one_blank_and_every_label_one_frame(float64):
    lengths, label_lengths = np.array([6, 3, 1]), np.array([4, 2, 0])
    rest = paddings(lengths, 6), paddings(label_lengths, 4)
    posteriors = arc_posteriors(log_probs_of(1), *rest)
    np.testing.assert_allclose(posteriors.blank.sum(axis=2), 1 - rest[0], atol=1e-14)
    np.testing.assert_allclose(posteriors.label.sum(axis=1)[:, :-1], 1 - rest[1], atol=1e-14)
    assert np.all(posteriors.label[:, :, -1] == 0)


def test_low_precision_arcs_get_gradients_of_their_own_type():
    log_probs = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), log_probs_of(2))
    rest = paddings([6, 3, 1], 6), paddings([4, 2, 0], 4)
    loss, gradient = total_loss(log_probs, *rest), gradient_of(log_probs, *rest)
    assert loss.dtype == jnp.float32
    assert gradient.blank.dtype == gradient.label.dtype == jnp.bfloat16


def test_infinite_log_probabilities_stay_finite():
    log_probs = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), log_probs_of(3))
    blocked = log_probs._replace(label=jnp.full_like(log_probs.label, -jnp.inf))
    rest = paddings([6, 6, 6], 6), paddings([4, 1, 0], 4)
    loss = lattice_loss(blocked, *rest)
    np.testing.assert_allclose(loss[:2], [4e5, 1e5], rtol=1e-4)
    assert loss[2] < 100
    gradient = gradient_of(blocked, *rest)
    assert all(np.all(np.isfinite(x)) for x in gradient)
