"""The transducer loss on the CPU: against torchaudio and warprnnt-numba, and tiled against dense.

Part one times loss and gradient with respect to the logits on the same inputs.  Peers run in worker
processes under interpreters of their own, which stay up, so that all take turns; values and
gradients must agree with double precision.  The floor is the time to read the logits and write the
gradient once.

Part two compares `joint_transducer_loss` with `transducer_loss` of the same joiner's logits: memory
from XLA's buffer assignment, and time.

    apt-get install python3-torchaudio
    python -m venv peers && peers/bin/pip install torch==2.13.0 warprnnt-numba packaging
    python benchmarks/transducer_loss.py --warprnnt-python peers/bin/python
"""

import argparse
import importlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TOLERANCE = 2e-3  # a log-probability of -850 in float32 is good to 3e-5; over 240 steps, to 5e-4


def main():
    parser = argparse.ArgumentParser(
        description="The transducer loss against peers; tiled against dense."
    )
    parser.add_argument("--torchaudio-python", default="/usr/bin/python3", help="interpreter")
    parser.add_argument("--warprnnt-python", help="interpreter; without it the peer is left out")
    parser.add_argument("--repeats", type=int, default=20, help="turns of ours and torchaudio")
    parser.add_argument("--warprnnt-repeats", type=int, default=1, help="turns of warprnnt-numba")
    parser.add_argument("--joint-repeats", type=int, default=7, help="turns of part two")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # One set of cores bounds every thread pool, those of the workers included.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    if options.worker:
        peer, folder = options.worker
        serve(peer, folder, options.threads)
        return
    print(f"{processor()}, {options.threads} threads for everyone\n")
    compare_peers(options)
    compare_joints(options.joint_repeats)


def compare_peers(options, batch=8, frames=200, labels=40, vocabulary=46):
    import jax
    import jax.numpy as jnp

    from gossamer.speech.transducer_loss import transducer_loss

    rng = np.random.default_rng(0)
    inputs = {
        "logits": rng.normal(size=(batch, frames, labels + 1, vocabulary)).astype(np.float32),
        "labels": rng.integers(1, vocabulary, (batch, labels)).astype(np.int32),
    }
    paddings = jnp.zeros((batch, frames)), jnp.zeros((batch, labels))

    def losses(logits, labels):
        loss = transducer_loss(logits, paddings[0], labels, paddings[1])
        return jnp.sum(loss), loss

    logits, targets = jnp.asarray(inputs["logits"]), jnp.asarray(inputs["labels"])
    start = time.perf_counter()
    compiled = jax.jit(jax.grad(losses, has_aux=True)).lower(logits, targets).compile()
    compile_time = time.perf_counter() - start
    with jax.enable_x64(True):
        wide = inputs["logits"].astype(np.float64)
        exact = jax.tree.map(np.asarray, jax.grad(losses, has_aux=True)(wide, inputs["labels"]))

    def error(gradient, loss):
        errors = np.max(np.abs(loss / exact[1] - 1)), np.max(np.abs(gradient - exact[0]))
        if not max(errors) < TOLERANCE:
            raise SystemExit(f"loss and gradient are off by {errors}")
        return errors

    names = {f"gossamer, jax {jax.__version__}": error(*map(np.asarray, compiled(logits, targets)))}
    runs = {next(iter(names)): lambda: jax.block_until_ready(compiled(logits, targets))}
    peers = {"torchaudio": options.torchaudio_python, "warprnnt": options.warprnnt_python}
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "inputs.npz", **inputs)
        workers = [
            Worker(peer, python, folder, options.threads)
            for peer, python in peers.items()
            if python
        ]
        for worker in workers:
            names[worker.version] = error(*worker.outputs())
            if worker.peer == "torchaudio":
                runs[worker.version] = worker.run
        times = alternate(runs, options.repeats)
        for worker in workers:
            if worker.peer == "warprnnt":
                times |= alternate({worker.version: worker.run}, options.warprnnt_repeats)
            worker.stop()

    ours = np.median(times[next(iter(names))])
    print(f"Loss and gradient, B={batch} T={frames} U={labels} V={vocabulary}, float32")
    print(
        f"{'':42}{'median ms':>11}{'least ms':>10}{'ratio':>8}"
        f"{'loss error':>12}{'gradient error':>16}"
    )
    for name, (loss_error, gradient_error) in names.items():
        median, least = 1e3 * np.median(times[name]), 1e3 * np.min(times[name])
        ratio = np.median(times[name]) / ours
        print(
            f"{name:42}{median:11.1f}{least:10.1f}{ratio:8.1f}"
            f"{loss_error:12.1e}{gradient_error:16.1e}"
        )
    floor = 2 * logits.nbytes / bandwidth()
    least = np.min(times[next(iter(names))])
    print(
        f"compilation {compile_time:.1f} s; floor {1e3 * floor:.1f} ms, of which the median is "
        f"{ours / floor:.1f} times and the least {least / floor:.1f} times\n"
    )


