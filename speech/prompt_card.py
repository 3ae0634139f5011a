"""One prompt on the page of a run: its spectrogram, its sound, and what was understood.

Over the spectrogram the page shows when the transducer emitted its labels: label y_u stands at the
time of the frame t at which the path through the alignment lattice steps from u - 1 to u (Graves,
Sequence Transduction with Recurrent Neural Networks, 2012, arXiv:1211.3711).  Words stand in lanes,
so that none covers another.  Beneath, reference and hypothesis are aligned word by word; an error
is told by color, by a sign, by a line through or under the word, and in words to a screen reader.
"""

import html
import io
import math
from collections.abc import Sequence

import numpy as np
import soundfile

from ..core import page
from . import figures, summary, word_error, word_times

_FRAMES_PER_SECOND = 100
_PIXELS_PER_SECOND = 150  # least width of a spectrogram; a narrower screen scrolls
_LETTER_PIXELS = 7.3  # width of a letter in the 12 px monospaced face of the words
_LANE_PIXELS = 18
_MAX_LANES = 5

# Kind of error -> style class of the page, sign, and name.
ERROR_MARKS = {
    "S": ("sub", "≠", "substituted"),
    "D": ("del", "\N{MINUS SIGN}", "deleted"),
    "I": ("ins", "+", "inserted"),
}


def render_prompt(prompt: summary.PromptResult) -> str:
    """Renders one prompt as an `<article>`, with its picture and its sound inside."""
    columns = word_error.align(prompt.reference, prompt.hypothesis)
    errors, words = summary.count_errors(columns)
    rate = f", word error rate {summary.format_percent(errors / words)}" if words else ""
    seconds = len(prompt.log_mel) / _FRAMES_PER_SECOND
    name = html.escape(prompt.name)
    return (
        f'<article class="card prompt" data-seconds="{seconds:.2f}"><div class="prompt-head">'
        f"<h3>{name}</h3><p><strong>{summary.describe_errors(columns)}</strong>{rate}</p></div>"
        f"{_render_spectrogram(prompt, seconds)}"
        f'<audio controls preload="metadata" aria-label="Recording {name}" '
        f'src="{page.to_url(_encode_wav(prompt), "audio/wav")}"></audio>'
        f"{_render_alignment(columns)}</article>"
    )


def place_words(
    labels: Sequence[tuple[str, float]], *, seconds: float, width: float
) -> list[tuple[str, float, int]]:
    """Finds for each emitted word a lane in which it covers none of its neighbors.

    Args:
        labels: Characters with their times in seconds, in order; a space ends a word.
        seconds: Duration of the recording.
        width: Pixels from its beginning to its end.

    Returns:
        Triples of a word, the time of its first character in seconds, and its lane, 0 the lowest.
        A word that finds no free lane takes the one that frees first.
    """
    ends = [-math.inf] * _MAX_LANES
    placed = []
    for word, time, _ in word_times.join_characters(labels):
        extent = (len(word) + 1.5) * _LETTER_PIXELS
        start = min(time / seconds * width, width - extent)
        free = [lane for lane, end in enumerate(ends) if end <= start]
        lane = free[0] if free else int(np.argmin(ends))
        ends[lane] = start + extent
        placed.append((word, time, lane))
    return placed


def _render_spectrogram(prompt: summary.PromptResult, seconds: float) -> str:
    light, dark = (
        page.to_url(figures.draw_spectrogram(prompt.log_mel, dark=dark)) for dark in (False, True)
    )
    width = max(280.0, seconds * _PIXELS_PER_SECOND)
    words = place_words(prompt.labels, seconds=seconds, width=width)
    num_lanes = 1 + max((lane for _, _, lane in words), default=0)

    def percent(time: float) -> str:
        return f"{100.0 * min(max(time / seconds, 0.0), 1.0):.2f}%"

    names = "".join(
        f'<span style="left:min({percent(time)},calc(100% - {len(word) + 1}ch));'
        f'bottom:{lane * _LANE_PIXELS}px">{html.escape(word)}</span>'
        for word, time, lane in words
    )
    stems = "".join(
        f'<i style="left:{percent(time)};height:{(lane + 1) * _LANE_PIXELS}px"></i>'
        for _, time, lane in words
    )
    lines = "".join(f'<i style="left:{percent(time)}"></i>' for _, time, _ in words)
    ticks = "".join(
        f'<i style="left:{percent(time)}" title="{html.escape(label)} at {time:.2f} s"></i>'
        for label, time in prompt.labels
    )
    spacing = next(step for step in (0.5, 1.0, 2.0, 5.0, 10.0, math.inf) if seconds / step <= 20)
    marks = np.arange(0.0, seconds - 0.1, spacing) if math.isfinite(spacing) else [0.0]
    axis = "".join(f'<span style="left:{percent(mark)}">{mark:g} s</span>' for mark in marks)
    told = ", ".join(f"{word} at {time:.2f} seconds" for word, time, _ in words) or "none"
    label = html.escape(
        f"Log-mel spectrogram of {prompt.name}, {seconds:.1f} seconds. Emitted words: {told}."
    )
    return (
        f'<div class="track" tabindex="0" role="group" aria-label="Spectrogram">'
        f'<div class="canvas" role="img" aria-label="{label}" style="min-width:{width:.0f}px">'
        f'<div class="words" style="height:{num_lanes * _LANE_PIXELS}px">{names}{stems}</div>'
        '<div class="mel"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt=""></picture>{lines}</div>'
        f'<div class="marks">{ticks}</div><div class="axis">{axis}</div>'
        '<div class="playhead"></div></div></div>'
    )


def _render_alignment(columns: Sequence[word_error.Column]) -> str:
    items = []
    for reference, hypothesis in columns:
        kind = summary.classify(reference, hypothesis)
        style, sign, spoken = ERROR_MARKS.get(kind, ("", "", ""))
        above, below = (
            f'<span class="{row}">{html.escape(word)}</span>'
            if word is not None
            else '<span class="gap"><span class="unseen">nothing</span></span>'
            for row, word in (("ref", reference), ("hyp", hypothesis))
        )
        if kind == "D":
            above = _render_mark("ref", reference, style, sign, spoken)
        elif kind:
            below = _render_mark("hyp", hypothesis, style, sign, spoken)
        items.append(f"<li>{above}{below}</li>")
    return (
        '<ol class="alignment"><li class="row-names"><span>reference</span><span>recognized</span>'
        f"</li>{''.join(items)}</ol>"
    )


def _render_mark(row: str, word: str | None, style: str, sign: str, spoken: str) -> str:
    return (
        f'<span class="{row} mark {style}"><b aria-hidden="true">{sign}</b>'
        f'<span class="unseen">{spoken}: </span>{html.escape(word or "")}</span>'
    )


def _encode_wav(prompt: summary.PromptResult) -> bytes:
    buffer = io.BytesIO()
    waveform = np.clip(np.asarray(prompt.waveform, np.float32), -1.0, 1.0)
    soundfile.write(buffer, waveform, prompt.sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
