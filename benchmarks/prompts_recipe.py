"""What each part of the recipe gives on the telephone prompts, against the plain recipe.

    python benchmarks/prompts_recipe.py --folder runs/recipe --seeds 0 1 2
    python benchmarks/prompts_recipe.py --changes "speed" "all" --steps 200

Every run goes on from `gossamer train speech single` and then `refined`, without whatever perturbs
recordings or labels except for one change. Runs go into folders of their own: what was interrupted
goes on. What a finished run gave, the wrong words of each utterance, goes into
`prompts_recipe.json` beside this script, and is not run again: what is there is printed first.
n-best lists are decoded before the first run, by the model that all start from. The table has word
error rates over development and test recordings and all seeds, and the difference from the plain
recipe with its 95% interval by a paired bootstrap over utterances.
"""

import argparse
import fcntl
import json
from dataclasses import replace
from pathlib import Path

import cattrs
import numpy as np
import plain_errors
import prompts_paired

from gossamer.core import whole_file
from gossamer.speech import experiment, nbest_lists
from gossamer.speech.configs import CONFIGS
from gossamer.speech.corpora import corpus
from gossamer.speech.run_config import SpeechConfig

START = "runs/refined"  # whose results RESULTS holds
RESULTS = Path(__file__).with_suffix(".json")
SPEC_AUGMENT = {"augmentation": {"num_time_masks": 4, "num_frequency_masks": 2}}
PLAIN = {
    "data": {"speed": (1.0, 1.0)},
    "augmentation": {"num_time_masks": 0, "num_frequency_masks": 0},
    "start_from": START,
}
CHANGES = {
    "plain": {},
    "SpecAugment": SPEC_AUGMENT,
    "speed": {"data": {"speed": (0.85, 1.15)}},
    "sequence noise": {"augmentation": {"sequence_noise": {"probability": 0.4}}},
    "length perturbation": {"augmentation": {"length_perturb": {"probability": 0.7}}},
    "n-best smoothing": {"label_noise": {"nbest": 0.1}},
    "SwitchOut": {"label_noise": {"switchout": 0.5}},
    "scheduled sampling": {"label_noise": {"scheduled_sampling": 0.2}},
}
ALL = "all"


def main():
    parser = argparse.ArgumentParser(description="Trains the recipe with and without its parts.")
    parser.add_argument("--folder", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--changes", nargs="+", choices=[*CHANGES, ALL], default=[*CHANGES, ALL])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    options = parser.parse_args()
    other_rate = "" if options.rate == parser.get_default("rate") else f"-{options.rate:g}"
    runs = {
        change: {
            f"{change.replace(' ', '-')}-{options.steps}{other_rate}-{seed}": seed
            for seed in options.seeds
        }
        for change in dict.fromkeys(["plain", *options.changes])
    }
    known = read_results()
    finished = {change: names for change, names in runs.items() if known.keys() >= names.keys()}
    if "plain" in finished:  # what others are compared to
        print_table(finished)
    if finished == runs:
        return
    start = experiment.find_recognizer(START)
    options.folder.mkdir(parents=True, exist_ok=True)
    lists = options.folder / "nbest.jsonl"
    nbest_lists.decode(lists, START, start, corpus.telephone_prompts().train)
    for change, names in runs.items():
        for name, seed in names.items():
            if name in read_results():
                continue
            folder = options.folder / name
            print(f"\n{folder}", flush=True)
            config = configure(change, options.steps, options.rate, seed, str(lists))
            experiment.train(config, folder)
            model = prompts_paired.find_model(str(folder))
            store_result(name, prompts_paired.count_errors(model, prompts_paired.held_out()))
    print()
    print_table(runs)


def print_table(runs: dict[str, dict[str, int]]) -> None:
    """Of finished runs, by change."""
    known = read_results()
    prompts_paired.print_table(
        {change: [np.array(known[name]) for name in names] for change, names in runs.items()}
    )


def read_results() -> dict[str, list[int]]:
    """Wrong words of each utterance by the name of the run."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def store_result(name: str, errors: np.ndarray) -> None:
    """Adds what a run gave; others may do so at the same time."""
    with open(RESULTS.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read_results() | {name: [int(number) for number in errors]}
        lines = [f"  {json.dumps(key)}: {json.dumps(known[key])}" for key in sorted(known)]
        whole_file.write_text(RESULTS, "{\n" + ",\n".join(lines) + "\n}\n")


def configure(change: str, steps: int, rate: float, seed: int, lists: str) -> SpeechConfig:
    """`single`, from START, with one change."""
    config = CONFIGS["single"].config
    optimizer = replace(config.optimizer, steps=steps, peak_learning_rate=rate)
    fields = cattrs.unstructure(replace(config, optimizer=optimizer, seed=seed))
    parts = CHANGES.values() if change == ALL else [CHANGES[change]]
    for part in (PLAIN, *parts, {"label_noise": {"alternatives": lists}}):
        merge(fields, part)
    fields["validate_every"] = steps
    return cattrs.structure(fields, SpeechConfig)


def merge(fields: dict, changes: dict) -> None:
    """Sets some of nested fields."""
    for name, value in changes.items():
        if isinstance(value, dict):
            merge(fields[name], value)
        else:
            fields[name] = value


if __name__ == "__main__":
    plain_errors.run(main)
