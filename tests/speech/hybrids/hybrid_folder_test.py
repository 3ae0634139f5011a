"""The hybrid that ships, found by its name."""

import csv

import numpy as np
import pytest

from gossamer.cli.main import main
from gossamer.speech.corpora import corpus
from gossamer.speech.hybrids import hybrid, hybrid_folder, hybrid_run, pronunciations
from gossamer.speech.hybrids.hybrid_folder import PRETRAINED

NAMES = ["vm-savefolder", "conf-full", "vm-reenterpassword"]


@pytest.fixture(scope="module")
def prompts():
    return [prompt for prompt in corpus.telephone_prompts().test if prompt.name in NAMES]


def test_it_is_found_by_its_name(tmp_path, monkeypatch):
    assert hybrid_folder.find("hybrid") == PRETRAINED
    assert hybrid_folder.find(PRETRAINED) == PRETRAINED
    assert hybrid_folder.find("prompts") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hybrid").mkdir()  # a run of that name that is not finished
    assert hybrid_folder.find("hybrid") is None


def test_it_dates_words_as_pocketsphinx_does(prompts):
    """Of recordings that it was not trained on."""
    with (corpus.PROMPTS / "words.tsv").open(encoding="utf-8", newline="") as file:
        theirs = [row for row in csv.DictReader(file, delimiter="\t") if row["name"] in NAMES]
    starts = {name: [float(x["start"]) for x in theirs if x["name"] == name] for name in NAMES}
    model = hybrid_run.read_run(PRETRAINED)
    texts = [prompt.text for prompt in prompts]
    spoken = pronunciations.of_run(PRETRAINED, None, " ".join(texts).split())
    found = hybrid.align(model, [prompt.waveform for prompt in prompts], texts, spoken)
    differences = [
        word.start - start
        for prompt, aligned in zip(prompts, found, strict=True)
        for word, start in zip(aligned[1], starts[prompt.name], strict=True)
    ]
    assert len(differences) == sum(len(text.split()) for text in texts)
    assert np.median(np.abs(differences)) < 0.035


def test_it_reads(prompts, capsys):
    paths = [str(corpus.PROMPTS / f"{name}.flac") for name in NAMES]
    assert main(["transcribe", "--pretrained", "hybrid", *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {prompt.name: prompt.text for prompt in prompts}
    heard = [line.split(maxsplit=1)[1] for line in lines]
    words = [
        len(set(text.split()) & set(said[n].split())) for n, text in zip(NAMES, heard, strict=True)
    ]
    assert sum(words) >= 0.7 * len(" ".join(said.values()).split())
