import functools
import itertools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies
from jax.sharding import AxisType, PartitionSpec

from gossamer.speech import lattice, transducer_loss

loss_of = jax.jit(transducer_loss.transducer_loss, static_argnames="blank_id")
joint_loss_of = transducer_loss.joint_transducer_loss


def problem(seed, batch=3, frames=5, labels=4, vocabulary=6, ragged=True):
    """Logits, logit paddings, labels and label paddings; the first sequence has full length."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, frames + 1, batch) if ragged else np.full(batch, frames)
    label_lengths = rng.integers(0, labels + 1, batch) if ragged else np.full(batch, labels)
    lengths[0], label_lengths[0] = frames, labels
    return (
        2 * rng.normal(size=(batch, frames, labels + 1, vocabulary)),
        (np.arange(frames) >= lengths[:, None]).astype(np.float64),
        rng.integers(1, vocabulary, (batch, labels)),
        (np.arange(labels) >= label_lengths[:, None]).astype(np.float64),
    )


def sequences(logits, logit_paddings, labels, label_paddings):
    """The unpadded log-probabilities and labels of each sequence."""
    log_probs = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    for i in range(len(logits)):
        frames = int(np.sum(1 - logit_paddings[i]))
        length = int(np.sum(1 - label_paddings[i]))
        yield log_probs[i, :frames, : length + 1], labels[i, :length]


def enumerated_loss(log_probs, labels):
    """Sums over every order of T blanks and U labels that ends with a blank."""
    frames, length = len(log_probs), len(labels)
    probability = 0.0
    for places in itertools.combinations(range(frames + length - 1), length):
        t, u, total = 0, 0, 0.0
        for position in range(frames + length):
            if position in places:
                total += log_probs[t, u, labels[u]]
                u += 1
            else:
                total += log_probs[t, u, 0]
                t += 1
        probability += np.exp(total)
    return -np.log(probability)


def recursive_loss(log_probs, labels):
    """The forward recursion in double precision."""
    frames, length = len(log_probs), len(labels)
    alpha = np.full((frames, length + 1), -np.inf)
    alpha[0, 0] = 0
    for t in range(frames):
        for u in range(length + 1):
            if t > 0:
                alpha[t, u] = np.logaddexp(alpha[t, u], alpha[t - 1, u] + log_probs[t - 1, u, 0])
            if u > 0:
                step = alpha[t, u - 1] + log_probs[t, u - 1, labels[u - 1]]
                alpha[t, u] = np.logaddexp(alpha[t, u], step)
    return -(alpha[-1, -1] + log_probs[-1, -1, 0])


def reference_losses(*arguments):
    return np.array([recursive_loss(*each) for each in sequences(*arguments)])


def plain_loss(logits, labels):
    """One unpadded sequence, differentiated by JAX through every step."""
    log_probs = jax.nn.log_softmax(logits)
    frames, length = logits.shape[0], len(labels)
    alpha = {(0, 0): jnp.zeros(())}
    for t, u in itertools.product(range(frames), range(length + 1)):
        terms = []
        if t > 0:
            terms.append(alpha[t - 1, u] + log_probs[t - 1, u, 0])
        if u > 0:
            terms.append(alpha[t, u - 1] + log_probs[t, u - 1, labels[u - 1]])
        if terms:
            alpha[t, u] = functools.reduce(jnp.logaddexp, terms)
    return -(alpha[frames - 1, length] + log_probs[-1, -1, 0])


@jax.jit
def gradient_of(logits, *rest):
    return jax.grad(lambda x: jnp.sum(loss_of(x, *rest)))(logits)


def single(arguments):
    return tuple(jnp.asarray(x, None if x.dtype.kind == "i" else jnp.float32) for x in arguments)


@pytest.mark.parametrize(("frames", "labels"), [(1, 0), (1, 1), (1, 3), (3, 0), (2, 4), (4, 3)])
def test_equals_the_sum_over_all_alignments(frames, labels, float64):
    arguments = problem(frames + 10 * labels, frames=frames, labels=labels)
    expected = [enumerated_loss(*each) for each in sequences(*arguments)]
    np.testing.assert_allclose(loss_of(*arguments), expected, rtol=1e-12)


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1),
    batch=strategies.integers(1, 3),
    frames=strategies.integers(1, 7),
    labels=strategies.integers(0, 7),
    vocabulary=strategies.integers(2, 5),
)
def test_equals_the_recursion_in_double_precision(seed, batch, frames, labels, vocabulary):
    arguments = problem(seed, batch, frames, labels, vocabulary)
    # Float32 logits of up to 10 carry an error of 1e-6 per arc, hence 1e-6 relative in a sum.
    np.testing.assert_allclose(
        loss_of(*single(arguments)), reference_losses(*arguments), rtol=3e-6, atol=3e-6
    )


def test_gradient_equals_finite_differences(float64):
    logits, *rest = problem(1, batch=2, frames=3, labels=2, vocabulary=3)
    gradient = np.asarray(gradient_of(logits, *rest))
    step = 1e-5
    for index in np.ndindex(*logits.shape):
        shift = np.zeros_like(logits)
        shift[index] = step
        upper, lower = (
            reference_losses(logits + shift, *rest),
            reference_losses(logits - shift, *rest),
        )
        difference = np.sum(upper - lower) / (2 * step)
        np.testing.assert_allclose(gradient[index], difference, atol=1e-9)  # step**2 and 1e-15/step


def test_gradient_equals_autodiff_of_the_plain_recursion(float64):
    arguments = problem(2, batch=2, frames=4, labels=3)
    gradient = gradient_of(*arguments)
    for i, (log_probs, labels) in enumerate(sequences(*arguments)):
        frames, nodes, _ = log_probs.shape
        expected = jax.jit(jax.grad(plain_loss))(
            jnp.asarray(arguments[0][i, :frames, :nodes]), labels
        )
        np.testing.assert_allclose(gradient[i, :frames, :nodes], expected, atol=1e-13)


def test_float32_stays_accurate_on_long_recordings(float64):
    logits, *rest = problem(3, batch=1, frames=1200, labels=100, vocabulary=5)
    logits = logits.astype(np.float32)
    wide = logits.astype(np.float64)
    loss, gradient = loss_of(logits, *rest), gradient_of(logits, *rest)
    assert loss.dtype == gradient.dtype == jnp.float32
    np.testing.assert_allclose(loss, reference_losses(wide, *rest), rtol=1e-6)
    # Where posteriors matter shifted values stay below 32, so a step rounds by at most 2e-6; over
    # 1300 steps roundings of random sign sum to 2e-6 * sqrt(1300) = 7e-5 times the occupation.
    np.testing.assert_allclose(gradient, gradient_of(wide, *rest), atol=7e-5)


def test_padding_changes_nothing_and_gets_no_gradient():
    logits, logit_paddings, labels, label_paddings = problem(4, ragged=False)
    frames, nodes = logits.shape[1:3]
    wider = (
        np.pad(logits, ((0, 0), (0, 3), (0, 2), (0, 0)), constant_values=np.nan),
        np.pad(logit_paddings, ((0, 0), (0, 3)), constant_values=1),
        np.pad(labels, ((0, 0), (0, 2)), constant_values=-1),
        np.pad(label_paddings, ((0, 0), (0, 2)), constant_values=1),
    )
    narrow, wide = single((logits, logit_paddings, labels, label_paddings)), single(wider)
    np.testing.assert_allclose(loss_of(*wide), loss_of(*narrow), rtol=1e-6)
    gradient = np.array(gradient_of(*wide))
    np.testing.assert_allclose(
        gradient[:, :frames, :nodes], gradient_of(*narrow), rtol=1e-5, atol=1e-6
    )
    gradient[:, :frames, :nodes] = 0
    assert np.all(gradient == 0)


def test_a_sequence_without_frames_has_no_loss_and_no_gradient():
    logits, logit_paddings, labels, label_paddings = single(problem(5))
    logit_paddings = logit_paddings.at[1].set(1)
    logits = logits.at[1].set(jnp.nan)
    loss = loss_of(logits, logit_paddings, labels, label_paddings)
    assert loss[1] == 0
    assert np.all(np.isfinite(loss))
    gradient = gradient_of(logits, logit_paddings, labels, label_paddings)
    assert np.all(gradient[1] == 0)
    assert np.all(np.isfinite(gradient))


def test_labels_of_probability_zero_cost_the_floor():
    logits, *rest = single(problem(6, ragged=False))
    impossible = logits.at[0, :, :, rest[1][0, 0]].set(-jnp.inf)
    impossible = impossible.at[1].set(-jnp.inf)
    loss = loss_of(impossible, *rest)
    assert np.all(np.isfinite(loss))
    assert loss[0] >= -lattice.FLOOR
    assert loss[1] >= -lattice.FLOOR
    assert np.all(np.isfinite(gradient_of(impossible, *rest)))


def test_unused_symbols_of_probability_zero_are_harmless(float64):
    logits, paddings, labels, label_paddings = problem(7)
    masked = np.pad(logits, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=-np.inf)
    rest = (paddings, labels, label_paddings)
    np.testing.assert_allclose(loss_of(masked, *rest), loss_of(logits, *rest), rtol=1e-14)
    expected = np.pad(gradient_of(logits, *rest), ((0, 0), (0, 0), (0, 0), (0, 1)))
    np.testing.assert_allclose(gradient_of(masked, *rest), expected, atol=1e-14)


def test_a_certain_alignment_has_loss_zero():
    labels = jnp.array([[1, 2]])
    logits = jnp.zeros((1, 3, 3, 3)).at[:, :, 2, 0].set(200)
    logits = logits.at[:, :, [0, 1], [1, 2]].set(200)
    loss = loss_of(logits, jnp.zeros((1, 3)), labels, jnp.zeros((1, 2)))
    assert loss[0] == 0
    assert np.signbit(loss[0]) == 0


def test_bfloat16_logits_use_a_float32_recursion():
    logits, *rest = single(problem(8))
    low = logits.astype(jnp.bfloat16)
    loss, gradient = loss_of(low, *rest), gradient_of(low, *rest)
    assert loss.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    wide = low.astype(jnp.float32)
    np.testing.assert_allclose(loss, loss_of(wide, *rest), rtol=1e-6)
    expected = gradient_of(wide, *rest).astype(jnp.bfloat16)
    np.testing.assert_array_equal(gradient, expected)


def test_the_blank_may_be_any_symbol(float64):
    logits, paddings, labels, label_paddings = problem(9)
    moved = np.concatenate([logits[..., 1:], logits[..., :1]], axis=-1)
    last = logits.shape[-1] - 1
    np.testing.assert_allclose(
        loss_of(moved, paddings, labels - 1, label_paddings, blank_id=last),
        loss_of(logits, paddings, labels, label_paddings),
        rtol=1e-14,
    )


def joint_problem(seed, frames=7):
    _, logit_paddings, labels, label_paddings = problem(seed, frames=frames)
    rng = np.random.default_rng(seed)
    weights = {"kernel": rng.normal(size=(8, 6)), "bias": rng.normal(size=6)}
    encoded, predicted = rng.normal(size=(3, frames, 8)), rng.normal(size=(3, 5, 8))
    return weights, encoded, predicted, (logit_paddings, labels, label_paddings)


def joint_losses(weights, encoded, predicted, rest, **options):
    def joiner(frames, prefixes):
        return jnp.tanh(frames * prefixes) @ weights["kernel"] + weights["bias"].reshape(1, 1, 1, 6)

    if not options:
        return loss_of(joiner(encoded[:, :, None], predicted[:, None]), *rest)
    return joint_loss_of(joiner, encoded, predicted, *rest, **options)


def joint_value_and_grad(weights, encoded, predicted, rest, **options):
    def total(*arguments):
        return jnp.sum(joint_losses(*arguments, rest, **options))

    return jax.value_and_grad(total, argnums=(0, 1, 2))(weights, encoded, predicted)


def assert_trees_close(actual, expected, atol):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), actual, expected)


@pytest.mark.parametrize("frames_per_tile", [None, 1, 3])
def test_tiles_equal_the_dense_loss(frames_per_tile, float64):
    arguments = joint_problem(10)
    tiled = jax.jit(functools.partial(joint_value_and_grad, frames_per_tile=frames_per_tile))
    dense = jax.jit(joint_value_and_grad)
    assert_trees_close(tiled(*arguments), dense(*arguments), atol=1e-12)


def test_learners_under_vmap_equal_a_loop(float64):
    problems = [joint_problem(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *problems)
    tiled = jax.jit(functools.partial(joint_value_and_grad, frames_per_tile=2))
    expected = jax.tree.map(lambda *x: jnp.stack(x), *(tiled(*each) for each in problems))
    assert_trees_close(jax.jit(jax.vmap(tiled))(*stacked), expected, atol=1e-12)


def test_learners_under_shard_map_equal_vmap(float64):
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *(joint_problem(seed) for seed in range(4)))
    mesh = jax.make_mesh((4,), ("learner",), axis_types=(AxisType.Auto,))
    tiled = jax.jit(functools.partial(joint_value_and_grad, frames_per_tile=2))
    axis = PartitionSpec("learner")
    sharded = jax.jit(jax.shard_map(jax.vmap(tiled), mesh=mesh, in_specs=axis, out_specs=axis))
    assert_trees_close(sharded(*stacked), jax.jit(jax.vmap(tiled))(*stacked), atol=1e-12)


def test_batch_shards_of_shared_weights_sum_to_the_whole_gradient(float64):
    weights, *data = joint_problem(11)
    data = jax.tree.map(lambda x: jnp.concatenate([x, x[:1]]), data)
    mesh = jax.make_mesh((4,), ("learner",), axis_types=(AxisType.Auto,))
    axis = PartitionSpec("learner")

    def total(weights, *data):
        return jnp.sum(joint_losses(weights, *data, frames_per_tile=2))

    def shard(weights, *data):
        return jax.lax.psum(total(weights, *data), "learner")

    whole = jax.shard_map(
        shard, mesh=mesh, in_specs=(PartitionSpec(), axis, axis, axis), out_specs=PartitionSpec()
    )
    assert_trees_close(
        jax.jit(jax.grad(whole))(weights, *data),
        jax.jit(jax.grad(total))(weights, *data),
        atol=1e-12,
    )


def test_tiles_never_hold_the_logits():
    batch, frames, nodes, size, vocabulary = 2, 64, 17, 16, 256
    shapes = [(batch, frames, size), (batch, nodes, size), (size, vocabulary)]
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    labels = jnp.ones((batch, nodes - 1), jnp.int32)
    rest = (jnp.zeros((batch, frames)), labels, jnp.zeros(labels.shape))

    def total(encoded, predicted, kernel):
        def joiner(frames, prefixes):
            return jnp.tanh(frames + prefixes) @ kernel

        return jnp.sum(joint_loss_of(joiner, encoded, predicted, *rest, frames_per_tile=1))

    compiled = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2))).lower(*arrays).compile()
    logits = 4 * batch * frames * nodes * vocabulary
    assert compiled.memory_analysis().temp_size_in_bytes < logits / 4


def test_bad_arguments_are_named():
    logits, logit_paddings, labels, label_paddings = single(problem(13))
    with pytest.raises(ValueError, match="`logit_paddings` must have shape"):
        loss_of(logits, logit_paddings[:, 1:], labels, label_paddings)
    with pytest.raises(ValueError, match="`labels` must have shape"):
        loss_of(logits, logit_paddings, labels[:, 1:], label_paddings[:, 1:])
    with pytest.raises(ValueError, match="`blank_id` must lie in the vocabulary of 6, got 6"):
        loss_of(logits, logit_paddings, labels, label_paddings, blank_id=6)
    weights, encoded, predicted, rest = joint_problem(13)
    with pytest.raises(ValueError, match="`frames_per_tile` must be at least 1, got 0"):
        joint_losses(weights, encoded, predicted, rest, frames_per_tile=0)
