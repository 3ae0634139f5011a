"""The job of decoding the alternatives of a corpus into a file, see `alternatives`.

Recordings are read in chunks and each chunk's lines are appended as one write, with the name of the
recognizer; a job that starts again drops a line that was cut off and goes on behind the last one.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from . import recognizer
from .corpora.corpus import Utterance
from .fusion import FusedModels

CHUNK = 64  # recordings between two writes
LINE_START = '{"name": '


def decode(
    path: str | os.PathLike[str],
    source: str,
    model: recognizer.Recognizer,
    utterances: Sequence[Utterance],
    *,
    beam: int = 16,
    number: int = 8,
    language_models: FusedModels | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> int:
    """Appends the best hypotheses of a recognizer, those decoded before left out.

    Args:
        path: the file; it may hold lines of this and of other recognizers.
        source: what to call the recognizer in the file.
        model: the recognizer.
        utterances: what to read.
        beam: hypotheses of the beam search.
        number: alternatives of each utterance, the best first; fewer where no more were found.
        language_models: what adds to the scores of the beam search.
        advance: called with a number of utterances when they are done.

    Returns:
        How many utterances were decoded now.

    Raises:
        ValueError: if a line of the file has another form, or `number` is larger than `beam`.
    """
    path = Path(path)
    finished = _finished(path, source)
    left = [utterance for utterance in utterances if utterance.name not in finished]
    advance(len(utterances) - len(left))
    for start in range(0, len(left), CHUNK):
        chunk = left[start : start + CHUNK]
        found = recognizer.transcribe_nbest(
            model,
            [utterance.waveform for utterance in chunk],
            beam=beam,
            nbest=number,
            language_models=language_models,
        )
        lines = [
            json.dumps(
                {
                    "name": utterance.name,
                    "alternatives": [transcript.text for transcript in transcripts],
                    "recognizer": source,
                },
                ensure_ascii=False,
            )
            for utterance, transcripts in zip(chunk, found, strict=True)
        ]
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        advance(len(chunk))
    return len(left)


def _finished(path: Path, source: str) -> set[str]:
    """Names that the file has of this recognizer; a last line that was cut off is dropped."""
    if not path.exists():
        return set()
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    names = set()
    for number, line in enumerate(content[:end].decode("utf-8", "replace").splitlines(), start=1):
        try:
            entry = json.loads(line)
            if entry.get("recognizer") == source:
                names.add(entry["name"])
        except (ValueError, KeyError, AttributeError) as error:
            raise _foreign(path, number, line) from error
    if end < len(content):
        rest = content[end:].decode("utf-8", "replace")
        if not rest.startswith(LINE_START) and not LINE_START.startswith(rest):
            raise _foreign(path, content.count(b"\n") + 1, rest)
        with path.open("r+b") as file:
            file.truncate(end)
    return names


def _foreign(path: Path, number: int, line: str) -> ValueError:
    return ValueError(
        f"{path}, line {number}: not a line of alternatives, got {line[:80]!r}; name another file."
    )
