"""Compressed against dense training of a Transformer that translates, by rate and method.

    python benchmarks/compressed_translation.py --folder runs/compressed_translation
    python benchmarks/compressed_translation.py --methods dense "ScaleCom, beta 1" --seeds 1

English and German sentences made by rules, four learners that average gradients, Adam, no dropout.
Dense gradients once, each method at each rate.  The settings:

    standard    the defaults of ``gossamer train translation`` but for the dropout
    scaled      4 times as many tokens in a batch, a fourth of the steps, twice the learning rate

Every run has a folder of its own: what is finished is not run again, what was interrupted goes on.
Scores are of the test sentences, as medians over the seeds: perplexity and accuracy of a token,
translations without a mistake (greedy, and by a beam of 4), BLEU (beam), and the worst share
without a mistake.  kB are what a learner sends in a compressed step, by the algorithms of a ring,
and how many times less that is than dense gradients.  A run that diverged has no scores.
"""

import argparse
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from gossamer.core import error_feedback, sparsification
from gossamer.core.error_feedback import Compressor
from gossamer.core.learners_config import CompressionConfig, LearnersConfig, Scheme
from gossamer.core.low_rank import power_sgd
from gossamer.core.one_bit import signs
from gossamer.language.translation import experiment, translator
from gossamer.language.translation.run_config import TranslationConfig


class Method(NamedTuple):
    """How gradients, or updates, are compressed, and the filter."""

    scheme: Scheme
    compressor: Compressor
    beta: float = 1.0
    of: Literal["gradients", "updates"] = "gradients"


METHODS = {
    "dense": Method("none", sparsification.clt_k()),
    "ScaleCom, beta 1": Method("scalecom", sparsification.clt_k()),
    "ScaleCom, beta 0.1": Method("scalecom", sparsification.clt_k(), 0.1),
    "ScaleCom of updates, beta 1": Method("scalecom", sparsification.clt_k(), of="updates"),
    "ScaleCom of updates, beta 0.1": Method("scalecom", sparsification.clt_k(), 0.1, "updates"),
    "local top-k": Method("local_top_k", sparsification.local_top_k()),
    "gTop-k": Method("gtop_k", sparsification.gtop_k()),
    "random k": Method("random_k", sparsification.random_k()),
    "PowerSGD": Method("power_sgd", power_sgd()),
    "1 bit": Method("one_bit", signs()),
}
DEFAULT = ["dense", "ScaleCom, beta 1", "ScaleCom, beta 0.1", "local top-k", "random k"]
WITHOUT_RATE = ("dense", "1 bit")
SCALES = {"standard": 1, "scaled": 4}
NUM_LEARNERS = 4


def main():
    parser = argparse.ArgumentParser(description="Translation with compressed gradients.")
    parser.add_argument("--folder", type=Path, default=Path("runs/compressed_translation"))
    parser.add_argument("--settings", nargs="+", choices=SCALES, default=list(SCALES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DEFAULT)
    parser.add_argument("--rates", nargs="+", type=float, default=[47, 115])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=TranslationConfig().optimizer.steps)
    parser.add_argument("--model", choices=("tiny", "small", "base"), default="small")
    options = parser.parse_args()
    changed = "".join(
        f"-{getattr(options, name)}"
        for name in ("model", "steps")
        if getattr(options, name) != parser.get_default(name)
    )
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {options.seeds} seeds")
    rows = []
    for setting, name, rate in itertools.product(options.settings, options.methods, options.rates):
        if name in WITHOUT_RATE and rate != options.rates[0]:
            continue
        results = []
        for seed in range(options.seeds):
            config = configure(setting, METHODS[name], rate, seed, options)
            shown = "" if name in WITHOUT_RATE else f"-{rate:g}"
            folder = f"{setting}-{name.replace(', ', '-').replace(' ', '-')}{shown}-{seed}"
            results.append(train(config, options.folder / f"{folder}{changed}"))
        rows.append((setting, name, None if name in WITHOUT_RATE else rate, results))
    print_table(rows)


def configure(
    setting: str, method: Method, rate: float, seed: int, options: argparse.Namespace
) -> TranslationConfig:
    """The default run under a setting, with a method."""
    config, scale = TranslationConfig(), SCALES[setting]
    steps, optimizer = options.steps // scale, config.optimizer
    return replace(
        config,
        data=replace(config.data, batch_tokens=config.data.batch_tokens * scale),
        network=replace(config.network, name=options.model, dropout=0.0),
        optimizer=replace(
            optimizer,
            steps=steps,
            warmup=max(1, steps * optimizer.warmup // TranslationConfig().optimizer.steps),
            learning_rate=optimizer.learning_rate * scale**0.5,
        ),
        learners=LearnersConfig(number=NUM_LEARNERS, algorithm="ssgd"),
        compression=CompressionConfig(method.scheme, rate, method.beta, of=method.of),
        seed=seed,
        validate_every=max(1, steps // 4),
        checkpoint_every=max(1, steps // 4),
    )


def train(config: TranslationConfig, folder: Path) -> dict[str, Any] | None:
    """The scores of a run and what its learners send; None if it diverged."""
    result = folder / experiment.RESULT
    if not result.exists():
        print(f"\n{folder}", flush=True)
        start = time.process_time()
        try:
            experiment.train(config, folder)
        except FloatingPointError as error:
            print(error)
            return None
        print(f"{time.process_time() - start:.0f} s of processor time", flush=True)
    params = translator.load(folder).params
    return json.loads(result.read_text(encoding="utf-8")) | {"params": params}


def print_table(rows: list[tuple[str, str, float | None, list[dict[str, Any] | None]]]) -> None:
    print(
        f"\n{'setting':10}{'method':30}{'rate':>6}{'perplexity':>12}{'tokens':>8}{'exact':>8}"
        f"{'beam':>8}{'BLEU':>7}{'worst':>8}{'kB':>9}{'less':>7}"
    )
    for setting, name, rate, results in rows:
        head = f"{setting:10}{name:30}{'' if rate is None else f'{rate:g}':>6}"
        found = [result for result in results if result is not None]
        if len(found) < len(results):
            print(f"{head}  {len(results) - len(found)} of {len(results)} diverged")
        if not found:
            continue
        exact = [result["greedy"]["exact_match"] for result in found]
        columns = (
            [result["perplexity"] for result in found],
            [result["accuracy"] for result in found],
            exact,
            [result["beam"]["exact_match"] for result in found],
            [result["beam"]["bleu"] for result in found],
        )
        perplexity, tokens, greedy, beam, score = (float(np.median(x)) for x in columns)
        sent, dense = bytes_of_step(METHODS[name], rate or 1.0, found[0]["params"])
        print(
            f"{head}{perplexity:12.3f}{100 * tokens:7.1f}%{100 * greedy:7.1f}%{100 * beam:7.1f}%"
            f"{score:7.1f}{100 * min(exact):7.1f}%{sent / 1e3:9.1f}{dense / sent:7.1f}"
        )


def bytes_of_step(method: Method, rate: float, params: Any) -> tuple[float, float]:
    """What a learner sends in a step of a method, and of dense gradients."""
    dense = error_feedback.traffic(sparsification.clt_k(), 1.0, params, NUM_LEARNERS)
    if method.scheme == "none":
        return dense, dense
    # "1 bit" has no rate, but is no dense gradient, which a rate of 1 would be.
    rate = max(rate, 2.0)
    return error_feedback.traffic(method.compressor, rate, params, NUM_LEARNERS), dense


if __name__ == "__main__":
    main()
