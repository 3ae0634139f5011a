"""Our packed recognizer against pocketsphinx on the held-out telephone prompts.

    pip install pocketsphinx
    python benchmarks/prompts_pocketsphinx.py                    # the recognizer that ships
    python benchmarks/prompts_pocketsphinx.py --run runs/small   # your own
    python benchmarks/prompts_pocketsphinx.py --peer-only

Pocketsphinx runs with the US-English models of its wheel and its default beams and weights, in
four ways, each kinder than the one before: fed in blocks as from a microphone, so that the cepstral
mean is a running one; with whole utterances, whose own mean is subtracted; with a trigram of our
training transcripts in place of its general one, since our recognizer too has read them; and with
the empty band above 4 kHz filled by a mirror image of the band below, since its acoustic model
knows only wide-band speech.  It gets the recordings resampled to 16 kHz; that, and loading its
models, is not counted.  It runs on one thread, utterance by utterance; ours on all cores, in
batches.

David Huggins-Daines et al., PocketSphinx: a free, real-time continuous speech recognition system
for hand-held devices, ICASSP 2006.  John Makhoul and Michael Berouti, High-frequency regeneration
in speech coding systems, ICASSP 1979 (the mirror image).
"""

import argparse
import importlib.metadata
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import peers
import soxr
from rich.console import Console
from rich.table import Table

from gossamer.speech import evaluation, experiment, recognizer
from gossamer.speech.corpora import corpus
from gossamer.speech.text import normalize
from gossamer.speech.word_error import WordErrorRate, word_error_rate

pocketsphinx = peers.require("pocketsphinx")
language_models = peers.require("pocketsphinx.lm")

SAMPLE_RATE = 16_000  # Hz, what the peer's acoustic model wants
BLOCK_SECONDS = 0.1
MIRROR = 0.6  # gain of the mirror image; the best of 0.05, 0.2 and 0.6 on these prompts


class Row(NamedTuple):
    """One line of the table."""

    name: str
    errors: WordErrorRate
    real_time_factor: float  # seconds of computing per second of speech
    num_bytes: int  # of the model files


def main():
    parser = argparse.ArgumentParser(description="Held-out prompts: gossamer and pocketsphinx.")
    parser.add_argument("--run", type=Path, help="run folder of your own recognizer")
    parser.add_argument("--pretrained", default="prompts", help="recognizer that ships")
    parser.add_argument("--peer-only", action="store_true", help="pocketsphinx alone")
    options = parser.parse_args()
    prompts = corpus.telephone_prompts()
    rows = [] if options.peer_only else [run_ours(options, prompts)]
    with tempfile.TemporaryDirectory() as folder:
        trigram = Path(folder) / "prompts.lm"
        write_trigram(trigram, prompts.train.texts)
        rows += [
            run_peer("pocketsphinx, fed in blocks", prompts.test, whole=False),
            run_peer("pocketsphinx, whole utterances", prompts.test),
            run_peer("the same, trigram of the prompts", prompts.test, lm=str(trigram)),
            run_peer("the same, upper band mirrored", prompts.test, mirror=MIRROR, lm=str(trigram)),
        ]
    show(rows, prompts.test)


def run_ours(options: argparse.Namespace, prompts: corpus.Corpus) -> Row:
    folder = Path(recognizer.__file__).parent / "pretrained"
    path = folder / f"{options.pretrained}.safetensors"
    if options.run:
        path = options.run / experiment.PACKED
    try:
        model = recognizer.load(path)
    except ValueError as error:
        raise SystemExit(f"{error} Without one of ours, pass --peer-only.") from None
    result = evaluation.evaluate(model, prompts.test)
    name = f"gossamer, {options.run or options.pretrained}"
    return Row(name, result.errors, result.real_time_factor, path.stat().st_size)


def run_peer(
    name: str,
    utterances: corpus.Utterances,
    *,
    whole: bool = True,
    mirror: float = 0.0,
    **settings: Any,
) -> Row:
    decoder = pocketsphinx.Decoder(loglevel="FATAL", **settings)
    recordings = [pulse_codes(utterance, mirror) for utterance in utterances]
    start = time.perf_counter()
    heard = [read(decoder, codes, whole=whole) for codes in recordings]
    elapsed = time.perf_counter() - start
    return Row(
        name,
        word_error_rate(utterances.texts, [normalize(text) for text in heard]),
        elapsed / float(utterances.seconds.sum()),
        sum(size_on_disk(Path(decoder.config[part])) for part in ("hmm", "lm", "dict")),
    )


def pulse_codes(utterance: corpus.Utterance, mirror: float) -> np.ndarray:
    """The recording as the 16-bit integers that the peer takes, ``[samples]`` at 16 kHz."""
    waveform, factor = utterance.waveform, SAMPLE_RATE // utterance.sample_rate
    upsampled = soxr.resample(waveform, utterance.sample_rate, SAMPLE_RATE)
    # Samples with zeros between them have the spectrum below 4 kHz and its mirror image above.
    doubled = np.zeros_like(upsampled)
    doubled[::factor] = factor * waveform
    filled = upsampled + mirror * (doubled - upsampled)
    return np.clip(np.round(filled * 32768), -32768, 32767).astype(np.int16)


def read(decoder: Any, codes: np.ndarray, *, whole: bool) -> str:
    """What the peer hears in one utterance."""
    decoder.start_utt()
    if whole:
        decoder.process_raw(codes.tobytes(), full_utt=True)
    else:
        size = int(BLOCK_SECONDS * SAMPLE_RATE)
        for first in range(0, len(codes), size):
            decoder.process_raw(codes[first : first + size].tobytes())
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def write_trigram(path: Path, texts: tuple[str, ...]) -> None:
    """Estimates a language model with the peer's own tool, letters spelled as in its dictionary."""
    words = (text.split() for text in texts)
    spoken = (
        " ".join(f"{word}." if len(word) == 1 and word not in "ai" else word for word in text)
        for text in words
    )
    model = language_models.ArpaBoLM(text="\n".join(spoken), add_start=True)
    model.compute()
    if not model.write_file(str(path)):
        raise OSError(f"{path}: the language model could not be written.")


def size_on_disk(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def show(rows: list[Row], utterances: corpus.Utterances) -> None:
    minutes = float(utterances.seconds.sum()) / 60
    table = Table(
        title=f"{len(utterances)} held-out prompts, {minutes:.1f} minutes, "
        f"{rows[0].errors.words} words; pocketsphinx {importlib.metadata.version('pocketsphinx')}, "
        f"jax {jax.__version__}"
    )
    table.add_column("recognizer")
    for heading in ("WER %", "95% interval", "CER %", "real-time factor", "model MB"):
        table.add_column(heading, justify="right")
    for name, errors, real_time_factor, num_bytes in rows:
        table.add_row(
            name,
            f"{100 * errors.rate:.1f}",
            f"{100 * errors.low:.1f} to {100 * errors.high:.1f}",
            f"{100 * errors.character_error_rate:.1f}",
            f"{real_time_factor:.3f}",
            f"{num_bytes / 1e6:.1f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
