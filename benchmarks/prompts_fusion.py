"""The prompts by beam search and density ratio, with recognizers and language models of any bits.

    python benchmarks/prompts_fusion.py --recognizers prompts runs/int4_paper \
        --external runs/external runs/external4 --source runs/source runs/source4

Every recognizer reads without language models and with each pair of them. Rates have the interval
of `gossamer evaluate`; the last column is the difference from the first recognizer with the first
pair, on development and test utterances together (105, 659 words), with its 95% interval by a
paired bootstrap, see `prompts_paired`. Weights are what `gossamer evaluate --tune` found for the
float models, see docs/results.md; nothing is chosen here.
"""

import argparse

import numpy as np
import plain_errors
from prompts_paired import difference, percent, wrong_words

from gossamer.speech import evaluation, experiment, language_model_run
from gossamer.speech.corpora import corpus
from gossamer.speech.fusion import FusedModels

BEAM = 8


def main():
    parser = argparse.ArgumentParser(description="Reads the prompts with language models.")
    parser.add_argument("--recognizers", nargs="+", required=True)
    parser.add_argument("--external", nargs="+", required=True, help="language models to add")
    parser.add_argument("--source", nargs="+", required=True, help="to subtract, one for each")
    parser.add_argument("--weights", nargs=2, type=float, default=(0.2, -0.1), help="of the two")
    parser.add_argument("--length-reward", type=float, default=0.1)
    options = parser.parse_args()
    if len(options.external) != len(options.source):
        parser.error("--source takes a model for each of --external.")
    pairs = list(zip(options.external, options.source, strict=True))
    recognizers = {name: experiment.find_recognizer(name) for name in options.recognizers}
    fused = {pair: fuse(pair, options.weights, options.length_reward) for pair in pairs}
    prompts = corpus.telephone_prompts()
    references = prompts.dev.texts + prompts.test.texts
    lengths = np.array([len(text.split()) for text in references])
    rows = [(name, pair) for name in recognizers for pair in [*pairs, None]]
    first = None
    print(f"{'recognizer':24}{'language models':40}{'dev WER':>8}{'test WER (95%)':>22}{'CER':>6}")
    for name, pair in rows:
        dev, test = (
            evaluation.evaluate(
                recognizers[name],
                split,
                timed=False,
                beam=BEAM,
                language_models=pair and fused[pair],
            )
            for split in (prompts.dev, prompts.test)
        )
        heard = [found.text for found in (*dev.transcripts, *test.transcripts)]
        errors = wrong_words(references, heard)
        first = errors if first is None else first
        rate = test.errors
        interval = f"{percent(rate.rate):.1f} ({percent(rate.low):.1f} to {percent(rate.high):.1f})"
        print(
            f"{name:24}{', '.join(pair or ['none']):40}{percent(dev.errors.rate):8.1f}"
            f"{interval:>22}{percent(rate.character_error_rate):6.1f}"
            f"  both {percent(errors.sum() / lengths.sum()):.1f}, "
            f"{difference(errors - first, lengths)}",
            flush=True,
        )


def fuse(pair, weights, length_reward) -> FusedModels:
    """The density ratio of two language models."""
    found = [language_model_run.load(path) for path in pair]
    models, params = (tuple(getattr(lm, part) for lm in found) for part in ("model", "params"))
    return FusedModels(models, params, tuple(weights), length_reward)


if __name__ == "__main__":
    plain_errors.run(main)
