"""The page a run ends with: one HTML file that explains itself, offline and forever.

Style, script, figures and sound stand inside the file, so it can be mailed or kept with a paper.
The page follows the light or dark preference of its reader and the width of the screen.  Its frame
is `report.html` beside this file; the functions here fill it.  Whatever comes from outside (texts,
names, configuration) passes through `html.escape`.
"""

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .. import __version__
from ..core import whole_file
from . import figures, prompt_card, summary


def write_report(
    path: str | os.PathLike[str],
    run: summary.RunSummary,
    prompts: Sequence[summary.PromptResult],
    log: Sequence[Mapping[str, Any]],
) -> None:
    """Writes the report of a run as one self-contained HTML file.

    The file appears whole or not at all: it is written under another name and then renamed.

    Args:
        path: Where to write; an earlier report there is replaced.
        run: What the run was and how well it did.
        prompts: Prompts to show and play, usually five.
        log: Lines of `metrics.jsonl`: mappings with `step` and any of `loss`, `validation/loss`,
            `validation/wer`, `consensus_distance`, `learning_rate`, `effective_learning_rate` and
            diagnostics of the learners; other keys are passed over.
    """
    page = render_report(run, prompts, log)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_file.write_text(path, page)


def render_report(
    run: summary.RunSummary,
    prompts: Sequence[summary.PromptResult],
    log: Sequence[Mapping[str, Any]],
) -> str:
    """Renders the page that `write_report` writes; see there for the arguments."""
    frame = Path(__file__).with_name("report.html").read_text("utf-8")
    config = json.dumps(run.config, indent=2, default=str, ensure_ascii=False)
    return Template(frame).substitute(
        title=html.escape(run.title),
        verdict=html.escape(summary.state_verdict(run)),
        interval=_render_interval(run),
        tiles=_render_tiles(run),
        corpus=html.escape(run.corpus),
        rows=_render_rows(summary.list_facts(run)),
        curves=_render_curves(log),
        prompts=_render_prompts(prompts),
        command=html.escape(run.command),
        config=html.escape(config),
        versions=_render_rows(list(run.versions.items())),
        attribution=f"<p>{html.escape(run.attribution)}</p>\n" if run.attribution else "",
        gossamer_version=__version__,
    )


def _render_interval(run: summary.RunSummary) -> str:
    errors = run.errors
    scale = max(1.0, errors.high)
    low, rate, high = (100.0 * value / scale for value in (errors.low, errors.rate, errors.high))
    return (
        '<figure class="interval"><div class="rail" aria-hidden="true">'
        f'<span class="range" style="left:{low:.2f}%;width:{high - low:.2f}%"></span>'
        f'<span class="rate" style="left:{rate:.2f}%"></span></div>'
        "<figcaption><span>0%, every word right</span><span>word error rate and its 95% interval"
        f"</span><span>{100.0 * scale:.0f}%</span></figcaption></figure>"
    )


def _render_tiles(run: summary.RunSummary) -> str:
    errors = run.errors
    interval = f"{summary.format_percent(errors.low)} to {summary.format_percent(errors.high)}"
    bits = 8.0 * run.num_bytes / max(run.num_parameters, 1)
    tiles = [
        ("Word error rate", summary.format_percent(errors.rate), interval),
        (
            "Character error rate",
            summary.format_percent(errors.character_error_rate),
            "letters and spaces",
        ),
        (
            "Size on disk",
            summary.format_bytes(run.num_bytes),
            f"{run.num_parameters:,} parameters, {bits:.1f} bits each",
        ),
    ]
    if run.real_time_factor is not None:
        speed = f"{1.0 / max(run.real_time_factor, 1e-9):.3g} times as fast as speech"
        tiles.append(("Real-time factor", f"{run.real_time_factor:.3g}", speed))
    cells = "".join(
        f"<div><dt>{label}</dt><dd>{value}<small>{note}</small></dd></div>"
        for label, value, note in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def _render_rows(facts: Sequence[tuple[str, str]]) -> str:
    return "\n".join(
        f'<tr><th scope="row">{html.escape(label)}</th><td>{html.escape(str(value))}</td></tr>'
        for label, value in facts
    )


def _render_curves(log: Sequence[Mapping[str, Any]]) -> str:
    captions = (
        (
            figures.draw_loss(log),
            "Training loss per label, the auxiliary part included: as logged, faint, and its "
            "running mean. Beneath it the word error rate on the validation prompts.",
        ),
        (
            figures.draw_consensus(log),
            "How far the learners' weights lie from their mean. "
            "The learning rate beneath shares the steps; the effective one, where it was "
            "measured, is how far their mean moves along the gradient.",
        ),
        (
            figures.draw_diagnostics(log),
            "What was measured beside the training: docs/landscape.md and docs/compression.md say "
            "how to read it.",
        ),
    )
    cards = "".join(
        f'<figure class="card">{figure}<figcaption>{caption}</figcaption></figure>'
        for figure, caption in captions
        if figure
    )
    if not cards:
        return ""
    return (
        '<section aria-labelledby="training"><h2 id="training">Training</h2>'
        '<p class="lead">From the metrics that the run wrote as it went.</p>'
        f'<div class="figures">{cards}</div></section>'
    )


def _render_prompts(prompts: Sequence[summary.PromptResult]) -> str:
    if not prompts:
        return ""
    legend = "".join(
        f'<li><span class="mark {style}"><b>{sign}</b>{name}</span></li>'
        for style, sign, name in prompt_card.ERROR_MARKS.values()
    )
    return (
        '<section aria-labelledby="prompts"><h2 id="prompts">Listen and compare</h2>'
        '<p class="lead">Held-out recordings. Each upright line is a word, each tick a character, '
        "at the moment the transducer emitted it; mel bands rise from low to high pitch.</p>"
        f'<ul class="legend" aria-label="Marks of errors">{legend}</ul>'
        f'<div class="prompts">{"".join(map(prompt_card.render_prompt, prompts))}</div></section>'
    )
