"""What a step of gossip sends and how fast it mixes, for each topology, beside an all-reduce.

    python benchmarks/wire_bytes.py
    python benchmarks/wire_bytes.py --learners 16 --figure topologies.png

A step mixes 1,000,000 float32 numbers (4 MB) of each learner under ``shard_map``. Bytes are those
that a learner sends, counted in the compiled program, in units of the 4 MB; a ring all-reduce sends
2 (n - 1) / n. The spectral gap says how much of the disagreement a step removes, at worst; "exact
after" is the number of steps that average exactly; the limit is that of the step size times the
curvature, for AWC.
"""

import argparse

import jax
import jax.numpy as jnp

parser = argparse.ArgumentParser(description="Bytes and mixing of topologies.")
parser.add_argument("--learners", type=int, default=8)
parser.add_argument("--figure", help="draw the topologies into this file")
OPTIONS = parser.parse_args()
jax.config.update("jax_num_cpu_devices", OPTIONS.learners)  # before the first array exists

from gossamer.core import gossip, learners, mixing_analysis, topology, topology_figures, traffic  # noqa: E402

NUMBERS = 1_000_000


def main():
    n = OPTIONS.learners
    graphs = {
        "ring": topology.ring(n),
        "torus": topology.torus(2, n // 2),
        "hypercube": topology.hypercube(n),
        "exponential": topology.exponential(n),
        "one-peer exponential": topology.one_peer_exponential(n),
        "Base-2 graph": topology.base_graph(n),
        "random ring": topology.random_ring(n, seed=0),
        "random matching": topology.random_matching(n, seed=0),
        "star": topology.star(n),
        "complete": topology.complete(n),
    }
    print(f"{'':22}{'sent':>7}{'formula':>9}{'gap':>7}{'exact after':>13}{'limit a h':>11}")
    for name, graph in graphs.items():
        sent = measure(graph) / (4 * NUMBERS)
        formula = traffic.predict(graph, 4 * NUMBERS) / (4 * NUMBERS)
        steps = mixing_analysis.averaging_steps(graph) or "-"
        limit = mixing_analysis.step_size_limit(graph)
        print(
            f"{name:22}{sent:7.2f}{formula:9.2f}{graph.spectral_gap():7.3f}{steps:>13}{limit:11.2f}"
        )
    sent = measure(None) / (4 * NUMBERS)
    print(f"{'all-reduce':22}{sent:7.2f}{2 * (n - 1) / n:9.2f}")
    if OPTIONS.figure:
        figure = topology_figures.draw(graphs["one-peer exponential"])
        figure.savefig(OPTIONS.figure)


def measure(graph: topology.Topology | None) -> float:
    """Bytes that a learner sends in a step; of an all-reduce without a graph."""
    link = gossip.all_reduce() if graph is None else gossip.mix(graph)
    params = jnp.zeros((OPTIONS.learners, NUMBERS))
    states = learners.replicate(link.init(params[0]), OPTIONS.learners)

    def step(params, state):
        return link.update(params, state, params)

    spread = learners.spread(step, OPTIONS.learners, engine="shard_map")
    return traffic.measure(spread.lower(params, states).compile()).mean


if __name__ == "__main__":
    main()
