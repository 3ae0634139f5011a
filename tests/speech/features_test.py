"""Features against kaldi-native-fbank and against definitions written out in NumPy."""

import jax
import jax.numpy as jnp
import kaldi_native_fbank as knf
import numpy as np
import pytest

from gossamer.speech import features

extract = jax.jit(features.extract)
log_mel = jax.jit(features.log_mel, static_argnums=1)
add_deltas = jax.jit(features.add_deltas)
normalize = jax.jit(features.normalize)
stack_frames = jax.jit(features.stack_frames, static_argnames=("stack", "skip"))


def kaldi_log_mel(waveform, sample_rate=8000, num_filters=40):
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = sample_rate
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = num_filters
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(sample_rate, (32768 * waveform).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(t) for t in range(fbank.num_frames_ready)])


def speechlike(num_samples, seed=0, sample_rate=8000):
    """Harmonics under a slow envelope, noise 60 dB below, a small offset."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples) / sample_rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    voiced = sum(np.sin(k * phase) / k for k in range(1, 12))
    envelope = 0.5 - 0.5 * np.cos(2 * np.pi * 1.3 * time)
    noise = 1e-3 * rng.standard_normal(num_samples)
    return (0.2 * envelope * voiced + noise + 0.01).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8000, 16000])
@pytest.mark.parametrize("num_samples", [400, 8000, 24123])
def test_log_mel_agrees_with_kaldi(sample_rate, num_samples):
    waveform = speechlike(num_samples, sample_rate=sample_rate)
    ours, paddings = log_mel(jnp.asarray(waveform), sample_rate)
    theirs = kaldi_log_mel(waveform, sample_rate)
    assert ours.shape == theirs.shape
    assert not paddings.any()
    # Both sum some 200 products of float32 in different orders: 200 * 2^-24 = 1e-5 of the largest
    # amplitude, and the quietest filter holds an amplitude of about 1% of it.
    np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=0)


def test_silence_reaches_the_floor_of_kaldi():
    silence = np.zeros(8000, np.float32)
    ours, _ = log_mel(jnp.asarray(silence))
    np.testing.assert_allclose(ours, kaldi_log_mel(silence), rtol=1e-6)


def test_log_mel_of_a_tone_peaks_at_its_filter():
    tone = 0.5 * jnp.sin(2 * jnp.pi * 1000 * jnp.arange(8000) / 8000)
    energies, _ = log_mel(tone)
    mel = [1127 * np.log1p(f / 700) for f in (20, 1000, 4000)]
    expected = round(41 * (mel[1] - mel[0]) / (mel[2] - mel[0])) - 1
    assert set(np.argmax(energies, axis=-1).tolist()) == {expected}


def kaldi_deltas(x):
    options = knf.DeltaOptions(order=2, window=2)
    return np.asarray(knf.compute_deltas(options, x))


@pytest.mark.parametrize("num_frames", [1, 3, 20])
def test_deltas_agree_with_kaldi(num_frames):
    x = np.random.default_rng(1).standard_normal((num_frames, 7)).astype(np.float32)
    ours = add_deltas(jnp.asarray(x))
    np.testing.assert_allclose(ours, kaldi_deltas(x), rtol=1e-6, atol=1e-6)


def test_deltas_repeat_the_last_valid_frame():
    x = np.random.default_rng(2).standard_normal((2, 12, 3)).astype(np.float32)
    lengths = [12, 5]
    paddings = np.arange(12)[None] >= np.array(lengths)[:, None]
    ours = add_deltas(jnp.asarray(x), jnp.asarray(paddings, jnp.float32))
    for row, length in enumerate(lengths):
        expected = kaldi_deltas(x[row, :length])
        np.testing.assert_allclose(ours[row, :length], expected, rtol=1e-6, atol=1e-6)
        assert not ours[row, length:].any()


def test_normalize_gives_zero_mean_and_unit_variance():
    x = 5 + 3 * np.random.default_rng(3).standard_normal((2, 50, 4)).astype(np.float32)
    paddings = (np.arange(50)[None] >= np.array([[50], [31]])).astype(np.float32)
    ours = normalize(jnp.asarray(x), jnp.asarray(paddings))
    for row, length in enumerate([50, 31]):
        valid = x[row, :length].astype(np.float64)
        expected = (valid - valid.mean(0)) / np.sqrt(valid.var(0) + features.VARIANCE_FLOOR)
        np.testing.assert_allclose(ours[row, :length], expected, rtol=1e-5, atol=1e-6)
        assert not ours[row, length:].any()


@pytest.mark.parametrize(("stack", "skip"), [(2, 2), (3, 1), (3, 2), (1, 3)])
@pytest.mark.parametrize("num_frames", [1, 6, 7])
def test_stack_frames_by_definition(stack, skip, num_frames):
    x = np.random.default_rng(4).standard_normal((num_frames, 3)).astype(np.float32)
    stacked, paddings = stack_frames(jnp.asarray(x), jnp.zeros(num_frames), stack=stack, skip=skip)
    padded = np.concatenate([x, np.zeros((stack, 3), np.float32)])
    expected = [padded[t : t + stack].reshape(-1) for t in range(0, num_frames, skip)]
    np.testing.assert_array_equal(stacked, np.stack(expected))
    assert paddings.shape == (len(expected),)


def test_assembled_features_are_scaled_deltas_in_stacks():
    x = np.random.default_rng(6).standard_normal((6, 2)).astype(np.float32)
    assembled, _ = jax.jit(features.assemble)(jnp.asarray(x), jnp.zeros(6))
    deltas = kaldi_deltas(x)  # [6, 6]: statics, deltas and delta-deltas of two filters
    expected = deltas * np.repeat(np.array(features.DELTA_SCALES), 2)[None]
    np.testing.assert_allclose(assembled, expected.reshape(3, 12), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [200, 1000, 3999, 4000])
def test_padding_changes_no_valid_frame(length):
    rng = np.random.default_rng(5)
    waveform = speechlike(length)
    alone, _ = extract(jnp.asarray(waveform))
    padded = np.concatenate([waveform, rng.standard_normal(6000 - length).astype(np.float32)])
    waveform_paddings = jnp.asarray(np.arange(6000) >= length, jnp.float32)
    batched, paddings = extract(
        jnp.asarray(padded)[None], waveform_paddings=waveform_paddings[None]
    )
    num_valid = int(np.sum(paddings == 0))
    assert num_valid == len(alone)
    # The sums behind mean and variance may be ordered differently.
    np.testing.assert_allclose(batched[0, :num_valid], alone, rtol=1e-4, atol=1e-4)
    assert not batched[0, num_valid:].any()


def test_contents_of_padding_do_not_matter():
    waveform = np.stack([speechlike(4000)] * 2)
    waveform[1, 2500:] = np.nan
    paddings = jnp.asarray(np.arange(4000)[None] >= np.full((2, 1), 2500), jnp.float32)
    extracted, _ = extract(jnp.asarray(waveform), waveform_paddings=paddings)
    np.testing.assert_array_equal(extracted[0], extracted[1])


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_constant_audio_gives_finite_features(level):
    waveform = jnp.full((2, 4000), level)
    paddings = jnp.asarray(np.arange(4000)[None] >= np.array([[4000], [100]]), jnp.float32)
    extracted, _ = extract(waveform, waveform_paddings=paddings)
    assert np.isfinite(extracted).all()
    assert not extracted[1].any()  # no whole frame is valid


def test_vmap_and_jit_give_the_same_as_a_batch():
    waveform = jnp.stack([jnp.asarray(speechlike(4000, seed)) for seed in range(3)])
    batched, _ = extract(waveform)
    mapped, _ = jax.jit(jax.vmap(features.extract))(waveform)
    np.testing.assert_allclose(batched, mapped, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"window_ms": 200.0}, "`waveform`"),
        ({"hop_ms": 30.0}, "`hop_ms`"),
        ({"high_frequency": 5000.0}, "`high_frequency`"),
    ],
)
def test_log_mel_names_the_bad_argument(options, argument):
    with pytest.raises(ValueError, match=argument):
        features.log_mel(jnp.zeros(1000), **options)


@pytest.mark.parametrize(
    ("sample_rate", "expected"),
    [(8000, (200, 80)), (16000, (400, 160)), (22050, (551, 220)), (11060, (276, 110))],
)
def test_frame_size_has_whole_samples(sample_rate, expected):
    assert features.frame_size(sample_rate) == expected
    frames, _ = features.log_mel(jnp.zeros(sum(expected)), sample_rate)
    assert len(frames) == 2


def test_stack_frames_refuses_an_empty_stack():
    with pytest.raises(ValueError, match="`stack`"):
        features.stack_frames(jnp.zeros((4, 2)), jnp.zeros(4), stack=0)