def compare_joints(repeats, batch=8, frames=200, labels=50, size=256, vocabulary=1024):
    import jax
    import jax.numpy as jnp

    from gossamer.speech.transducer_loss import joint_transducer_loss, transducer_loss

    keys = jax.random.split(jax.random.key(0), 4)
    arrays = (
        jax.random.normal(keys[0], (batch, frames, size)),
        jax.random.normal(keys[1], (batch, labels + 1, size)),
        jax.random.normal(keys[2], (size, vocabulary)) / size**0.5,
    )
    targets = jax.random.randint(keys[3], (batch, labels), 1, vocabulary)
    paddings = jnp.zeros((batch, frames)), jnp.zeros((batch, labels))

    def joiner(kernel):
        return lambda frames, prefixes: jnp.tanh(frames * prefixes) @ kernel

    def dense(encoded, predicted, kernel):
        logits = joiner(kernel)(encoded[:, :, None], predicted[:, None])
        return jnp.sum(transducer_loss(logits, paddings[0], targets, paddings[1]))

    def tiled(encoded, predicted, kernel):
        return jnp.sum(
            joint_transducer_loss(
                joiner(kernel), encoded, predicted, paddings[0], targets, paddings[1]
            )
        )

    compiled = {
        loss.__name__: jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2))).lower(*arrays).compile()
        for loss in (dense, tiled)
    }
    outputs = {name: loss(*arrays) for name, loss in compiled.items()}
    scale = max(float(jnp.max(jnp.abs(x))) for x in outputs["dense"][1])
    errors = jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), *outputs.values())
    times = alternate(
        {
            name: lambda loss=loss: jax.block_until_ready(loss(*arrays))
            for name, loss in compiled.items()
        },
        repeats,
    )
    memory = {name: temporary_bytes(loss) for name, loss in compiled.items()}
    print(
        f"Joiner, loss and gradients, B={batch} T={frames} U={labels} H={size} V={vocabulary}, "
        f"float32; gradients differ by {max(errors[1]) / scale:.1e} of the largest"
    )
    print(f"{'':10}{'temporary MB':>14}{'median s':>10}{'least s':>10}")
    for name, taken in times.items():
        megabytes = memory[name] / 1e6
        print(f"{name:10}{megabytes:14.1f}{np.median(taken):10.2f}{np.min(taken):10.2f}")
    less = memory["dense"] / memory["tiled"]
    ratio = np.median(times["tiled"]) / np.median(times["dense"])
    print(f"tiled: {less:.0f} times less memory, {ratio:.2f} of the time")


def temporary_bytes(compiled):
    analysis = compiled.memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


def alternate(runs, repeats):
    """Seconds of each run, taking turns."""
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            taken = run()
            # Workers time themselves: their answer does not pay for the pipe.
            elapsed = time.perf_counter() - start
            times[name].append(taken if isinstance(taken, float) else elapsed)
    return times


def bandwidth(size=1 << 28, repeats=5):
    """Bytes read and written a second by a copy in one thread, the best of a few."""
    source, target = np.ones(size // 8), np.zeros(size // 8)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")


class Worker:
    """A peer in a process of its own; one line in starts a run, one line out is its time."""

    def __init__(self, peer, python, folder, threads):
        command = [python, __file__, "--threads", str(threads), "--worker", peer, folder]
        self.peer, self.folder = peer, Path(folder)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **pipes)
        self.version = self.ask("")
        if not self.version:
            raise SystemExit(f"{peer} does not start under {python}; see the message above")

    def ask(self, line):
        """Sends a line, reads one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def run(self):
        """Seconds of one run."""
        return float(self.ask("run\n"))

    def outputs(self):
        """Gradient and loss."""
        with np.load(self.folder / f"{self.peer}.npz") as arrays:
            return arrays["gradient"], arrays["loss"]

    def stop(self):
        """Ends the process."""
        self.process.communicate()


def serve(peer, folder, threads):
    """The worker: runs the peer once for its outputs, then once for every line of input."""
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    torch = importlib.import_module("torch")  # only the peers' interpreters have it
    torch.set_num_threads(threads)
    with np.load(Path(folder) / "inputs.npz") as arrays:
        logits = torch.from_numpy(arrays["logits"]).requires_grad_()
        labels = torch.from_numpy(arrays["labels"])
    batch, frames = logits.shape[:2]
    lengths = torch.full((batch,), frames, dtype=torch.int32)
    label_lengths = torch.full((batch,), labels.shape[1], dtype=torch.int32)
    if peer == "torchaudio":
        torchaudio = importlib.import_module("torchaudio")
        version = f"torchaudio {torchaudio.__version__}, torch {torch.__version__}"
        loss_of = torchaudio.functional.rnnt_loss
        arguments = {"blank": 0, "reduction": "none"}
    else:
        warprnnt = importlib.import_module("warprnnt_numba")
        release = importlib.metadata.version("warprnnt-numba")
        version = f"warprnnt-numba {release}, torch {torch.__version__}"
        loss_of, arguments = warprnnt.RNNTLossNumba(blank=0, reduction="none"), {}

    def run():
        logits.grad = None
        loss = loss_of(logits, labels, lengths, label_lengths, **arguments)
        loss.sum().backward()
        return loss

    loss = run().detach().numpy().reshape(-1)
    np.savez(Path(folder) / f"{peer}.npz", loss=loss, gradient=logits.grad.numpy())
    print(version, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
