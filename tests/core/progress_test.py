"""The display prints plain lines outside a terminal, one bar inside, and nothing when off."""

import io

import pytest
import rich.console

from gossamer.core import progress


def show(*, terminal, enabled=True):
    console = rich.console.Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with progress.Display(20, start=5, enabled=enabled, console=console) as display:
        for step in range(6, 11):
            display.advance(step)
        display.report(10, {"loss": 1.5, "learning_rate": 0.001, "grad_norm": 9.0})
        display.report_validation(10, {"wer": float("nan")})
        display.advance(20)
        display.report(20, {"loss": 0.25})
    return console.file.getvalue()


def test_plain_lines():
    compiles, first, validation, last = show(terminal=False).splitlines()
    assert compiles == "step 5/20  compiling"
    assert first.startswith("step 10/20  loss 1.5  learning rate 0.001  ")
    assert "steps/s" in first
    assert "left" in first
    assert validation == "step 10/20  validation: wer nan"
    assert last.startswith("step 20/20  loss 0.25  validation: wer nan  ")
    assert last.endswith("0:00:00 left")


def test_speed_is_that_of_steps(monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    console = rich.console.Console(file=io.StringIO(), width=120)
    with progress.Display(8, console=console) as display:
        for step in range(1, 7):
            now += 100.0 if step == 1 else 2.0  # the first one is compiled
            display.advance(step)
            if step != 5:
                display.report(step, {"loss": 1.0})
            if step == 3:
                now += 50.0
                display.report_validation(step, {"wer": 0.5})
    _, first, second, third, _, fourth, sixth = console.file.getvalue().splitlines()
    assert first == "step 1/8  loss 1"
    assert second == "step 2/8  loss 1  0.5 steps/s  0:00:12 left"
    assert third.endswith("0.5 steps/s  0:00:10 left")
    assert fourth.endswith("0.5 steps/s  0:00:08 left")
    assert sixth.endswith("0.5 steps/s  0:00:04 left")


def test_live_bar():
    shown = show(terminal=True)
    assert "\x1b[" in shown
    assert "20/20" in shown
    assert "loss 0.25" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_switched_off(terminal):
    assert show(terminal=terminal, enabled=False) == ""


def test_default_is_standard_error(capsys):
    with progress.Display(3, start=3) as display:
        display.say("a [line] with brackets")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a [line] with brackets\n")


def show_amount(*, terminal):
    console = rich.console.Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with progress.Amount(2.0, "hours", console=console) as amount:
        for tenth in range(21):
            amount.report(tenth / 10, f"{tenth} utterances")
    return console.file.getvalue()


def test_amounts_in_a_log_are_a_line_each_twentieth():
    lines = show_amount(terminal=False).splitlines()
    assert lines[0] == "0.10 of 2 hours  1 utterances"
    assert lines[-1] == "2.00 of 2 hours  20 utterances"
    assert len(lines) == 20


def test_whole_numbers_have_no_decimals():
    console = rich.console.Console(file=io.StringIO())
    with progress.Amount(3, "parts", console=console) as amount:
        amount.report(1, "first")
    assert console.file.getvalue() == "1 of 3 parts  first\n"


def test_amounts_in_a_terminal_are_a_bar():
    shown = show_amount(terminal=True)
    assert "\x1b[" in shown
    assert "2.00 of 2 hours  20 utterances" in shown
