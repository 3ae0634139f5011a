import base64
import html.parser
import io
import itertools
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gossamer.speech import prompt_card, report, summary, word_error

VOID = {"meta", "img", "source", "br", "hr", "link", "input"}
LOG = [
    {"step": step, "loss": 30.0 / step, "learning_rate": 1e-3, "consensus_distance": 0.1 / step}
    for step in range(1, 30)
] + [{"step": 20, "validation/loss": 2.0, "validation/wer": 0.3}]


class Page(html.parser.HTMLParser):
    """Tags with their attributes, the text between them, and a check that every tag closes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def find(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def make_prompt(*, name="goodbye", reference="thank you goodbye", hypothesis="thank to good bye"):
    waveform = 0.5 * np.sin(np.arange(8000) * 0.3).astype(np.float32)
    log_mel = np.random.default_rng(0).normal(size=[100, 40]).astype(np.float32)
    labels = [(letter, 0.05 * index) for index, letter in enumerate(hypothesis)]
    return summary.PromptResult(name, reference, hypothesis, waveform, 8000, log_mel, labels)


def make_run(**changes):
    run = summary.RunSummary(
        title="Demo",
        corpus="Telephone prompts",
        num_prompts=2,
        errors=word_error.word_error_rate(["thank you", "goodbye"], ["thank", "goodbye"]),
        num_parameters=1000,
        num_bytes=500,
        real_time_factor=0.02,
        command="gossamer train speech --seed 0",
        config={"model": {"hidden": 320}, "path": Path("runs/demo")},
        versions={"jax": "0.10.2"},
        attribution="Recordings by Allison Smith, CC BY-SA 3.0.",
    )
    return run._replace(**changes)


def test_page_is_well_formed_and_complete():
    page = Page(report.render_report(make_run(), [make_prompt()], LOG))
    assert len(page.find("svg")) == 2
    assert len(page.find("audio")) == 1
    for text in (
        summary.state_verdict(make_run()),
        "4.0 bits each",
        "50 times as fast as speech",
        '"hidden": 320',
        "gossamer train speech --seed 0",
        "Recordings by Allison Smith, CC BY-SA 3.0.",
        *(value for fact in summary.list_facts(make_run()) for value in fact),
    ):
        assert text in page.text
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert set(ids.values()) == {1}


def test_page_loads_nothing_from_elsewhere():
    page = Page(report.render_report(make_run(), [make_prompt()], LOG))
    for _, attributes in page.tags:
        for key in ("src", "srcset", "href", "xlink:href", "poster", "data", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:"))
        assert not re.search(r"url\((?!#)", attributes.get("style") or "")
    assert "@import" not in page.text
    assert "url(" not in page.text


def test_page_speaks_to_screen_readers():
    page = Page(report.render_report(make_run(), [make_prompt()], LOG))
    assert page.find("html")[0]["lang"] == "en"
    assert all("alt" in image for image in page.find("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.find("svg"))
    assert page.find("audio")[0]["aria-label"] == "Recording goodbye"
    canvas = next(div for div in page.find("div") if div.get("role") == "img")
    assert "thank at 0.00 seconds, to at 0.30 seconds" in canvas["aria-label"]


def test_texts_cannot_become_markup():
    hostile = "<script>alert(1)</script> \"'&<b onload=x>"
    prompt = make_prompt(name=hostile, reference=hostile, hypothesis=hostile + " <i>")
    changes = dict.fromkeys(("title", "corpus", "command", "attribution", "topology"), hostile)
    run = make_run(**changes, config={hostile: hostile}, versions={hostile: hostile})
    plain = Page(report.render_report(make_run(), [make_prompt()], LOG))
    page = Page(report.render_report(run, [prompt], LOG))
    assert len(page.find("script")) == len(plain.find("script")) == 1
    assert not page.find("b onload=x")
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert hostile in page.text


def test_dollar_signs_in_texts_stay():
    page = Page(report.render_report(make_run(command="echo $title $$"), [], []))
    assert "echo $title $$" in page.text


def test_recording_survives_the_embedding():
    prompt = make_prompt()
    page = Page(report.render_report(make_run(), [prompt], LOG))
    encoded = page.find("audio")[0]["src"].removeprefix("data:audio/wav;base64,")
    waveform, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert rate == 8000
    # 16 bits: half a step of rounding, and up to one step as full scale is 32767 out and 32768 in.
    np.testing.assert_allclose(waveform, prompt.waveform, rtol=0.0, atol=1.5 / 32768)


def test_errors_carry_a_sign_beside_the_color():
    page = report.render_report(make_run(), [make_prompt(reference="a b", hypothesis="a c d")], [])
    card = page[page.index('<ol class="alignment">') :]
    assert card.count("substituted: ") == card.count("inserted: ") == 1
    assert card.count("≠") == card.count(">+<") == 1


def test_page_without_prompts_and_metrics():
    page = Page(report.render_report(make_run(real_time_factor=None, attribution=""), [], []))
    assert not page.find("audio")
    assert not page.find("svg")
    assert "Real-time factor" not in page.text


def test_same_run_gives_the_same_page():
    first, second = (report.render_report(make_run(), [make_prompt()], LOG) for _ in range(2))
    assert first == second


def test_report_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "run" / "report.html"
    report.write_report(path, make_run(), [make_prompt()], LOG)
    before = path.read_text(encoding="utf-8")
    Page(before)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write_report(path, make_run(title="Other"), [], [])
    assert path.read_text(encoding="utf-8") == before
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_words_begin_at_their_first_character():
    labels = [(" ", 0.0), ("h", 0.1), ("i", 0.2), (" ", 0.3), (" ", 0.4), ("y", 0.5), ("o", 0.5)]
    words = prompt_card.place_words(labels, seconds=1.0, width=1000.0)
    assert words == [("hi", 0.1, 0), ("yo", 0.5, 0)]


def test_words_in_a_lane_do_not_overlap():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0.0, 6.0, size=18))
    words = ["abcdefghij"[: rng.integers(1, 11)] for _ in times]
    labels = [(c, t) for word, t in zip(words, times, strict=True) for c in f"{word} "]
    placed = prompt_card.place_words(labels, seconds=6.0, width=900.0)
    assert [word for word, _, _ in placed] == words
    for (word, start, lane), (_, later, other) in itertools.combinations(placed, 2):
        extent = 7.2 * len(word) / 150.0  # a letter is 7.2 px, a second 150 px
        assert lane != other or later >= min(start, 6.0 - extent) + extent


def read_palettes():
    style = Path(report.__file__).with_name("report.html").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    return {"light": light, "dark": light | dark}


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [(text, ground) for text in ("ink", "muted", "first") for ground in ("paper", "card")]
    + [("sub", "sub-wash"), ("del", "del-wash"), ("ins", "ins-wash")],
)
def test_contrast_reaches_wcag_aa(mode, text, ground):
    def luminance(color):  # WCAG 2.2, relative luminance
        channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return linear @ [0.2126, 0.7152, 0.0722]

    palette = read_palettes()[mode]
    low, high = sorted(luminance(palette[name]) for name in (text, ground))
    assert (high + 0.05) / (low + 0.05) >= 4.5
