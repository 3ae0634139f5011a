"""Where compressed gradients pay, by the model of `core.machine`.

    python benchmarks/cluster_model.py --figure cluster_model.png

ResNet-50 (25.6 million parameters, 24.6 GFLOP for a sample, gradients of 2 bytes), one element of
100, on machines that reach 80% of their peak. The first table varies computers and minibatches at
32 GB/s links and 200 GB/s memory; the second the number of learners; the figure the links. Nothing
here is measured.
"""

import argparse
from pathlib import Path

import numpy as np

from gossamer.core.machine import Cluster, Workload, break_even, speedup, step_time

CLUSTER = Cluster(
    8, peak=100e12, memory_bandwidth=200e9, link_bandwidth=32e9, latency=5e-6, utilization=0.8
)
RESNET = Workload(25.6e6, operations=24.6e9, minibatch=8, gradient_bytes=2)
RATE = 100
LINKS = np.geomspace(1e8, 1e12, 81)  # bytes per second
COLORS = ("#17647a", "#b3541e", "#444444")


def main():
    parser = argparse.ArgumentParser(description="Where compression pays.")
    parser.add_argument("--figure", type=Path, help="speedup against link bandwidth, a PNG")
    options = parser.parse_args()
    print(f"{'TFLOP/s':>8}{'GB/s memory':>12}{'minibatch':>10}{'communication':>15}", end="")
    print(f"{'ScaleCom':>10}{'at most':>9}{'pays below, GB/s':>18}")
    for peak in (100e12, 300e12):
        for memory in (200e9, 2000e9):
            for minibatch in (8, 32):
                cluster = CLUSTER._replace(peak=peak, memory_bandwidth=memory)
                workload = RESNET._replace(minibatch=minibatch)
                share = step_time(cluster, workload).communication_share
                print(
                    f"{peak / 1e12:8g}{memory / 1e9:12g}{minibatch:10}{share:14.0%} "
                    f"{speedup(cluster, workload, 'scalecom', RATE):9.2f}x{1 / (1 - share):8.2f}x"
                    f"{break_even(cluster, workload, RATE) / 1e9:18.0f}"
                )
    print(f"\n{'learners':>8}{'dense':>8}{'ScaleCom':>10}{'local top-k':>13}   ms of communication")
    for n in (2, 8, 32, 128, 512):
        cluster = CLUSTER._replace(num_learners=n)
        times = [
            1e3 * step_time(cluster, RESNET, scheme, RATE).communication
            for scheme in ("dense", "scalecom", "local_top_k")
        ]
        print(f"{n:8}{times[0]:8.2f}{times[1]:10.2f}{times[2]:13.2f}")
    if options.figure:
        draw(options.figure)


def draw(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axes = figure.subplots()
    cases = {
        "200 GB/s memory, minibatch 8": (200e9, 8),
        "200 GB/s memory, minibatch 32": (200e9, 32),
        "2 TB/s memory, minibatch 8": (2000e9, 8),
    }
    for (name, (memory, minibatch)), color in zip(cases.items(), COLORS, strict=True):
        cluster = CLUSTER._replace(memory_bandwidth=memory)
        workload = RESNET._replace(minibatch=minibatch)
        gains = [
            speedup(cluster._replace(link_bandwidth=link), workload, "scalecom", RATE)
            for link in LINKS
        ]
        axes.plot(LINKS / 1e9, gains, color=color, linewidth=1.5, label=name)
    axes.axhline(1.0, color="#999999", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks([1, 2, 5, 10, 20, 50], labels=["1", "2", "5", "10", "20", "50"])
    axes.set_xlabel("link bandwidth, GB/s")
    axes.set_title("Dense over ScaleCom step time, eight learners (model)", loc="left")
    axes.legend(frameon=False)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
