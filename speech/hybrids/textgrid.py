"""When words and phones are spoken, in the form of Praat: a TextGrid.

References:
    Boersma and Weenink, Praat: doing phonetics by computer (TextGrid, long form).
"""

from collections.abc import Mapping, Sequence

from .alignment import Segment


def format_tiers(tiers: Mapping[str, Sequence[Segment]], seconds: float) -> str:
    """A TextGrid with an interval tier for each kind of segment.

    Args:
        tiers: segments by the name of their tier, in order of time; what lies between stays empty.
        seconds: length of the recording.
    """
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {seconds:.3f}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, segments) in enumerate(tiers.items(), start=1):
        intervals = _fill(segments, seconds)
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{_quote(name)}"',
            "        xmin = 0",
            f"        xmax = {seconds:.3f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, (label, start, end) in enumerate(intervals, start=1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {start:.3f}",
                f"            xmax = {end:.3f}",
                f'            text = "{_quote(label)}"',
            ]
    return "\n".join(lines) + "\n"


def _fill(segments: Sequence[Segment], seconds: float) -> list[tuple[str, float, float]]:
    """Intervals without gaps from 0 to the end."""
    found, now = [], 0.0
    for segment in segments:
        end = min(segment.end, seconds)
        if segment.start > now:
            found.append(("", now, segment.start))
        found.append((segment.label, segment.start, end))
        now = end
    if now < seconds or not found:
        found.append(("", now, seconds))
    return found


def _quote(text: str) -> str:
    return text.replace('"', '""')
