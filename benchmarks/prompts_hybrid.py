r"""Hybrid recognizers on the held-out telephone prompts: bits of the network, order of n-grams.

    gossamer train hybrid --run runs/hybrid
    gossamer train hybrid --run runs/hybrid4 --from runs/hybrid --quantize int4_paper \
        --optimizer.steps 300 --optimizer.peak-learning-rate 1e-3
    python benchmarks/prompts_hybrid.py runs/hybrid runs/hybrid4

Each network reads the test recordings with n-grams of one to four words, counted on the training
transcripts.  What can be said is either every word of the corpus (a closed vocabulary, as when the
prompts of a product are known), or those of the training transcripts alone, which lack one test
word in eight.  The acoustic scale of each row is the best on the development recordings.
"""

import argparse
from pathlib import Path

import jax
import plain_errors

from gossamer.speech import evaluation, word_error
from gossamer.speech.corpora import corpus
from gossamer.speech.graphs import decoding_graph, ngram
from gossamer.speech.hybrids import hybrid_run, pronunciations, word_search
from gossamer.speech.hybrids.word_search import WordSearch

SCALES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.6)


def main():
    parser = argparse.ArgumentParser(description="Hybrids on the held-out prompts.")
    parser.add_argument("run", type=Path, nargs="+", help="run folders of hybrids")
    parser.add_argument("--orders", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--beam", type=float, default=14.0, help="in nats")
    options = parser.parse_args()
    models = {folder: hybrid_run.read_run(folder) for folder in options.run}
    prompts = corpus.telephone_prompts()
    splits = prompts.train, prompts.dev, prompts.test
    vocabularies = {
        "corpus": sorted({w for split in splits for text in split.texts for w in text.split()}),
        "training": sorted({w for text in prompts.train.texts for w in text.split()}),
    }
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; beam {options.beam:g}")
    print(
        f"{'run':20}{'words':>10}{'n':>3}{'perplexity':>12}{'scale':>7}{'dev':>7}"
        f"{'test WER, %':>13}{'95% interval':>15}{'graph arcs':>12}{'RTF':>8}"
    )
    for folder, model in models.items():
        for name, words in vocabularies.items():
            spoken = pronunciations.of_run(folder, None, words)
            for order in options.orders:
                grams = ngram.train(prompts.train.texts, order=order, vocabulary=words)
                graph = decoding_graph.build(spoken, grams, model.tying)
                search = WordSearch(model, graph, beam=options.beam)
                search, errors = word_search.tune(
                    search,
                    [utterance.waveform for utterance in prompts.dev],
                    lambda found: error_rate(prompts.dev, found),
                    SCALES,
                )
                found = evaluation.evaluate_reader(
                    lambda waveforms, search=search: word_search.transcribe(search, waveforms),
                    prompts.test,
                )
                interval = f"{100 * found.errors.low:.1f} to {100 * found.errors.high:.1f}"
                print(
                    f"{folder.name:20}{name:>10}{order:>3}"
                    f"{grams.perplexity(prompts.test.texts).value:>12.1f}"
                    f"{search.acoustic_scale:>7g}{100 * min(errors):>7.1f}"
                    f"{100 * found.errors.rate:>13.1f}{interval:>15}"
                    f"{len(graph.automaton.sources):>12}{found.real_time_factor:>8.4f}",
                    flush=True,
                )


def error_rate(utterances, found) -> float:
    texts = [heard.text for heard in found]
    return word_error.word_error_rate(utterances.texts, texts).rate


if __name__ == "__main__":
    plain_errors.run(main)
