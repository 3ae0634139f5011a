import numpy as np
import pytest

from gossamer.speech import evaluation, recognizer
from gossamer.speech.corpora.corpus import Utterance, Utterances
from gossamer.speech.transcript import Transcript

HEARD = {1: "one two three four", 2: "five six seven eight", 3: "nine"}
SPOKEN = {1: "one two three four", 2: "five six eleven eight", 3: "nine"}


@pytest.fixture
def utterances():
    return Utterances.of(
        [
            Utterance(f"u{number}", text, np.full(8000, number / 8, np.float32), 8000)
            for number, text in SPOKEN.items()
        ]
    )


@pytest.fixture
def model(monkeypatch):
    def hear(model, waveforms, *, beam, language_models):
        return [
            Transcript(HEARD[round(float(8 * waveform[0]))], [], -1.0) for waveform in waveforms
        ]

    monkeypatch.setattr(recognizer, "transcribe", hear)


@pytest.mark.usefixtures("model")
def test_counts_errors_in_order(utterances):
    result = evaluation.evaluate(None, utterances, timed=False)  # type: ignore[arg-type]
    assert result.errors.rate == pytest.approx(1 / 9)
    assert result.errors.substitutions == 1
    assert [heard.text for heard in result.transcripts] == list(HEARD.values())
    assert np.isnan(result.real_time_factor)


@pytest.mark.usefixtures("model")
def test_shows_sentences_first_and_pairs_them_rightly(utterances):
    result = evaluation.evaluate(None, utterances, timed=False)  # type: ignore[arg-type]
    shown = evaluation.showcase(utterances, result, number=2)
    assert {prompt.name for prompt in shown} == {"u1", "u2"}
    for prompt in shown:
        assert prompt.hypothesis == HEARD[int(prompt.name[1])]
        assert prompt.log_mel.shape == (98, 40)
    assert len(evaluation.showcase(utterances, result, number=9)) == 3


def test_refuses_an_empty_split():
    with pytest.raises(ValueError, match="`utterances` must not be empty"):
        evaluation.evaluate(None, Utterances.of([]))  # type: ignore[arg-type]
