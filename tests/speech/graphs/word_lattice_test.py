import numpy as np
import pytest

from gossamer.speech.graphs import word_lattice
from gossamer.speech.graphs.automaton import Automaton


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n", [1, 3, 50])
def test_texts_are_the_best_of_all_paths(all_paths, seed, n):
    generator = np.random.default_rng(seed)
    sources, targets = np.sort(generator.integers(0, 8, (2, 24)), axis=0)
    kept = sources < targets
    renamed = np.concatenate(([0], 1 + generator.permutation(7)))  # in no order
    columns = (
        renamed[sources],
        renamed[targets],
        generator.integers(0, 3, 24),
        generator.integers(0, 3, 24),
        generator.normal(size=24),
    )
    finals = np.where(generator.random(8) < 0.6, 0.5, np.inf)
    lattice = Automaton.of(np.column_stack(columns)[kept], finals)
    best = {}
    for frames in range(8):
        for inputs, outputs, cost, final in all_paths(lattice, frames):
            if final and cost < best.get(outputs, (np.inf,))[0]:
                best[outputs] = cost, inputs
    wanted = sorted((cost, outputs, inputs) for outputs, (cost, inputs) in best.items())[:n]
    found = word_lattice.best_texts(lattice, n)
    assert [tuple(path.outputs) for path in found] == [outputs for _, outputs, _ in wanted]
    assert [tuple(path.inputs) for path in found] == [inputs for _, _, inputs in wanted]
    assert [path.cost for path in found] == pytest.approx([cost for cost, *_ in wanted], abs=1e-6)
