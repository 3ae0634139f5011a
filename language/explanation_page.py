"""An explanation for people: highlighted in the terminal, and as one HTML file.

The frame of the page is `explanation.html` beside this file.  Whatever comes from outside passes
through `html.escape`.
"""

import html
import os
from collections.abc import Sequence
from pathlib import Path

from ..core import page, whole_file
from .explanation import Evidence, Explanation, Scored

CONTEXT = 3  # further spans of a training text that are told


def show(explanation: Explanation, console) -> None:
    """Prints an explanation to a `rich.console.Console`."""
    from rich.text import Text

    def line(text: str, span: Scored, style: str) -> Text:
        shown = Text(text)
        shown.stylize(style, span.start, span.end)
        return shown

    label = explanation.classes[explanation.label]
    share = 100 * explanation.probabilities[explanation.label]
    console.print(Text(f"{label} ({share:.1f}%)", style="bold"))
    console.print(line(explanation.text, explanation.span, "bold reverse"))
    console.print(
        f"Without the marked span the logit of {label} is {explanation.span.score:.2f} lower.",
        highlight=False,
    )
    for title, style, evidence in (
        ("Supporting training texts", "bold green", explanation.supporting),
        ("Opposing training texts", "bold red", explanation.opposing),
    ):
        console.print(Text(f"\n{title}", style="bold"))
        if not evidence:
            console.print("  none")
        for each in evidence:
            head = f"  {each.span.score:+9.3g}  {explanation.classes[each.text.label]:<12} "
            console.print(Text(head) + line(each.text.text, each.span, style))


def write_page(
    explanation: Explanation, path: str | os.PathLike[str], *, command: str, corpus: str
) -> None:
    """Writes the page, all of it or nothing.

    Args:
        explanation: what to show.
        path: where; its folder must exist.
        command: the command line that made it, told on the page.
        corpus: what the model was trained on.
    """
    whole_file.write_text(path, render_page(explanation, command=command, corpus=corpus))


def render_page(explanation: Explanation, *, command: str, corpus: str) -> str:
    """The page as text."""
    strongest = max(
        [abs(each.span.score) for each in explanation.supporting + explanation.opposing],
        default=1.0,
    )
    label = explanation.classes[explanation.label]
    words = explanation.text[explanation.span.start : explanation.span.end]
    best = int(explanation.probabilities.argmax())
    return page.fill(
        Path(__file__).with_name("explanation.html"),
        label=html.escape(label),
        text=_mark(explanation.text, [explanation.span], "test"),
        verdict=(
            f"The model says <strong>{html.escape(explanation.classes[best])}</strong> with "
            f"{100 * explanation.probabilities[best]:.1f}%. What speaks for "
            f"<strong>{html.escape(label)}</strong> most is "
            f"<q>{html.escape(words)}</q>: without it the logit changes by "
            f"{_signed(-explanation.span.score)}."
        ),
        probabilities=_probabilities(explanation),
        importances=_importances(explanation),
        supporting=_cards(explanation.supporting, explanation.classes, strongest, "for"),
        opposing=_cards(explanation.opposing, explanation.classes, strongest, "against"),
        total=f"{len(explanation.scores):,}",
        corpus=html.escape(corpus),
        command=html.escape(command),
    )


def _probabilities(explanation: Explanation) -> str:
    order = explanation.probabilities.argsort()[::-1]
    return page.definitions(
        {
            html.escape(
                explanation.classes[number]
            ): f"{100 * explanation.probabilities[number]:.1f}%"
            for number in order[:6]
        }
    )


def _importances(explanation: Explanation) -> str:
    rows = []
    for each in explanation.importances[:8]:
        words = html.escape(explanation.text[each.start : each.end])
        rows.append(f"<tr><td>{words}</td><td>{_signed(each.score)}</td></tr>")
    return "".join(rows)


def _cards(
    evidence: Sequence[Evidence], classes: Sequence[str], strongest: float, side: str
) -> str:
    if not evidence:
        return '<p class="lead">None.</p>'
    cards = []
    for each in evidence:
        share = round(100 * abs(each.span.score) / strongest)
        others = ", ".join(
            f"<q>{html.escape(each.text.text[span.start : span.end])}</q> {_signed(span.score)}"
            for span in _apart(each)
        )
        cards.append(
            f'<article class="{side}"><p class="text">{_mark(each.text.text, [each.span], side)}'
            f'</p><div class="bar"><span style="width:{share}%"></span></div>'
            f'<p class="why"><span class="label">{html.escape(classes[each.text.label])}</span> '
            f"span {_signed(each.span.score)} &middot; whole text {_signed(each.score)}"
            f"{' &middot; also ' + others if others else ''}</p></article>"
        )
    return "".join(cards)


def _apart(evidence: Evidence) -> list[Scored]:
    """The next spans of a training text that matter and overlap none before them."""
    kept = [evidence.span]
    for span in evidence.spans:
        if span.score and all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
        if len(kept) > CONTEXT:
            break
    return kept[1:]


def _mark(text: str, spans: Sequence[Scored], side: str) -> str:
    parts, place = [], 0
    for span in sorted(spans):
        parts.append(html.escape(text[place : span.start]))
        parts.append(f'<mark class="{side}">{html.escape(text[span.start : span.end])}</mark>')
        place = span.end
    return "".join(parts) + html.escape(text[place:])


def _signed(value: float) -> str:
    """A number with its sign, as text for HTML."""
    return f"{value:+.3g}".replace("-", "&minus;")
