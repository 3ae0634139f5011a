"""``gossamer train language-model``: train a language model of a recognizer's labels."""

import tyro

from ..speech.language_model_run_config import LanguageModelRun

DESCRIPTION = """Train a language model of the labels of a recognizer, with which `speech.fusion`
scores hypotheses in beam search. The same command continues an interrupted run.

examples:
  gossamer train language-model --run runs/source
  gossamer train language-model --text my/sentences.txt prompts --run runs/external
  gossamer train language-model --run runs/source4 --from runs/source --quantize int4_paper \\
      --optimizer.steps 200 --optimizer.peak-learning-rate 1e-3     at 4 bits"""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    config = tyro.cli(
        LanguageModelRun, prog="gossamer train language-model", description=DESCRIPTION, args=words
    )
    from ..speech import language_model_run  # after parsing, so that help answers at once

    found = language_model_run.train(config)
    print(f"Held-out perplexity: {found.label:.2f} for a label, {found.word:.0f} for a word")
    return 0
