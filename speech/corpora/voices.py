"""Speech synthesizers that are installed, and their voices.

Three programs are known, each of a Debian package: ``espeak-ng`` (formants, a hundred languages),
``flite`` and ``festival`` (units of recorded English, or models of them). gossamer ships none.

References:
    Duddington et al., eSpeak NG, https://github.com/espeak-ng/espeak-ng.
    Black, Lenzo, Flite: a small fast run-time synthesis engine, SSW 2001.
    Black, Taylor, The Festival speech synthesis system, 1997.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS = 120  # after which a program is taken to hang
_WORDS_PER_MINUTE = 165  # of espeak-ng at speed 1
_SKIPPED = ("awb_time", "kal")  # of flite: knows the time only; is kal16 at a lower rate


class Voice(NamedTuple):
    """A voice of a program."""

    engine: str  # one of ENGINES
    name: str  # as the program calls it
    about: str = ""


class SynthesisError(ValueError):
    """A program that is missing or fails; the message names the remedy."""


class Engine(NamedTuple):
    """How to use a program."""

    packages: str  # of Debian
    list_voices: Callable[[str], list[Voice]]  # of a language
    command: Callable[[str, float, Path, Path], list[str]]  # voice, speed, text, where to write


def find_voices(
    engines: Sequence[str] = (), *, language: str = "en", names: Sequence[str] = ()
) -> list[Voice]:
    """The voices of a language.

    Args:
        engines: programs to ask, which must be installed; all that are installed if empty.
        language: such as ``en`` or ``de``; espeak-ng takes ``en-us`` too.
        names: voices to keep, all if empty.

    Returns:
        Voices, those of a program together.

    Raises:
        SynthesisError: if a program that was asked for is not installed, none is, or a voice or any
            voice of the language is missing.
    """
    if unknown := [engine for engine in engines if engine not in ENGINES]:
        raise SynthesisError(f"`engines` must be among {', '.join(ENGINES)}, got {unknown[0]!r}.")
    asked = list(engines) or [engine for engine in ENGINES if is_installed(engine)]
    if not asked:
        packages = " ".join(engine.packages for engine in ENGINES.values())
        raise SynthesisError(
            f"no speech synthesizer is installed; on Debian or Ubuntu: `apt-get install {packages}`"
            ", or one of them."
        )
    found: list[Voice] = []
    for engine in asked:
        if not is_installed(engine):
            raise SynthesisError(
                f"{engine} is not installed; on Debian or Ubuntu: "
                f"`apt-get install {ENGINES[engine].packages}`."
            )
        found += ENGINES[engine].list_voices(language)
    if missing := set(names) - {voice.name for voice in found}:
        raise SynthesisError(
            f"no voice {min(missing)!r} of {', '.join(asked)} in the language {language!r}; "
            "`gossamer corpus voices` lists them."
        )
    kept = [voice for voice in found if not names or voice.name in names]
    if not kept:
        raise SynthesisError(f"{', '.join(asked)}: no voice of the language {language!r}.")
    return kept


def is_installed(engine: str) -> bool:
    """Whether a program is there."""
    programs = {"festival": ("festival", "text2wave")}.get(engine, (engine,))
    return all(shutil.which(program) for program in programs)


def run(command: Sequence[str]) -> str:
    """Runs a program and returns what it prints.

    Raises:
        SynthesisError: if it fails.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SynthesisError(f"{command[0]} does not work: {error}.") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise SynthesisError(f"{command[0]} failed with status {done.returncode}: {lines[-1]}.")
    return done.stdout.decode(errors="replace")


def _list_espeak(language: str) -> list[Voice]:
    """Accents in the timbres that are meant for any of them."""
    lines = run(["espeak-ng", f"--voices={language}"]).splitlines()[1:]
    accents = [line.split() for line in lines]
    # Voices of mbrola are listed, but have packages of their own.
    codes = [cells[1] for cells in accents if len(cells) > 4 and not cells[4].startswith("mb/")]
    timbres = re.findall(r"!v/([mf][0-9])\s", run(["espeak-ng", "--voices=variant"]) + "\n")
    genders = {"m": "male", "f": "female"}
    return [
        Voice("espeak-ng", f"{code}+{timbre}", genders[timbre[0]])
        for code in dict.fromkeys(codes)
        if code != "variant"
        for timbre in sorted(set(timbres))
    ]


def _list_flite(language: str) -> list[Voice]:
    if language.split("-")[0] != "en":
        return []
    names = run(["flite", "-lv"]).partition(":")[2].split()
    return [Voice("flite", name) for name in names if name not in _SKIPPED]


def _list_festival(language: str) -> list[Voice]:
    if language.split("-")[0] != "en":
        return []
    script = "(mapcar (lambda (v) (print (list 'voice v (voice.description v)))) (voice.list))"
    listed = run(["festival", "-b", script])
    found = re.findall(r"\(voice\s+(\S+)(.*?)(?=\(voice\s|\Z)", listed, re.DOTALL)
    return [
        Voice("festival", name, " ".join(re.findall(r"\((?:gender|dialect) (\w+)\)", about)))
        for name, about in found
        if "(language english)" in " ".join(about.split())
    ]


def _speak_espeak(voice: str, speed: float, text: Path, wav: Path) -> list[str]:
    rate = str(round(_WORDS_PER_MINUTE * speed))
    return ["espeak-ng", "-v", voice, "-s", rate, "-f", str(text), "-w", str(wav)]


def _speak_flite(voice: str, speed: float, text: Path, wav: Path) -> list[str]:
    stretch = f"duration_stretch={1 / speed:.3f}"
    return ["flite", "-voice", voice, "--setf", stretch, "-f", str(text), "-o", str(wav)]


def _speak_festival(voice: str, speed: float, text: Path, wav: Path) -> list[str]:
    script = f"(begin (voice_{voice}) (Parameter.set 'Duration_Stretch {1 / speed:.3f}))"
    return ["text2wave", "-eval", script, "-o", str(wav), str(text)]


ENGINES = {
    "espeak-ng": Engine("espeak-ng", _list_espeak, _speak_espeak),
    "flite": Engine("flite", _list_flite, _speak_flite),
    "festival": Engine(
        "festival festvox-kallpc16k festvox-us-slt-hts", _list_festival, _speak_festival
    ),
}
