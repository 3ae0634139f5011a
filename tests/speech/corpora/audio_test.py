import numpy as np
import pytest
import soundfile

from gossamer.speech.corpora import audio


def sine(seconds: float, sample_rate: int, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sixteen_bit_samples_are_exact(tmp_path, suffix):
    pulses = np.random.default_rng(0).integers(-32768, 32768, 800).astype(np.int16)
    soundfile.write(tmp_path / f"a.{suffix}", pulses, 8000, subtype="PCM_16")
    waveform = audio.read(tmp_path / f"a.{suffix}", 8000)
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, pulses / np.float32(32768))


@pytest.mark.parametrize("file_rate", [16000, 44100, 11025])
def test_other_rates_are_resampled(tmp_path, file_rate):
    soundfile.write(tmp_path / "a.wav", sine(1.0, file_rate), file_rate, subtype="FLOAT")
    waveform = audio.read(tmp_path / "a.wav", 8000)
    assert len(waveform) == 8000
    # Away from the edges, a tone below both band limits is the tone sampled at the new rate; soxr's
    # high quality has 20 bits of precision, so half of full scale errs by less than 2**-20.
    middle = slice(1000, 7000)
    np.testing.assert_allclose(waveform[middle], sine(1.0, 8000)[middle], atol=2**-20, rtol=0)


def test_parts_and_channels(tmp_path):
    stereo = np.stack([np.arange(8000), -np.arange(8000)], axis=1).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", stereo, 8000, subtype="PCM_16")
    part = audio.read(tmp_path / "a.wav", 8000, start=0.25, end=0.5, channel=1)
    np.testing.assert_array_equal(part * 32768, -np.arange(2000, 4000))


def test_peaks_of_resampling_stay_in_range(tmp_path):
    square = np.where(sine(0.5, 16000, 500.0) >= 0, 32767, -32768).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", square, 16000, subtype="PCM_16")
    assert np.abs(audio.read(tmp_path / "a.wav", 8000)).max() == 1.0


def write(path, samples, sample_rate=8000, subtype="FLOAT"):
    soundfile.write(path, samples, sample_rate, subtype=subtype)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda p: None, {}, "no such file; correct"),
        (lambda p: p.mkdir(), {}, "no such file"),
        (lambda p: p.write_text("not audio at all"), {}, "not readable as audio: .*convert it"),
        (lambda p: p.write_bytes(b""), {}, "not readable as audio"),
        (lambda p: write(p, np.zeros((80, 2))), {}, r"has 2 channels; pass `channel=0`"),
        (lambda p: write(p, np.zeros((80, 2))), {"channel": 2}, r"must be in 0\.\.1, got 2"),
        (lambda p: write(p, np.zeros(0)), {}, "holds 0 samples"),
        (lambda p: write(p, np.zeros(8000)), {"max_seconds": 0.5}, "1 s exceed the limit of 0.5 s"),
        (lambda p: write(p, np.full(80, np.nan)), {}, "NaN"),
        (lambda p: write(p, np.zeros(80)), {"start": 0.5}, "cannot cut from 0.5 s"),
        (lambda p: write(p, np.zeros(80)), {"start": -1.0}, "0 <= start < end"),
        (lambda p: write(p, np.zeros(80)), {"end": 0.5}, "to 0.5 s out of 0.010 s"),
        (lambda p: write(p, np.zeros(8000)), {"start": 0.5, "end": 0.5}, "0 <= start < end"),
    ],
)
def test_unusable_files_get_one_line_with_name_and_reason(tmp_path, make, options, message):
    make(tmp_path / "greeting.wav")
    with pytest.raises(audio.AudioError, match=message) as caught:
        audio.read(tmp_path / "greeting.wav", 8000, **options)
    assert str(tmp_path / "greeting.wav") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_raw_samples_are_refused(tmp_path):
    (tmp_path / "greeting.raw").write_bytes(bytes(800))
    with pytest.raises(audio.AudioError, match="not readable as audio: of no known format"):
        audio.read(tmp_path / "greeting.raw", 8000)


def test_ten_hours_are_refused_unread(tmp_path):
    write(tmp_path / "long.flac", np.zeros(36_000 * 100, np.int16), 100, subtype="PCM_16")
    with pytest.raises(audio.AudioError, match=r"36000 s exceed the limit of 3600 s; cut it"):
        audio.read(tmp_path / "long.flac", 8000)


def test_cut_off_file_is_refused(tmp_path):
    pulses = np.random.default_rng(0).integers(-32768, 32768, 80_000).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", pulses, 8000, subtype="PCM_16")
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(audio.AudioError, match=r"a\.flac"):
        audio.read(tmp_path / "a.flac", 8000)


def test_sample_rate_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="`sample_rate` must be positive, got 0"):
        audio.read(tmp_path / "a.wav", 0)
