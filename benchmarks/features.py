"""Log-mel features against kaldi-native-fbank, on a minute of telephone-band audio.

    python benchmarks/features.py

Both compute the same 40 filters from the same samples in one process, by turns.  Kaldi's code uses
one thread, XLA all cores, and each starts from samples in the form it takes fastest: a list of
floats (its binding converts them one by one) and a device array.  Prints medians, their ratio, and
the largest difference between the results.
"""

import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import kaldi_native_fbank
import numpy as np

from gossamer.speech import features

SAMPLE_RATE, SECONDS, ROUNDS = 8000, 60, 15


def synthesize() -> np.ndarray:
    """Harmonics of a gliding pitch under a syllable-like envelope, noise 60 dB below them."""
    rng = np.random.default_rng(0)
    seconds = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
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


def measure(function, argument) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(argument))
    return time.perf_counter() - start


def main():
    waveform = synthesize()
    on_device, samples = jnp.asarray(waveform), (features.FULL_SCALE * waveform).tolist()
    log_mel = jax.jit(partial(features.log_mel, sample_rate=SAMPLE_RATE))
    extract = jax.jit(partial(features.extract, sample_rate=SAMPLE_RATE))
    difference = np.abs(np.asarray(log_mel(on_device)[0]) - run_kaldi(samples)).max()
    jax.block_until_ready(extract(on_device))

    rounds = [
        (measure(log_mel, on_device), measure(extract, on_device), measure(run_kaldi, samples))
        for _ in range(ROUNDS)
    ]
    ours, everything, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {SECONDS} s at {SAMPLE_RATE} Hz"
    )
    print(f"gossamer log_mel            {1e3 * ours:8.1f} ms")
    print(f"kaldi-native-fbank          {1e3 * theirs:8.1f} ms, {theirs / ours:.1f} times ours")
    print(f"gossamer extract (240-dim)  {1e3 * everything:8.1f} ms")
    print(f"largest difference of log_mel {difference:.1e}")


if __name__ == "__main__":
    main()
