"""A corpus made by rules, in which it is known which span decides the class and why.

A text joins two remarks about things; the class is that of the first remark, which says something
good or bad of its thing; the second one is indifferent.  Each adjective is learned from a few
training texts, so that an explanation is right if it points to the adjective, and to training texts
with the same one.  It needs no download: for tests, tutorials and first steps.
"""

import numpy as np

from .corpora import Row

THINGS = ("soup", "music", "service", "plot", "garden", "coffee", "room", "story", "view", "car")
GOOD = ("lovely", "superb", "charming", "brilliant", "delicious", "moving", "perfect", "fresh")
BAD = ("awful", "dull", "horrible", "stale", "clumsy", "boring", "broken", "bitter")
INDIFFERENT = ("large", "red", "new", "old", "round", "local", "quiet", "daily")
JOINS = (", and", ", while", "; besides,", ", though")


def make_phrases(number: int, *, seed: int = 0) -> list[Row]:
    """Draws texts.

    Args:
        number: how many; duplicates are drawn anew.
        seed: of the draw.

    Returns:
        Rows with the classes positive and negative; a tenth each for dev and test.

    Raises:
        ValueError: if there are not as many different ones.
    """
    most = len(GOOD + BAD) * len(THINGS) * (len(THINGS) - 1) * len(INDIFFERENT) * len(JOINS)
    if not 20 <= number <= most // 2:
        raise ValueError(f"`number` must be from 20 to {most // 2}, got {number}.")
    generator = np.random.default_rng(seed)
    rows: dict[str, Row] = {}
    while len(rows) < number:
        thing, other = generator.choice(THINGS, 2, replace=False)
        label = ("negative", "positive")[int(generator.integers(2))]
        adjective = generator.choice(GOOD if label == "positive" else BAD)
        join, plain = generator.choice(JOINS), generator.choice(INDIFFERENT)
        text = f"The {thing} was {adjective}{join} the {other} was {plain}."
        split = {0: "dev", 1: "test"}.get(len(rows) % 10, "train")
        if text not in rows:
            rows[text] = Row(f"phrase-{len(rows)}", text, label, split)
    return list(rows.values())
