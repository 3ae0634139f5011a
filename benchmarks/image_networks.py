"""Images per second in training: gossamer's networks against the same ones in PyTorch.

    python benchmarks/image_networks.py --torch-python /usr/bin/python3

Both take turns, each in a process of its own on the same cores (``--torch-python`` is any Python
with torch and torchvision; the default is the one that runs this).  A step is a forward and a
backward pass of the cross entropy and an update of SGD with momentum, in float32, with batch norm
in training.  The floor is the time that the products alone would take at the rate of a large matrix
product, measured in the same minute; operations are those that XLA counts in the forward pass,
three times.  PyTorch runs in both of its layouts.  Printed are medians and the ratio to the faster
layout; above 1 gossamer is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

NETWORKS = {"resnet18_imagenet": "resnet18", "mobilenet_v2_imagenet": "mobilenet_v2"}
LAYOUTS = ("contiguous_format", "channels_last")

WORKER = """
import sys, time, torch, torchvision
name, layout, batch, size, threads = *sys.argv[1:3], *map(int, sys.argv[3:6])
torch.set_num_threads(threads)
torch.manual_seed(0)
layout = getattr(torch, layout)
network = getattr(torchvision.models, name)().train().to(memory_format=layout)
optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
images, labels = torch.randn(batch, 3, size, size), torch.randint(1000, (batch,))
images = images.contiguous(memory_format=layout)
print(torch.__version__, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
    print(time.perf_counter() - start, flush=True)
"""


def main():
    parser = argparse.ArgumentParser(description="Times training steps.")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch; pin both by taskset")
    options = parser.parse_args()
    for name in options.networks:
        print(json.dumps(measure(name, options)), flush=True)


def measure(name, options):
    """Medians in seconds, and what follows from them."""
    peers = {layout: Peer(name, layout, options) for layout in LAYOUTS}
    step, flops = make_step(name, options)
    contenders = {"gossamer": step} | {layout: peer.step for layout, peer in peers.items()}
    for warm_up in contenders.values():
        warm_up()
    contenders["matmul"] = time_matmul
    times = {each: [] for each in contenders}
    for _ in range(options.repeats):
        for each, run in contenders.items():
            times[each].append(run())
    versions = {peer.close() for peer in peers.values()}
    medians = {each: statistics.median(seconds) for each, seconds in times.items()}
    layout = min(LAYOUTS, key=lambda each: medians[each])
    rate = 2 * 2048**3 / medians["matmul"]
    return {
        "network": name,
        "batch": options.batch,
        "size": options.size,
        "torch": versions.pop(),
        "gossamer_images_per_s": round(options.batch / medians["gossamer"], 1),
        "torch_images_per_s": {each: round(options.batch / medians[each], 1) for each in LAYOUTS},
        "ratio_to_faster": round(medians[layout] / medians["gossamer"], 2),
        "over_floor": round(medians["gossamer"] / (flops / rate), 2),
        "matmul_gflops": round(rate / 1e9, 1),
    }


class Peer:
    """A process with the same network in PyTorch, which takes a step when asked."""

    def __init__(self, name, layout, options):
        sizes = [str(x) for x in (options.batch, options.size, options.threads)]
        command = [options.torch_python, "-c", WORKER, NETWORKS[name], layout, *sizes]
        # What this process imports must not reach a Python of another kind.
        environment = {key: os.environ[key] for key in os.environ if key != "PYTHONPATH"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        try:
            self.process = subprocess.Popen(command, env=environment, **pipes)
        except OSError as error:
            raise SystemExit(f"{error}: `--torch-python` must be a Python with torch.") from error
        self.version = self.read()
        if not self.version:
            raise SystemExit(f"no torch and torchvision in {options.torch_python}.")

    def read(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def step(self) -> float:
        """Seconds of a step."""
        assert self.process.stdin is not None
        print("", file=self.process.stdin, flush=True)
        return float(self.read())

    def close(self) -> str:
        """The version of PyTorch."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        return self.version


def make_step(name, options):
    """A function that takes a training step and returns its seconds, and the step's operations."""
    import jax
    import jax.numpy as jnp
    import optax

    from gossamer.vision import models

    network = models.create(name, 1000)
    generator = np.random.default_rng(0)
    shape = (options.batch, options.size, options.size, 3)
    images = jnp.asarray(generator.normal(size=shape), jnp.float32)
    labels = jnp.asarray(generator.integers(1000, size=options.batch))
    variables = jax.jit(lambda key: network.lazy_init(key, images))(jax.random.key(0))
    optimizer = optax.sgd(0.01, momentum=0.9)

    def loss(params, key):
        rngs = {"dropout": key}
        logits, found = network.apply(
            {"params": params}, images, train=True, mutable=["batch_stats"], rngs=rngs
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), found

    def update(params, state, key):
        gradients, found = jax.grad(loss, has_aux=True)(params, key)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, found

    key = jax.random.key(1)
    compiled = jax.jit(update, donate_argnums=(0, 1))
    forward = jax.jit(lambda params: loss(params, key)[0]).lower(variables["params"])
    analysis: Any = forward.cost_analysis()
    state = [variables["params"], optimizer.init(variables["params"])]

    def step():
        start = time.perf_counter()
        params, opt_state, found = compiled(*state, key)
        jax.block_until_ready((params, found))
        state[:] = params, opt_state
        return time.perf_counter() - start

    return step, 3 * analysis["flops"]


def time_matmul():
    """Seconds of a product of two matrices 2048 x 2048."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones((2048, 2048))
    run = jax.jit(jnp.matmul)
    jax.block_until_ready(run(x, x))
    start = time.perf_counter()
    jax.block_until_ready(run(x, x))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
