"""Log-mel features against kaldi-native-fbank and against our own steps with a Fourier transform.

    pip install 'kaldi-native-fbank>=1.22.4'
    python benchmarks/features.py

All compute the same 40 filters from the same samples in one process, by turns, on 1 and 10 minutes
of telephone-band audio.  Kaldi's code uses one thread, XLA all cores, and each starts from samples
in the form it takes fastest: a list of floats (its binding converts them one by one) and a device
array.  Prints medians, their ratios to ours, and the largest difference from Kaldi.
"""

import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import peers

from gossamer.speech import features, filter_bank

kaldi_native_fbank = peers.require("kaldi_native_fbank", "kaldi-native-fbank")

SAMPLE_RATE, ROUNDS = 8000, 11
WINDOW, HOP, TRANSFORM_SIZE = 200, 80, 256


def synthesize(duration: int) -> np.ndarray:
    """Harmonics of a gliding pitch under a syllable-like envelope, noise 60 dB below them."""
    rng = np.random.default_rng(0)
    seconds = np.arange(duration * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * seconds)) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    envelope = 0.5 - 0.5 * np.cos(2 * np.pi * 3.1 * seconds)
    return (0.2 * envelope * voice + 2e-4 * rng.standard_normal(seconds.size)).astype(np.float32)


def run_kaldi(samples: list[float]) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 40
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(SAMPLE_RATE, samples)
    fbank.input_finished()
    return np.stack([fbank.get_frame(t) for t in range(fbank.num_frames_ready)])


@jax.jit
def transform_steps(waveform: jax.Array) -> jax.Array:
    """The features with Kaldi's steps one by one and a fast Fourier transform."""
    num_frames = 1 + (len(waveform) - WINDOW) // HOP
    frames = features._frames(features.FULL_SCALE * waveform, WINDOW, HOP, num_frames)
    frames = frames - jnp.mean(frames, axis=1, keepdims=True)
    previous = jnp.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    povey = jnp.hanning(WINDOW) ** 0.85
    spectrum = jnp.fft.rfft((frames - 0.97 * previous) * povey[None], TRANSFORM_SIZE)[:, :-1]
    _, filters = filter_bank.build(SAMPLE_RATE, WINDOW)
    energies = features._product(spectrum.real**2 + spectrum.imag**2, filters)
    return jnp.log(jnp.maximum(energies, features.ENERGY_FLOOR))


def measure(function, argument) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(argument))
    return time.perf_counter() - start


def compare(duration: int):
    waveform = synthesize(duration)
    on_device, samples = jnp.asarray(waveform), (features.FULL_SCALE * waveform).tolist()
    log_mel = jax.jit(partial(features.log_mel, sample_rate=SAMPLE_RATE))
    extract = jax.jit(partial(features.extract, sample_rate=SAMPLE_RATE))
    result, expected = np.asarray(log_mel(on_device)[0]), run_kaldi(samples)
    contenders = {
        "gossamer log_mel": (log_mel, on_device),
        "the same by rfft": (transform_steps, on_device),
        "kaldi-native-fbank": (run_kaldi, samples),
        "gossamer extract (240-dim)": (extract, on_device),
    }
    for contender in contenders.values():
        measure(*contender)  # compiles
    rounds = [[measure(*pair) for pair in contenders.values()] for _ in range(ROUNDS)]
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    print(
        f"{duration} s at {SAMPLE_RATE} Hz, largest difference from Kaldi "
        f"{np.abs(result - expected).max():.1e}"
    )
    for name, median in zip(contenders, medians, strict=True):
        print(f"  {name:28} {1e3 * median:8.1f} ms, {median / medians[0]:.2f} times log_mel")


def main():
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    for duration in (60, 600):
        compare(duration)


if __name__ == "__main__":
    main()
