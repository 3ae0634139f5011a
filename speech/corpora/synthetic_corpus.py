"""Corpora of synthetic telephone speech, from any text, with many voices and lines.

    audio/000/000017.flac   utterances, 8 kHz
    synthetic.tsv           the list for `corpus.manifest`, with voice and line of each
    plan.json               what the corpus is made from

Utterance ``i`` is a function of the plan's seed and ``i``: its sentence, voice, speed, pitch, line
and noise. So the corpus is the same whatever the number of processes, an interrupted build goes
on, and one of more hours begins with the same utterances.
"""

import collections
import concurrent.futures
import csv
import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile

from ...core import whole_file
from . import synthesis, telephone
from .telephone import Line
from .voices import SynthesisError, Voice

SPLITS = {"train": 0.9, "dev": 0.05, "test": 0.05}
SHORTEST = 0.2  # s
CHARACTERS_PER_SECOND = 18.0  # bounds the length of sentences; faster speech is not rendered
MOST_FAILURES = 20  # in a row
COLUMNS = ("name", "audio", "split", "text", "voice", "speed", "pitch", *Line._fields)

Progress = Callable[[int, float], None]  # utterances and seconds so far


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a corpus is made from.

    Attributes:
        sentences: normalized texts by split; a split may have none.
        voices: those that may speak, drawn first by engine and then by name.
        speed: range of the speed over that of the voice.
        pitch: range of the pitch over that of the voice.
        snr: range of speech over noise, dB.
        max_seconds: longest utterance; longer ones are left out.
        seed: of all draws.
    """

    sentences: dict[str, tuple[str, ...]]
    voices: tuple[Voice, ...]
    speed: tuple[float, float] = (0.85, 1.2)
    pitch: tuple[float, float] = (0.9, 1.1)
    snr: tuple[float, float] = (10.0, 40.0)
    max_seconds: float = 9.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.voices:
            raise ValueError("`voices` must not be empty; see `voices.find_voices`.")
        for name in ("speed", "pitch"):
            low, high = getattr(self, name)
            if not 0.5 <= low <= high <= 2:
                raise ValueError(f"`{name}` must be a range within 0.5 to 2, got {low} to {high}.")
        if self.snr[0] > self.snr[1]:
            raise ValueError(f"`snr` must be a range, got {self.snr[0]} to {self.snr[1]}.")
        if self.max_seconds < SHORTEST:
            raise ValueError(f"`max_seconds` must be at least {SHORTEST}, got {self.max_seconds}.")
        if not self.sentences.get("train"):
            raise ValueError(
                "`sentences` must hold some to train on that are short enough for `max_seconds` = "
                f"{self.max_seconds:g}; divide them or raise it."
            )

    @classmethod
    def of(cls, train: Sequence[str], held_out: Sequence[str], **options: Any) -> "Plan":
        """A plan from sentences to train on and others, which dev and test share."""
        longest = CHARACTERS_PER_SECOND * options.get("max_seconds", cls.max_seconds)
        some = {"train": train, "dev": held_out[::2], "test": held_out[1::2]}
        kept = {
            split: tuple(text for text in texts if len(text) <= longest)
            for split, texts in some.items()
        }
        return cls(sentences=kept, **options)

    def describe(self) -> dict[str, Any]:
        """The plan as JSON holds it, with a digest in place of the sentences."""
        facts = dataclasses.asdict(self)
        text = json.dumps(facts.pop("sentences"), ensure_ascii=False)
        facts["sentences"] = {split: len(texts) for split, texts in self.sentences.items()}
        facts["digest"] = hashlib.sha256(text.encode()).hexdigest()
        return json.loads(json.dumps(facts))

    def draw(self, number: int) -> "Job":
        """The utterance of a number."""
        generator = np.random.default_rng([self.seed, number])
        splits = [split for split in SPLITS if self.sentences.get(split)]
        shares = np.array([SPLITS[split] for split in splits])
        split = splits[int(generator.choice(len(splits), p=shares / shares.sum()))]
        texts = self.sentences[split]
        engines = sorted({voice.engine for voice in self.voices})
        engine = engines[int(generator.integers(len(engines)))]
        voices = [voice for voice in self.voices if voice.engine == engine]
        return Job(
            number=number,
            split=split,
            text=texts[int(generator.integers(len(texts)))],
            voice=voices[int(generator.integers(len(voices)))],
            speed=round(generator.uniform(*self.speed), 3),
            pitch=round(generator.uniform(*self.pitch), 3),
            line=telephone.draw_line(generator, snr=self.snr),
            max_seconds=self.max_seconds,
            seed=self.seed,
        )


class Job(NamedTuple):
    """One utterance to render."""

    number: int
    split: str
    text: str
    voice: Voice
    speed: float
    pitch: float
    line: Line
    max_seconds: float
    seed: int

    @property
    def path(self) -> pathlib.PurePosixPath:
        """Where it lies in the corpus."""
        return pathlib.PurePosixPath(f"audio/{self.number // 1000:03d}/{self.number:06d}.flac")


class Rendered(NamedTuple):
    """What became of a job."""

    seconds: float  # 0 if it is left out
    problem: str  # why


class Result(NamedTuple):
    """A corpus."""

    list: pathlib.Path
    utterances: int
    seconds: float
    left_out: collections.Counter[str]  # numbers by reason


def build(
    folder: str | os.PathLike[str],
    plan: Plan,
    *,
    hours: float,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Renders a corpus, or what is missing of it, and writes its list.

    Args:
        folder: where to; new, or of the same plan.
        plan: what to render.
        hours: of speech, at least; a few seconds more.
        processes: how many render at once; as many as there are processors if ``None``; 0 renders
            in the calling process.
        progress: is told of every utterance.

    Returns:
        The corpus.

    Raises:
        ValueError: if the folder holds another corpus, or `hours` is not positive.
        SynthesisError: if the synthesizers fail.
    """
    if not 0 < hours < float("inf"):
        raise ValueError(f"`hours` must be positive, got {hours}.")
    if processes is not None and processes < 0:
        raise ValueError(f"`processes` must be at least 0, got {processes}.")
    folder = pathlib.Path(folder)
    _claim(folder, plan)
    rows: list[tuple[Job, float]] = []
    left_out: collections.Counter[str] = collections.Counter()
    seconds, failures = 0.0, 0
    for job, rendered in _render_all(folder, plan, processes):
        if rendered.seconds:
            rows.append((job, rendered.seconds))
            seconds, failures = seconds + rendered.seconds, 0
        else:
            left_out[rendered.problem.split(":")[0]] += 1
            failures += 1
            if failures >= MOST_FAILURES:
                raise SynthesisError(
                    f"{failures} utterances in a row could not be rendered, the last with "
                    f"{job.voice.engine} {job.voice.name}: {rendered.problem}"
                )
        if progress is not None:
            progress(len(rows), seconds)
        if seconds >= 3600 * hours:
            break
    path = folder / "synthetic.tsv"
    _write_list(path, [job for job, _ in rows])
    return Result(path, len(rows), seconds, left_out)


