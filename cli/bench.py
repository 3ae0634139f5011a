"""``gossamer bench``: lists the benchmarks and runs them, with a record of machine and versions."""

import datetime
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from ..core import whole_file
from . import benchmark_scripts
from .benchmark_scripts import Script

USAGE = """usage: gossamer bench NAME [options of NAME]

Run a benchmark: gossamer and its peers by turns on the same inputs. What it prints, the machine and
all versions are kept in runs/bench/NAME-TIME.json (elsewhere: GOSSAMER_BENCH).

{names}

examples:
  gossamer bench lstm
  gossamer bench lstm --help
  gossamer bench study --networks resnet18 vgg19 --batches 1 16"""

ELSEWHERE = "the others are in the folder benchmarks of its repository: call this from there"
WIDTH = 26  # of the names
STUDY = "networks times methods times batch sizes, rates and seeds, on images"


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    if words[:1] == ["study"]:
        from . import bench_study

        return bench_study.main(words[1:])
    scripts = benchmark_scripts.find()
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(names=_list(scripts)))
        return 0
    name, *options = words
    if name not in scripts:
        known = ", ".join(["study", *scripts])
        raise ValueError(
            f"no benchmark {name!r}; choose from {known}."
            if scripts
            else f"no benchmark {name!r}: an installed gossamer has the study alone; {ELSEWHERE}."
        )
    if "-h" in options or "--help" in options:
        return subprocess.run([sys.executable, scripts[name].path, *options]).returncode
    return _run(scripts[name], options)


def _list(scripts: dict[str, Script]) -> str:
    """Every benchmark with its purpose, and the peers that are not there."""
    lines = [
        "benchmarks (+ a peer that is installed, - one that is not):",
        f"  {'study':<{WIDTH}}{STUDY}",
    ]
    for name, script in scripts.items():
        lines.append(f"  {name:<{WIDTH}}{script.purpose}")
        if script.peers:
            marks = (f"{'+' if found else '-'} {peer}" for peer, found in script.versions().items())
            lines.append(f"  {'':<{WIDTH}}{'  '.join(marks)}")
    return "\n".join(lines if scripts else [*lines, f"  ({ELSEWHERE})"])


def _run(script: Script, options: list[str]) -> int:
    """Runs a script, shows what it prints, and writes the record."""
    missing = [peer for peer, version in script.versions().items() if not version]
    if missing:
        print(f"without {', '.join(missing)}: pip install {' '.join(missing)}", file=sys.stderr)
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    lines = []
    command = [sys.executable, "-u", str(script.path), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip("\n"))
    from ..core import run_folder  # when it is needed: numpy and JAX take a second

    host = benchmark_scripts.describe_host()
    record = {
        "command": shlex.join(["gossamer", "bench", script.name, *options]),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
        "exit_status": process.returncode,
        "host": host,
        "versions": run_folder.versions() | script.versions(),
        "output": lines,
    }
    folder = Path(os.environ.get("GOSSAMER_BENCH", "runs/bench"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{script.name}-{started:%Y%m%d-%H%M%S}.json"
    whole_file.write_text(path, json.dumps(record, indent=1) + "\n")
    print("\n" + ", ".join(f"{what} {value}" for what, value in host.items()))
    print(
        ", ".join(f"{name} {version or 'absent'}" for name, version in record["versions"].items())
    )
    print(path)
    return process.returncode
