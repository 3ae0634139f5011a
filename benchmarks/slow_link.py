"""Step times of processes on slow links: dense mean gradients against compressed ones.

    sudo "$(command -v python)" benchmarks/slow_link.py --processes 2 4 --megabits 100 1000

Each process is one learner in a network namespace of its own, on a bridge whose ports are held to
the bandwidth by a token bucket; they train an MLP of about 4 million parameters under
``jax.distributed`` with gloo. A step takes the time of the slowest process; medians over the steps.
The last column is what the links alone need for the bytes that the compiled step sends. Without
the rights to make namespaces (root, and the programs ip and tc) the script says so.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTHS, BATCH, STEPS, RATE = (512, 2048, 1024, 512, 10), 16, 12, 128
SCHEMES = ("dense", "ScaleCom", "local top-k", "PowerSGD")


def main():
    parser = argparse.ArgumentParser(description="Compression on slow links.")
    parser.add_argument("--processes", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--megabits", nargs="+", type=float, default=[100, 1000])
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return
    if os.geteuid() or not (shutil.which("ip") and shutil.which("tc")):
        raise SystemExit("needs root and the programs `ip` and `tc` (Debian: iproute2).")
    print(f"{'processes':>9}{'Mbit/s':>8}  {'':14}{'ms':>8}{'sent, MB':>10}{'link alone, ms':>16}")
    for number in options.processes:
        for megabits in options.megabits:
            for name, (seconds, sent) in measure(number, megabits).items():
                alone = 1e3 * sent / (1e6 * megabits / 8)
                print(
                    f"{number:9}{megabits:8g}  {name:14}{1e3 * seconds:8.0f}{sent / 1e6:10.2f}"
                    f"{alone:16.1f}",
                    flush=True,
                )


def measure(number: int, megabits: float) -> dict[str, tuple[float, float]]:
    """Seconds of a step and bytes that a learner sends in it, by scheme."""
    with tempfile.TemporaryDirectory() as folder, Network(number, megabits) as network:
        results = [Path(folder) / f"{i}.json" for i in range(number)]
        command = [sys.executable, __file__, "--worker", str(number)]
        workers = [
            subprocess.Popen([*network.enter(i), *command, str(i), str(result)])
            for i, result in enumerate(results)
        ]
        try:
            codes = [worker.wait(timeout=600) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
        if any(codes):
            raise SystemExit(f"processes ended with {codes}.")
        found = [json.loads(result.read_text()) for result in results]
    return {
        name: (
            statistics.median(max(step) for step in zip(*(x[name][0] for x in found), strict=True)),
            found[0][name][1],
        )
        for name in SCHEMES
    }


class Network:
    """Namespaces on a bridge in a namespace of its own, each sending at most at one bandwidth."""

    def __init__(self, number: int, megabits: float):
        self._number, self._megabits = number, megabits
        self._name = f"slow{os.getpid()}"
        self._names = [f"{self._name}-{i}" for i in range(number)]

    def host(self, i: int) -> str:
        """The address of learner i."""
        return f"10.77.0.{i + 1}"

    def enter(self, i: int) -> list[str]:
        """What runs a command in the namespace of learner i."""
        return ["ip", "netns", "exec", self._names[i]]

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self) -> None:
        own_name = subprocess.check_output(["hostname"], text=True).strip()
        switch = f"{self._name}-switch"
        run(f"ip netns add {switch}")
        run(f"ip -n {switch} link add bridge type bridge")
        run(f"ip -n {switch} link set bridge up")
        for i, name in enumerate(self._names):
            # A process finds itself by the name of its host: each namespace has hosts of its own.
            hosts = Path("/etc/netns") / name / "hosts"
            hosts.parent.mkdir(parents=True)
            hosts.write_text(f"127.0.0.1 localhost\n{self.host(i)} {own_name}\n")
            port, link = f"p{os.getpid() % 100000}x{i}", "net"
            run(f"ip netns add {name}")
            run(f"ip -n {name} link add {link} type veth peer name {port} netns {switch}")
            run(f"ip -n {switch} link set {port} master bridge up")
            run(f"ip -n {name} addr add {self.host(i)}/24 dev {link}")
            run(f"ip -n {name} link set {link} up")
            run(f"ip -n {name} link set lo up")
            burst = max(32, int(self._megabits * 125 / 100))  # kB of 10 ms
            run(
                f"ip netns exec {name} tc qdisc add dev {link} root tbf rate {self._megabits}mbit "
                f"burst {burst}kb latency 50ms"
            )

    def __exit__(self, *_):
        for name in [*self._names, f"{self._name}-switch"]:
            subprocess.run(["ip", "netns", "del", name], check=False)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def work(number: str, i: str, result: str) -> None:
    """One learner: all schemes in turns, step by step."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize("10.77.0.1:7177", int(number), int(i))

    import jax.numpy as jnp
    import numpy as np
    import optax

    from gossamer.core import gossip, learners, sparsification, traffic
    from gossamer.core.error_feedback import error_feedback
    from gossamer.core.low_rank import power_sgd

    links = {
        "dense": gossip.all_reduce(),
        "ScaleCom": sparsification.scalecom(RATE),
        "local top-k": error_feedback(sparsification.local_top_k(), RATE),
        "PowerSGD": error_feedback(power_sgd(), RATE),
    }
    n = int(number)
    placement = learners.learner_sharding(n)
    generator = np.random.default_rng(0)

    def place(tree):
        """The same values for all learners."""
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(
                (n, *np.shape(x)), placement, lambda index: np.asarray(x)[None]
            ),
            tree,
        )

    weights = [
        generator.normal(size=size).astype(np.float32) / np.sqrt(size[0])
        for size in itertools.pairwise(WIDTHS)
    ]
    images = generator.normal(size=(BATCH, WIDTHS[0])).astype(np.float32)

    def loss(weights, x):
        for kernel in weights[:-1]:
            x = jax.nn.relu(x @ kernel)
        return jnp.mean(jnp.square(x @ weights[-1]))

    contenders = {}
    for name, link in links.items():
        optimizer = optax.chain(link, optax.sgd(0.01))

        def step(weights, state, x, optimizer=optimizer):
            updates, state = optimizer.update(jax.grad(loss)(weights, x), state, weights)
            return optax.apply_updates(weights, updates), state

        arguments = place((weights, optimizer.init(weights), images))
        spread = learners.spread(step, n, engine="shard_map")
        sent = traffic.measure(spread.lower(*arguments).compile()).mean
        contenders[name] = spread, arguments, sent, []
    for turn in range(1 + STEPS):
        for run_step, arguments, _, times in contenders.values():
            start = time.perf_counter()
            jax.block_until_ready(run_step(*arguments))
            if turn:
                times.append(time.perf_counter() - start)
    found = {name: (times, sent) for name, (_, _, sent, times) in contenders.items()}
    Path(result).write_text(json.dumps(found))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()