def render(folder: pathlib.Path, job: Job) -> Rendered:
    """Renders an utterance unless its file is there; files appear when they are complete.

    Args:
        folder: of the corpus.
        job: what to render.

    Returns:
        Its duration, or why there is none.
    """
    path = folder / job.path
    if path.is_file():
        return Rendered(soundfile.info(path).duration, "")
    rate = telephone.SAMPLE_RATE
    try:
        speech = synthesis.speak(
            job.text, job.voice, sample_rate=rate, speed=job.speed, pitch=job.pitch
        )
        generator = np.random.default_rng([job.seed, job.number, 1])
        silences = np.round(generator.uniform(0.05, 0.3, 2) * rate).astype(int)
        sound = np.pad(speech, (silences[0], silences[1]))
        if not SHORTEST <= len(sound) / rate <= job.max_seconds:
            return Rendered(0.0, f"too long or too short: {len(sound) / rate:.2f} s")
        sound = telephone.transmit(sound, job.line, generator)
    except ValueError as error:  # of synthesis, or of silence
        return Rendered(0.0, f"not rendered: {error}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.draft(path) as part:
        soundfile.write(part, sound, rate, format="FLAC", subtype="PCM_16")
    return Rendered(len(sound) / rate, "")


def _render_all(
    folder: pathlib.Path, plan: Plan, processes: int | None
) -> Iterator[tuple[Job, Rendered]]:
    """All utterances of the plan in order, without end."""
    jobs = map(plan.draw, itertools.count())
    if processes == 0:
        for job in jobs:
            yield job, render(folder, job)
    processes = processes or os.cpu_count() or 1
    # A fresh process has no threads of others to be copied with.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(processes, mp_context=context)
    waiting: collections.deque[tuple[Job, concurrent.futures.Future[Rendered]]]
    waiting = collections.deque()
    try:
        for job in jobs:
            waiting.append((job, pool.submit(render, folder, job)))
            if len(waiting) == 4 * processes:
                first, future = waiting.popleft()
                yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _claim(folder: pathlib.Path, plan: Plan) -> None:
    """Notes the plan in the folder, or refuses a folder of another one."""
    path, facts = folder / "plan.json", plan.describe()
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if different := [name for name in facts if before.get(name) != facts[name]]:
            raise ValueError(
                f"{folder} holds a corpus of another plan (other {', '.join(different)}); name "
                "another folder, or ask for the same."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    whole_file.write_text(path, json.dumps(facts, indent=2) + "\n")


def _write_list(path: pathlib.Path, jobs: Sequence[Job]) -> None:
    with whole_file.draft(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        table.writerow(COLUMNS)
        for job in jobs:
            line = [f"{x:.4g}" if isinstance(x, float) else x for x in job.line]
            voice = f"{job.voice.engine}:{job.voice.name}"
            name = f"synthetic-{job.number:06d}"
            table.writerow(
                (name, job.path, job.split, job.text, voice, job.speed, job.pitch, *line)
            )
