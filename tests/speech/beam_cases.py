"""What the tests of the beam share: a random model, its frames, and the search over them."""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech.beam import Fusion, beam_search

VOCABULARY, SIZE, BATCH = 4, 6, 4


class Model(NamedTuple):
    """A random recurrent predictor, an additive joiner, and a bigram to fuse with."""

    embedding: np.ndarray  # [vocabulary, size]
    recurrent: np.ndarray  # [size, size]
    output: np.ndarray  # [size, vocabulary]
    bias: np.ndarray  # [vocabulary]
    bigram: np.ndarray  # [vocabulary, vocabulary]

    def predictor_step(self, tokens, state):
        hidden = jnp.tanh(jnp.asarray(self.embedding)[tokens] + state["hidden"] @ self.recurrent)
        return hidden, {"hidden": hidden, "step": state["step"] + 1}

    def joiner(self, encoded, predicted):
        logits = jnp.tanh(encoded + predicted) @ jnp.asarray(self.output)
        return logits + jnp.broadcast_to(jnp.asarray(self.bias), logits.shape)

    def log_probs(self, frame, labels, blank_id=0):
        """Float64, ``[vocabulary]``, after a whole prefix; no state that could be wrong."""
        hidden = np.zeros(SIZE)
        for label in (blank_id, *labels):
            hidden = np.tanh(self.embedding[label] + hidden @ self.recurrent)
        logits = np.tanh(frame + hidden) @ self.output + self.bias
        return logits - np.log(np.sum(np.exp(logits)))

    def fusion(self):
        """A bigram whose state is the label before, so that states must be chosen rightly too."""

        def step(tokens, state):
            del state
            return jnp.asarray(self.bigram)[tokens], tokens

        return Fusion(lambda batch: jnp.zeros(batch, jnp.int32), step)

    def fused(self, labels):
        pairs = itertools.pairwise((0, *labels))
        return sum(float(self.bigram[pair]) for pair in pairs)


def random_model(seed, blank_bias=0.0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    bias = draw(VOCABULARY)
    bias[0] += blank_bias
    return Model(
        2 * draw(VOCABULARY, SIZE),
        draw(SIZE, SIZE),
        draw(SIZE, VOCABULARY),
        bias,
        draw(VOCABULARY, VOCABULARY),
    )


def random_frames(seed, lengths):
    rng = np.random.default_rng(1000 + seed)
    num_frames = max(lengths)
    encoded = 2 * rng.standard_normal((len(lengths), num_frames, SIZE)).astype(np.float32)
    paddings = np.arange(num_frames)[None] >= np.asarray(lengths)[:, None]
    return encoded, paddings.astype(np.float32)


@functools.cache
def build(*, fused=False, search=beam_search, **options):
    """A jitted search with the model's arrays as arguments: one compilation for many models."""

    @jax.jit
    def run(model, encoded, paddings):
        batch = len(encoded)
        more = {"fusion": model.fusion()} if fused else {}
        return search(
            encoded,
            paddings,
            predictor_step=model.predictor_step,
            joiner=model.joiner,
            initial_state={
                "hidden": jnp.zeros((batch, SIZE)),
                "step": jnp.zeros(batch, jnp.int32),
            },
            **more,
            **options,
        )

    return run


def read(found, row):
    """What one utterance's n-best list holds, as ``[(labels, score), ...]``."""
    lengths = np.sum(found.label_paddings[row] == 0, axis=1)
    return [
        (tuple(labels[:length].tolist()), float(score))
        for labels, length, score in zip(found.labels[row], lengths, found.scores[row], strict=True)
        if score > -math.inf
    ]
