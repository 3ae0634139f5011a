"""What tests of the commands share: a folder of their own, and a small corpus."""

import numpy as np
import pytest
import soundfile


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Prepared data go to a folder of the test."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def manifest(tmp_path):
    """Nine short noises with texts, as a TSV manifest with fixed splits."""
    generator = np.random.default_rng(0)
    lines = ["audio\ttext\tsplit"]
    for number in range(9):
        sound = generator.normal(scale=0.1, size=4000 + 1000 * number)
        soundfile.write(tmp_path / f"{number}.wav", sound, 8000)
        split = ("train", "train", "train", "train", "train", "dev", "dev", "test", "test")[number]
        lines.append(f"{number}.wav\tab {'c' * (number % 4 + 1)}\t{split}")
    path = tmp_path / "manifest.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path
