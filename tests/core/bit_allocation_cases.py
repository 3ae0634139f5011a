"""Random problems of allocation, and their solution by every combination of widths."""

import functools

import numpy as np

WIDTHS = (2, 3, 4, 5, 6, 8)


def spent(sizes, widths):
    return sum(sizes[path] * bits for path, bits in widths.items())


def cost(costs, widths):
    return sum(costs[path][bits] for path, bits in widths.items())


def least_cost(costs, sizes, budget):
    """By enumeration of every combination of widths."""

    def sums(rows):
        return functools.reduce(np.add.outer, rows)

    total = sums([np.array(list(losses.values())) for losses in costs.values()])
    bits = sums([sizes[path] * np.array(list(losses)) for path, losses in costs.items()])
    return total[bits <= budget].min()


def convex_problem(generator, tensors=4):
    """Costs that fall ever more slowly with the width, as those of rounding noise do."""
    paths = [f"w{i}" for i in range(tensors)]
    sizes = {path: int(generator.integers(1, 20)) for path in paths}
    costs = {}
    for path in paths:
        gaps = np.diff(WIDTHS)
        slopes = np.sort(generator.exponential(size=len(gaps)))[::-1]
        falls = np.concatenate([[0.0], np.cumsum(slopes * gaps)])
        costs[path] = {b: float(10 - f) for b, f in zip(WIDTHS, falls, strict=True)}
    return costs, sizes


def noisy_problem(generator, tensors=4):
    paths = [f"w{i}" for i in range(tensors)]
    sizes = {path: int(generator.integers(1, 20)) for path in paths}
    costs = {path: {b: float(generator.normal()) for b in WIDTHS} for path in paths}
    return costs, sizes


def edges(costs, size):
    """The lower hull of one tensor from its narrowest width on: (slope, bits added, fall)."""
    points = [(size * bits, value) for bits, value in sorted(costs.items())]
    found = []
    while True:
        (x, y), later = points[0], points[1:]
        falling = [((y - v) / (u - x), u - x, y - v) for u, v in later if v < y]
        if not falling:
            return found
        found.append(max(falling))
        points = [p for p in points if p[0] >= x + found[-1][1]]
