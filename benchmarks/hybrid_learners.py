"""Ways to train together on frames of the telephone prompts, against learning rate and batch.

    gossamer train hybrid --run runs/hybrid
    python benchmarks/hybrid_learners.py runs/hybrid --folder runs/hybrid-learners
    python benchmarks/hybrid_learners.py runs/hybrid --learners 16 --batches 4

The workload of arXiv:2112.01433 and 2110.11199 in small: a bidirectional LSTM (the preset tiny)
learns the tied states that the run's last alignment gave each frame, from parts of 21 frames, from
a random start. Learners share each batch, which is so many times as large as usual. Runs go into
folders of their own: what is finished is not run again, and what was interrupted goes on. The
table has, on the development recordings, the cross-entropy and the error of frames aligned by the
run, and the word error rate with its trigram, of the averaged model ("diverged" where steps stopped
being finite).
"""

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import plain_errors
import rate_figure
from rich.console import Console

from gossamer.core import whole_file
from gossamer.speech import training_data, word_error
from gossamer.speech.corpora import corpus
from gossamer.speech.hybrids import (
    hybrid,
    hybrid_run,
    hybrid_targets,
    hybrid_training,
    pronunciations,
    word_search,
)
from gossamer.speech.hybrids.acoustic_model import AcousticModel, count_priors
from gossamer.speech.hybrids.acoustic_model_config import PRESETS
from gossamer.speech.hybrids.hybrid_config import HybridRun
from gossamer.speech.hybrids.word_search import WordSearch

METHODS: dict[str, dict[str, Any]] = {
    "SSGD": {"algorithm": "ssgd"},
    "SSGD*": {"algorithm": "ssgd", "weight_noise": 1e-3},
    "ring": {"topology": "ring"},
    "random ring": {"topology": "random_ring"},
    "delay-by-one": {"algorithm": "delay_by_one"},
}

MEASURES = {"loss": "cross-entropy, nats", "wer": "word error rate, development"}


def main():
    parser = argparse.ArgumentParser(description="Trains an acoustic model in different ways.")
    parser.add_argument("run", type=Path, help="finished run of `gossamer train hybrid`")
    parser.add_argument("--folder", type=Path, default=Path("runs/hybrid-learners"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--learners", nargs="+", type=int, default=[4])
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--rates", nargs="+", type=float, default=[2e-3, 8e-3, 32e-3, 64e-3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--figure", type=Path, help="PNG of loss and word errors against the rate")
    options = parser.parse_args()
    study = Study(options.run)
    print(
        f"{'learners':>8}{'batch':>7}{'peak rate':>11}{'seed':>6}  {'method':16}"
        f"{'loss':>8}{'frame error':>13}{'dev WER':>9}"
    )
    grid = itertools.product(
        options.learners, options.batches, options.rates, options.seeds, options.methods
    )
    rows = []
    for number, batch, rate, seed, method in grid:
        config = configure(study.run, METHODS[method], number, batch, rate, seed, options.steps)
        name = f"{method.replace(' ', '-')}-{number}-{batch}-{rate:g}-{seed}-{options.steps}"
        found = study.train(config, options.folder / options.run.name / name)
        shown = f"{'diverged':>8}"
        if found is not None:
            shown = (
                f"{found['loss']:8.3f}{100 * found['frame_error']:12.1f}%{100 * found['wer']:8.1f}%"
            )
        print(f"{number:8}{batch:7}{rate:11g}{seed:6}  {method:16}{shown}", flush=True)
        rows.append((f"{number} learners, {batch} x batch", method, rate, found))
    if options.figure:
        rate_figure.draw(rows, MEASURES).savefig(options.figure, dpi=130)


def configure(
    run: HybridRun, method: dict, number: int, batch: int, rate: float, seed: int, steps: int
) -> HybridRun:
    """The run with these learners and batches."""
    buckets = tuple((seconds, batch * count) for seconds, count in run.data.buckets)
    buckets = tuple((s, -(-count // number) * number) for s, count in buckets)
    return replace(
        run,
        model=replace(PRESETS["tiny"], dropout=0.0),
        data=replace(run.data, buckets=buckets),
        learners=replace(run.learners, number=number, **method),
        optimizer=replace(run.optimizer, peak_learning_rate=rate, steps=steps),
        unroll=21,
        seed=seed,
        log_every=50,
        checkpoint_every=steps,
    )


class Study:
    """What all runs share: targets of the training frames, and how a model is judged."""

    def __init__(self, folder: Path):
        self.run = HybridRun()
        self.source = hybrid_run.read_run(folder)
        self.prompts = corpus.telephone_prompts()
        self.train_utterances = training_data.training_utterances(self.run.speech, self.prompts)
        last = max((folder / "stages").iterdir(), key=lambda path: int(path.name))
        self.targets = hybrid_targets.load(last / "alignment.npz")
        words = {word for text in self.prompts.dev.texts for word in text.split()}
        spoken = pronunciations.of_run(folder, None, sorted(words))
        console = Console(stderr=True)
        self.dev_targets = hybrid_targets.find_targets(
            self.source, self.prompts.dev, spoken, console
        )
        self.graph = word_search.open_run(folder).graph

    def train(self, config: HybridRun, folder: Path) -> dict[str, float] | None:
        """The figures of a run, which is made if it is not there; None if it diverged."""
        stored = folder / "result.json"
        if not stored.exists():
            folder.mkdir(parents=True, exist_ok=True)
            whole_file.write_text(stored, json.dumps(self._measure(config, folder)))
        return json.loads(stored.read_text())

    def _measure(self, config: HybridRun, folder: Path) -> dict[str, float] | None:
        model = AcousticModel(config.model, self.source.tying.num_pdfs)
        shape = jnp.zeros((1, 8, 240)), jnp.zeros((1, 8))
        params: Any = model.init(jax.random.key(config.seed), *shape)
        try:
            params = hybrid_training.fit(
                config,
                model,
                params,
                self.train_utterances,
                self.targets,
                folder,
                num_steps=config.optimizer.steps,
            )
        except FloatingPointError as error:
            print(error)
            return None
        kept = [frames for frames in self.targets if frames is not None]
        priors = count_priors(kept, model.num_pdfs)
        trained = self.source._replace(config=config.model, params=params, log_priors=priors)
        waveforms = [utterance.waveform for utterance in self.prompts.dev]
        scores = hybrid.log_likelihoods(trained, waveforms, prior_scale=0.0)
        losses, wrong = [], []
        for frames, targets in zip(scores, self.dev_targets, strict=True):
            if targets is not None:
                losses.append(-frames[np.arange(len(frames)), targets])
                wrong.append(frames.argmax(axis=1) != targets)
        search = WordSearch(trained, self.graph)
        found = word_search.decode(search, [frames - priors for frames in scores])
        texts = [heard.text for heard in found]
        return {
            "loss": float(np.concatenate(losses).mean()),
            "frame_error": float(np.concatenate(wrong).mean()),
            "wer": word_error.word_error_rate(self.prompts.dev.texts, texts).rate,
        }


if __name__ == "__main__":
    plain_errors.run(main)
