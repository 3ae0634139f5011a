"""Switchboard-1 (LDC97S62) with the transcripts of Mississippi State University.

The transcripts (``swb_ms98_transcriptions``, also called ISIP's) have one file for each side, whose
lines are a segment, its start and end in seconds, and what is said:

    sw2001A-ms98-a-0002 0.977625 11.561375 hi um yeah i'd like to talk about how you dress [noise]

Signs are reduced to what is spoken:

    [noise] [silence] [vocalized-noise] <b_aside>   left out
    [laughter-yes]                                  yes
    th[ey]- -[an]y                                  th- -y, the spoken part of a word
    [lem[guini]-/linguini]                          lem-, what was said in place of a word
    {yuppiedom}                                     yuppiedom, a coined word
    them_1                                          them, another pronunciation
    uh-huh                                          uhhuh, so that it stays one word
    IBM TVs                                         i b m, t v's, if the dictionary spells them

The dictionary that comes with the transcripts tells acronyms that are spelled from those that are
spoken as words.

References:
    Godfrey, Holliman, McDaniel, SWITCHBOARD: telephone speech corpus for research and development,
    ICASSP 1992.
    Deshmukh, Ganapathiraju, Gleeson, Hamaker, Picone, Resegmentation of Switchboard, ICSLP 1998.
"""

import os
import re
import types
from collections.abc import Iterable, Iterator, Mapping

from .conversations import Segment, find_files

TRANSCRIPT_SUFFIX = "-trans.text"
DICTIONARY = "sw-ms98-dict.text"

# How backchannels are written where hyphens are lost; `hub5` writes them with hyphens again.
BACKCHANNELS = {
    "uh-huh": "uhhuh",
    "um-hum": "umhum",
    "um-hmm": "umhmm",
    "mm-hm": "mmhm",
    "mm-hmm": "mmhmm",
    "huh-uh": "huhuh",
    "uh-uh": "uhuh",
}

_LETTERS = {  # in the phones of the dictionary
    "a": "ey",
    "b": "b iy",
    "c": "s iy",
    "d": "d iy",
    "e": "iy",
    "f": "eh f",
    "g": "jh iy",
    "h": "ey ch",
    "i": "ay",
    "j": "jh ey",
    "k": "k ey",
    "l": "eh l",
    "m": "eh m",
    "n": "eh n",
    "o": "ow",
    "p": "p iy",
    "q": "k y uw",
    "r": "aa r",
    "s": "eh s",
    "t": "t iy",
    "u": "y uw",
    "v": "v iy",
    "w": "d ah b ax l y uw",
    "x": "eh k s",
    "y": "w ay",
    "z": "z iy",
}
_ENDINGS = (("", "", ""), ("s", "'s", " z"), ("'s", "'s", " z"))  # written, spelled, phones

_NAME = re.compile(r"sw0*(\d+)([AB])-\S+")


def read_transcripts(folder: str | os.PathLike[str]) -> Iterator[Segment]:
    """All segments, in the order of their files.

    Args:
        folder: a folder with ``swb_ms98_transcriptions`` somewhere below it. Acronyms are spelled
            if its dictionary, ``sw-ms98-dict.text``, is there.

    Yields:
        Segments; those of noise or silence have no text.

    Raises:
        ValueError: if there is no transcript, or a line of one has another form.

    Example:
        >>> segments = read_transcripts("swb_ms98_transcriptions")  # doctest: +SKIP
        >>> next(segments).recording  # doctest: +SKIP
        'sw02001'
    """
    paths = find_files(folder, [TRANSCRIPT_SUFFIX, DICTIONARY])
    acronyms: dict[str, str] = {}
    for path in paths:
        if path.name == DICTIONARY:
            acronyms |= find_acronyms(path.read_text("latin-1").splitlines())
    transcripts = [path for path in paths if path.name != DICTIONARY]
    if not transcripts:
        raise ValueError(f"{folder}: holds no transcript *{TRANSCRIPT_SUFFIX}.")
    for path in transcripts:
        for number, line in enumerate(path.read_text("latin-1").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                yield _parse(line, acronyms)
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}: must be `swNNNNA-ms98-a-NNNN start end words`, got "
                    f"{line[:60]!r}."
                ) from None


def _parse(line: str, acronyms: Mapping[str, str]) -> Segment:
    name, start, end, *words = line.split()
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(name)
    return Segment(
        name=name,
        recording=f"sw{int(match[1]):05d}",
        side=match[2].upper(),
        start=float(start),
        end=float(end),
        text=clean(" ".join(words), acronyms),
    )


def clean(text: str, acronyms: Mapping[str, str] = types.MappingProxyType({})) -> str:
    """Reduces a transcript to what is spoken; see the head of this module.

    Args:
        text: words with signs.
        acronyms: how to spell those that are spelled, by how they are written.

    Returns:
        Words, with the hyphens of parts of words; `text.normalize` does the rest.

    Example:
        >>> clean("[laughter-yes] th[ey]- they_1 [noise] saw an IBM uh-huh", {"IBM": "i b m"})
        'yes th- they saw an i b m uhhuh'
    """
    words = (_clean_word(word) for word in text.split())
    return " ".join(join_backchannel(acronyms.get(word, word)) for word in words if word)


def join_backchannel(word: str) -> str:
    """The word without hyphens if it is one of `BACKCHANNELS`."""
    return BACKCHANNELS.get(word.lower(), word)


def find_acronyms(lines: Iterable[str]) -> dict[str, str]:
    """The words of a dictionary that are pronounced letter by letter, and how to spell them.

    Args:
        lines: a word and its phones each.

    Returns:
        Spelled words of two or more letters by how they are written.

    Example:
        >>> find_acronyms(["IBM ay b iy eh m", "NASA n ae s ax", "TVs t iy v iy z"])
        {'IBM': 'i b m', 'TVs': "t v's"}
    """
    found = {"AT&T": "a t and t"}
    for line in lines:
        word, _, phones = line.strip().partition(" ")
        for written, spelled, sound in _ENDINGS:
            letters = word.removesuffix(written).lower()
            if len(letters) < 2 or not word.endswith(written) or set(letters) - set(_LETTERS):
                continue
            if " ".join(phones.split()) == " ".join(_LETTERS[x] for x in letters) + sound:
                found[word] = " ".join(letters) + spelled
    return found


def _clean_word(word: str) -> str:
    """What is spoken of one word; empty for a noise."""
    word = re.sub(r"_\d", "", word)
    word = re.sub(r"^(-?)\[laughter-(.+)\](-?)$", r"\1\2\3", word, flags=re.IGNORECASE)
    word = re.sub(r"^\[(.+)/[^/]+\](-?)$", r"\1\2", word)  # said / meant
    word = re.sub(r"(?<=-)/.*\]$", "", word)  # the same where the first bracket was forgotten
    word = re.sub(r"^\{(.+)\}$", r"\1", word)
    if re.fullmatch(r"\[[^\[\]]*\]|<[^<>]*>", word):
        return ""
    word = re.sub(r"^-?\[[^\[\]]+\](?=.)", "-", word)
    return re.sub(r"(?<=.)\[[^\[\]]+\]-?", "-", word)
