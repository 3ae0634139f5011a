"""One list of recordings out of the LDC's corpora of English telephone conversations.

    switchboard.tsv  utterances for `corpus.manifest`: Switchboard-1 (and Fisher) to train on, 2% of
                     the conversations for dev, and Hub5'00, or else other 2%, for test
    switchboard.stm  the reference of Hub5'00, and its rules, for `sclite_report`
    switchboard.glm
    sentences.txt    what is said in training, Fisher's transcripts too, for a language model

The recordings stay where they are.
"""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterable, Sequence

from ...core import whole_file
from .. import sclite
from ..text import normalize
from . import conversations, fisher, hub5, switchboard
from .conversations import Gathered

NAME = "switchboard"

Folders = Sequence[str | os.PathLike[str]]


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where the corpora lie, in any arrangement of discs.

    Attributes:
        audio: Switchboard-1 (LDC97S62).
        transcripts: those of Mississippi State University, with their dictionary.
        hub5_audio: Hub5'00 (LDC2002S09).
        hub5_transcripts: its reference (LDC2002T43).
        fisher_audio: Fisher English (LDC2004S13, LDC2005S13).
        fisher_transcripts: Fisher English (LDC2004T19, LDC2005T19).
    """

    audio: Folders
    transcripts: Folders
    hub5_audio: Folders = ()
    hub5_transcripts: Folders = ()
    fisher_audio: Folders = ()
    fisher_transcripts: Folders = ()

    def check(self) -> None:
        """Refuses audio without transcripts.

        Raises:
            ValueError: if there is such.
        """
        if not self.audio or not self.transcripts:
            raise ValueError("`audio` and `transcripts` must each name a folder of Switchboard-1.")
        if bool(self.hub5_audio) != bool(self.hub5_transcripts):
            raise ValueError("`hub5_audio` and `hub5_transcripts` must both be given, or neither.")
        if len(self.hub5_transcripts) > 1:
            raise ValueError("`hub5_transcripts` must name one folder, as there is one reference.")
        if self.fisher_audio and not self.fisher_transcripts:
            raise ValueError("`fisher_audio` needs `fisher_transcripts`.")


def build(folder: str | os.PathLike[str], sources: Sources) -> Gathered:
    """Writes the list, the reference and the sentences.

    Args:
        folder: where to; made if it does not exist.
        sources: the corpora.

    Returns:
        The lines of the list, and what was left out.

    Raises:
        AudioError: if a recording cannot be read.
        ValueError: if a folder lacks what it should hold, or a transcript has another form.
    """
    sources.check()
    with_hub5 = bool(sources.hub5_audio)

    def choose_split(segment: conversations.Segment) -> str:
        return conversations.split_by_hash(segment.recording, test=not with_hub5)

    spoken = (s for path in sources.transcripts for s in switchboard.read_transcripts(path))
    gathered = conversations.gather(spoken, _find_recordings(sources.audio), choose_split)
    others: Iterable[conversations.Segment] = (
        segment for path in sources.fisher_transcripts for segment in fisher.read_transcripts(path)
    )
    sentences = [row.segment.text for row in gathered.rows if row.split == "train"]
    if sources.fisher_audio:
        found = conversations.gather(others, _find_recordings(sources.fisher_audio), _train)
        gathered.extend(found)
        sentences += [row.segment.text for row in found.rows]
    else:
        sentences += [text for text in (normalize(segment.text) for segment in others) if text]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if with_hub5:
        (path,) = sources.hub5_transcripts
        evaluation = hub5.read_reference(path)
        recordings = _find_recordings(sources.hub5_audio)
        gathered.extend(conversations.gather(evaluation.segments, recordings, lambda _: "test"))
        sclite.write_stm(folder / f"{NAME}.stm", evaluation.reference)
        if evaluation.rules is not None:
            shutil.copyfile(evaluation.rules, folder / f"{NAME}.glm")
    whole_file.write_text(folder / "sentences.txt", "".join(f"{text}\n" for text in sentences))
    conversations.write(folder / f"{NAME}.tsv", gathered.rows)
    return gathered


def _train(segment: conversations.Segment) -> str:
    del segment
    return "train"


def _find_recordings(folders: Folders) -> dict[str, pathlib.Path]:
    return {
        name: path
        for folder in folders
        for name, path in conversations.find_recordings(folder).items()
    }
