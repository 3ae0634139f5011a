"""Entry point of the console script: finds the command and hands it the rest of the line.

Each command is one module with a ``main(arguments)``; it is imported when it is called, so that
help and mistakes answer at once.
"""

import importlib
import os
import sys

from ..core.host_memory import keep_freed_memory

COMMANDS = {
    "train": "train a model and write a run folder",
    "evaluate": "score a run on held-out recordings",
    "explain": "explain the class of a text by spans of training texts",
    "translate": "translate sentences",
    "audit": "show what quantization does to a model",
    "transcribe": "read audio files",
    "align": "tell when the words of a known text are spoken",
    "export": "write a recognizer that runs without JAX",
    "corpus": "list licensed recordings, or make synthetic ones",
    "alternatives": "decode n-best lists of a corpus",
    "bench": "list and run benchmarks, and the large-batch study of images",
    "exciton": "solve the exciton of a monolayer in an electric field",
    "spins": "simulate a layered magnet: Curie temperature, order, hysteresis",
}

ON_CLUSTERS = (["train", "speech"], ["train", "vision"], ["bench", "study"])

USAGE = """usage: gossamer [--cluster CLUSTER] COMMAND [options]

Light models and light training in JAX.

commands:
{commands}

examples:
  gossamer transcribe --pretrained prompts recording.wav
  gossamer train speech demo --run runs/demo
  gossamer evaluate runs/demo
  srun gossamer --cluster slurm train vision --model resnet18 --learners 16

`--cluster` makes one program of many processes, with a learner on each device; CLUSTER is slurm,
ompi, mpi4py, k8s, auto, or HOST:PORT,NUMBER,INDEX: the address of the first process, how many there
are, and which one this is.
`gossamer COMMAND --help` explains a command.
Set GOSSAMER_DEBUG=1 to see the traceback behind an error."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: words after ``gossamer``; the process's own by default.

    Returns:
        The exit status: 0, 1 when a run or a part of it failed, 2 when the input was bad, 128 and
        the number of the signal that stopped it, as 130 for an interrupt.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        from .. import __version__

        print(f"gossamer {__version__}")
        return 0
    cluster = None
    if arguments[0] == "--cluster":
        cluster, arguments = "".join(arguments[1:2]), arguments[2:]
        if not arguments:
            print("gossamer: `--cluster CLUSTER` stands before a command.", file=sys.stderr)
            return 2
    if arguments[0] not in COMMANDS:
        print(
            f"gossamer: no command {arguments[0]!r}; choose from {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return 2
    keep_freed_memory()
    try:
        if cluster is not None:
            _join(cluster, arguments)
        command = importlib.import_module(f".{arguments[0]}", __package__)
        return command.main(arguments[1:]) or 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("GOSSAMER_DEBUG"):
            raise
        print(f"gossamer: {error}", file=sys.stderr)
        return 1 if isinstance(error, FloatingPointError) else 2


def _join(cluster: str, arguments: list[str]) -> None:
    if arguments[:2] not in ON_CLUSTERS:
        known = ", ".join(" ".join(words) for words in ON_CLUSTERS)
        raise ValueError(f"`--cluster` is for {known}; leave it out.")
    from ..core import processes

    processes.join(cluster)


def _usage() -> str:
    lines = [f"  {name:<14}{purpose}" for name, purpose in COMMANDS.items()]
    return USAGE.format(commands="\n".join(lines))
