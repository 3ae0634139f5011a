"""Kills every command that writes at random moments, goes on, and compares what it leaves.

    python tools/kill_and_resume.py
    python tools/kill_and_resume.py --commands vision spins --kills 10 --seed 3
    python tools/kill_and_resume.py --commands cluster --steps 2400 --every 60

Each command runs to its end once.  Then, in another folder, it is started again and again and
killed (SIGKILL, with all its processes) at random moments of the time that the first run took, and
at last left alone; with `--every` it is killed after about so many seconds, again and again, until
it ends before that.  Of several processes of one run a random one is killed, and then the others,
as a launcher does.  Both folders must hold the same files with the same bytes; in logs and reports
what tells a time is left out, and of checkpoints only their names are compared.

Compiled programs are kept in a cache beside the folders, so that most kills hit the work itself.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gossamer.core import checkpoint, metrics

START = "import sys; from gossamer.cli.main import main; sys.exit(main(sys.argv[1:]))"
PROCESSES = 4  # of "cluster"
TRAIN = "--optimizer.steps 12 --checkpoint-every 4 --validate-every 6 --log-every 2 --run {0}"
LONGER = "--optimizer.steps {0} --checkpoint-every 25 --validate-every {0} --log-every 5"
LEARNED = "--steps 60 --checkpoint-every 20 --validate-every 20 --log-every 5 --run {0}"
COMMANDS = {
    "speech": "train speech demo --model.encoder-layers 1 --model.encoder-size 16 "
    f"--model.predictor-size 16 --model.joiner-size 16 --data.spliced 0 {TRAIN}",
    "language-model": f"train language-model --model.size 16 --model.embedding-size 8 {TRAIN}",
    "hybrid": "train hybrid --rounds 1 --pdfs 60 --model.layers 1 --model.size 16 "
    "--optimizer.steps 12 --checkpoint-every 4 --log-every 2 --run {0}",
    "ngram": "train ngram --output {0}/three.arpa",
    "vision": "train vision --model resnet18 --width 0.0625 --data.batch-size 16 "
    f"--learners.number 1 {TRAIN}",
    "cluster": "train vision --model resnet18 --width 0.0625 --data.batch-size 16 "
    f"--learners.number {PROCESSES} --statistics-images 64 {TRAIN}",
    "language": f"train language --corpus phrases --model.size 16 --model.layers 1 {LEARNED}",
    "translation": f"train translation --model tiny --data.batch-tokens 256 {TRAIN}",
    "study": "bench study --networks resnet18 --methods ssgd dpsgd --batches 16 --epochs 0.1 "
    "--width 0.0625 --learners 2 --run {0}",
    "exciton": "exciton --field 0:2:1 --radial 12 --angular 6 --output {0}",
    "spins": "spins --layers 1,2 --sizes 6 12 --measurements 40 --loop-steps 5 --run {0}",
    "export": "export prompts --output {0}/exported --overwrite",
    "alternatives": "alternatives prompts --beam 2 --number 2 --output {0}/alternatives.jsonl",
}
CHECKPOINTS = re.compile(r"^(.*/)?(checkpoints|best)/|events\.out\.tfevents|(^|/)\.")
TIMES = re.compile(
    r"\d+(\.\d+)? ?(ms|s|min|h|steps/s|seconds|minutes|times as fast)\b"
    r"|\b0\.00\d{3}\b"  # real-time factors
    r'|"\w*seconds": [\d.]+'
    r"|\d{4}-\d\d-\d\d[T ][\d:.]+"
)
TIMED = {"time", "seconds", "steps_per_second", "started", "finished"}


def main() -> bool:
    """Runs the module."""
    parser = argparse.ArgumentParser(description="Kill and resume every command that writes.")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--every", type=float, help="seconds between kills, about, until it ends")
    parser.add_argument("--steps", type=int, help="of a command that trains, in place of its few")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where all is written; a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kill-"))
    print(f"everything is written to {folder}", flush=True)
    draw, failed = random.Random(options.seed), []
    for name in options.commands:
        whole, killed = folder / name / "whole" / "run", folder / name / "killed" / "run"
        for place in (whole, killed):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        seconds = run(name, whole, folder, None, options.steps)
        if not options.every:  # once more, without compiling
            shutil.rmtree(whole)
            whole.mkdir()
            seconds = run(name, whole, folder, None, options.steps)
        moments = []
        while options.every or len(moments) < options.kills:
            moment = draw.uniform(0.1, 1.0) * (2 * options.every if options.every else seconds)
            lasted = run(name, killed, folder, moment, options.steps)
            if options.every and lasted < moment:
                break
            moments.append(round(min(moment, lasted), 1))
            if options.every:
                logged, kept = steps(killed)
                print(
                    f"  kill {len(moments)} after {moment:.1f} s, at step {logged}, kept {kept}",
                    flush=True,
                )
        run(name, killed, folder, None, options.steps)
        found = compare(whole, killed)
        print(
            f"{name:16}{seconds:6.1f} s alone, killed after {moments}: "
            + ("the same" if not found else "; ".join(found)),
            flush=True,
        )
        failed += [name] * bool(found)
    print(f"{len(options.commands) - len(failed)} of {len(options.commands)} as if nothing was")
    return bool(failed)


def run(name: str, place: Path, folder: Path, limit: float | None, number: int | None) -> float:
    """Runs a command until it ends or the limit, and returns how long that took."""
    words = COMMANDS[name].format(place).split()
    if number:
        words += LONGER.format(number).split()
    places: list[list[str]] = [[]]
    if name == "cluster":
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        places = [["--cluster", f"localhost:{port},{PROCESSES},{i}"] for i in range(PROCESSES)]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", START, *where, *words],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
            for where in places
        ]
        try:
            for process in processes:
                process.wait(None if limit is None else begin + limit - time.perf_counter())
        except subprocess.TimeoutExpired:
            random.Random(limit).shuffle(processes)
            for process in processes:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        else:
            if any(process.returncode for process in processes):
                log.seek(0)
                raise SystemExit(f"gossamer {' '.join(words)}\nfailed:\n{log.read()[-3000:]}")
    return time.perf_counter() - begin


def steps(place: Path) -> tuple[int, int]:
    """The last step that a run logged, and the one that its newest checkpoint holds."""
    logged = [row["step"] for row in metrics.read_log(place)]
    return max(logged, default=0), max(checkpoint.steps(place / "checkpoints"), default=0)


def compare(whole: Path, killed: Path) -> list[str]:
    """What differs, in words."""
    names = [
        {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()}
        for place in (whole, killed)
    ]
    plain = [{name for name in each if not CHECKPOINTS.search(name)} for each in names]
    found = [f"{name} is missing" for name in sorted(plain[0] - plain[1])]
    found += [f"{name} is left over" for name in sorted(plain[1] - plain[0])]
    found += [
        f"{name} differs"
        for name in sorted(plain[0] & plain[1])
        if content(whole / name, whole) != content(killed / name, killed)
    ]
    kept = [
        {Path(name).parent for name in each if name.endswith("_CHECKPOINT_METADATA")}
        for each in names
    ]
    return found + ["other checkpoints"] * (kept[0] != kept[1])


def content(path: Path, place: Path):
    """A file without its own place and without times."""
    data = path.read_bytes().replace(str(place).encode(), b"")
    if path.suffix == ".safetensors":  # the order of its header's entries is left to chance
        end = 8 + int.from_bytes(data[:8], "little")
        return json.loads(data[8:end]), data[end:]
    if path.suffix == ".jsonl":
        return [
            {key: value for key, value in json.loads(line).items() if key not in TIMED}
            for line in data.decode().splitlines()
        ]
    return TIMES.sub("", data.decode()) if path.suffix in (".html", ".json", ".txt") else data


if __name__ == "__main__":
    sys.exit(main())
