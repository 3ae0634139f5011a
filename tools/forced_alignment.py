"""Word times of a recording whose words are known, by pocketsphinx's forced alignment.

The Viterbi path of the English acoustic model through the given words, with
optional silence between them, dates every word to 10 ms. (Huggins-Daines et al., PocketSphinx,
2006.) Needs ``pip install pocketsphinx`` (extra ``bench``).
"""

import math
from typing import NamedTuple

import numpy as np
import pocketsphinx  # pyright: ignore[reportMissingImports]  # only `make data` installs it
import soxr

SAMPLE_RATE = 16_000  # Hz, what the acoustic model wants
FRAME_SECONDS = 0.01

PRONUNCIATIONS = {  # words that the CMU dictionary lacks
    "backtick": "B AE K T IH K",
    "backslash": "B AE K S L AE SH",
    "caret": "K EH R AH T",
    "dahdi": "D AA D IY",
    "digium": "D IH JH IY AH M",
    "forevermore": "F AO R EH V ER M AO R",
    "iax": "IY K S",
    "kilobit": "K IH L AH B IH T",
    "linux": "L IH N AH K S",
    "lowercase": "L OW ER K EY S",
    "niner": "N AY N ER",
    "prepend": "P R IY P EH N D",
    "prepending": "P R IY P EH N D IH NG",
    "rerecord": "R IY R IH K AO R D",
    "semicolon": "S EH M IY K OW L AH N",
    "tilde": "T IH L D AH",
    "touchtone": "T AH CH T OW N",
    "undelete": "AH N D IH L IY T",
    "undeleted": "AH N D IH L IY T AH D",
    "unistim": "Y UW N IH S T IH M",
    "unmute": "AH N M Y UW T",
    "unmuted": "AH N M Y UW T AH D",
    "uppercase": "AH P ER K EY S",
    "voicemail": "V OY S M EY L",
    "waldo's": "W AO L D OW Z",
    "zed": "Z EH D",
}


class WordTime(NamedTuple):
    """When one word is spoken."""

    start: float  # s
    end: float  # s
    word: str


def create_aligner() -> pocketsphinx.Decoder:
    """A decoder with wide beams, so that a minute-long recording keeps a path to its last word."""
    decoder = pocketsphinx.Decoder(
        loglevel="FATAL", lm=None, beam=1e-120, pbeam=1e-120, wbeam=1e-100, lw=1.0, bestpath=False
    )
    for word, phones in PRONUNCIATIONS.items():
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, phones, True)
    return decoder


def align(
    decoder: pocketsphinx.Decoder, waveform: np.ndarray, sample_rate: int, text: str
) -> tuple[list[WordTime], float]:
    """Dates the words of a recording.

    Args:
        decoder: from ``create_aligner``.
        waveform: ``[samples]`` float in [-1, 1].
        sample_rate: Hz.
        text: normalized words.

    Returns:
        One time per word, empty if no path reached the end, and the mean log score per spoken
        frame.

    Raises:
        ValueError: if a word has no pronunciation.
    """
    words = text.split()
    spoken = [f"{word}." if len(word) == 1 and word not in "ai" else word for word in words]
    if missing := [word for word in spoken if decoder.lookup_word(word) is None]:
        raise ValueError(f"`text` has words without pronunciation: {missing}; add them above.")
    upsampled = soxr.resample(waveform, sample_rate, SAMPLE_RATE)
    pulses = np.clip(np.round(upsampled * 32768), -32768, 32767).astype(np.int16)
    decoder.set_align_text(" ".join(spoken))
    decoder.start_utt()
    decoder.process_raw(pulses.tobytes(), full_utt=True)
    decoder.end_utt()
    segments = [s for s in decoder.seg() or () if not s.word.startswith(("<", "[", "("))]
    if len(segments) != len(words):
        return [], float("-inf")
    times = [
        WordTime(s.start_frame * FRAME_SECONDS, (s.end_frame + 1) * FRAME_SECONDS, word)
        for s, word in zip(segments, words, strict=True)
    ]
    frames = sum(s.end_frame - s.start_frame + 1 for s in segments)
    # Pocketsphinx reports likelihoods as powers of 1.0001, which leaves them in (0, 1].
    return times, sum(math.log(max(s.ascore, 1e-300)) for s in segments) * 1e4 / frames
