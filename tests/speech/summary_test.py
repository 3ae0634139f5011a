import io

import numpy as np
import pytest
from rich.console import Console

from gossamer.speech import summary, word_error

COLUMNS = [("press", "press"), ("one", "two"), ("to", None), (None, "the"), ("mute", "mute")]
REFERENCES, HYPOTHESES = ["press one to mute", "goodbye"], ["press two mute now", "goodbye"]


def make_run(**changes):
    errors = word_error.word_error_rate(REFERENCES, HYPOTHESES)
    run = summary.RunSummary("Demo", "Telephone prompts", 2, errors, 1234567, 690123)
    return run._replace(**changes)


def make_prompt(reference, hypothesis):
    samples, frames = np.zeros(800, np.float32), np.zeros([10, 40], np.float32)
    return summary.PromptResult("prompt", reference, hypothesis, samples, 8000, frames, [])


def test_columns_are_classified_and_counted():
    assert [summary.classify(*column) for column in COLUMNS] == ["", "S", "D", "I", ""]
    assert summary.count_errors(COLUMNS) == (3, 4)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (COLUMNS, "3 errors in 4 words"),
        (COLUMNS[:1], "no error in 1 word"),
        (COLUMNS[:2], "1 error in 2 words"),
        ([], "no error in 0 words"),
    ],
)
def test_errors_are_described(columns, text):
    assert summary.describe_errors(columns) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(12, "12 B"), (1000, "1.00 kB"), (690123, "690 kB"), (999999, "1000 kB"), (12.3e6, "12.3 MB")],
)
def test_sizes_have_three_digits(size, text):
    assert summary.format_bytes(int(size)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (125.4, "2 min 5 s"), (3599.8, "1 h 0 min"), (7380.0, "2 h 3 min")],
)
def test_durations_have_two_units(seconds, text):
    assert summary.format_seconds(seconds) == text


def test_verdict_is_one_sentence_with_rate_interval_and_extent():
    errors = make_run().errors._replace(rate=0.12345, low=0.09, high=0.171, words=312)
    assert summary.state_verdict(make_run(errors=errors, num_prompts=54)) == (
        "Word error rate 12.3%, with a 95% interval from 9.0% to 17.1%, "
        "on 54 held-out prompts with 312 words."
    )


def test_unknown_values_have_no_row():
    labels = [label for label, _ in summary.list_facts(make_run())]
    assert "Training time" not in labels
    full = make_run(
        search="beam of 4",
        real_time_factor=0.02,
        training_seconds=61.0,
        topology="ring",
        num_steps=5000,
        seed=0,
    )
    facts = dict(summary.list_facts(full))
    assert facts["Training time"] == "1 min 1 s"
    assert facts["Steps"] == "5,000"
    assert facts["Seed"] == "0"
    assert facts["Topology"] == "ring"
    assert facts["Search"] == "beam of 4"


@pytest.mark.parametrize("width", [16, 24, 80])
def test_alignment_keeps_columns_and_words_at_every_width(width):
    lines = [line.plain for line in summary.layout_alignment(COLUMNS, width=width)]
    assert max(map(len, lines)) <= width
    rows = {
        head: " ".join(line[4:] for line in lines if line.startswith(head)).split()
        for head in ("ref ", "hyp ", "    ")
    }
    assert rows["ref "] == ["press", "one", "to", "***", "mute"]
    assert rows["hyp "] == ["press", "two", "***", "the", "mute"]
    assert rows["    "] == ["S", "D", "I"]


def test_marks_stand_beneath_their_words():
    reference, hypothesis, marks = summary.layout_alignment(COLUMNS, width=80)
    assert reference.plain.index("one") == hypothesis.plain.index("two") == marks.plain.index("S")
    assert reference.plain.index("***") == hypothesis.plain.index("the") == marks.plain.index("I")


def test_printing_takes_texts_literally():
    screen = io.StringIO()
    prompts = [make_prompt("press [bold]one", "press [/bold]one")]
    summary.print_summary(make_run(title="[red]Demo"), prompts, console=Console(file=screen))
    for text in ("[red]Demo", "press [bold]one", "[/bold]one", "1 error in 2 words", "690 kB"):
        assert text in screen.getvalue()
