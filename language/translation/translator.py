"""A trained translator: a network with the pieces of texts, in one packed file, and its score."""

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cattrs
import jax
import jax.numpy as jnp
import numpy as np

from ...core import packing
from .batches import Encoded, encode, evaluation_batches, padded_length
from .bleu import bleu
from .byte_pairs import PAD, BytePairs, as_rows
from .decoding import beam_search
from .parallel import Pair
from .recipe import token_measures
from .transformer import Transformer
from .transformer_config import TransformerConfig

PACKED = "translator.safetensors"
FORMAT = "gossamer-translator-1"
ROWS = 64  # texts that are translated together
LONGER = 2  # times as many tokens as its padded text a translation may have


class Translator(NamedTuple):
    """A network with its tokenizer."""

    config: TransformerConfig
    tokenizer: BytePairs
    max_length: int  # tokens of a text in training
    params: Any

    @property
    def model(self) -> Transformer:
        """The network that `params` belong to."""
        return Transformer(self.config, len(self.tokenizer))


class Translation(NamedTuple):
    """A text in the other language."""

    text: str
    log_probability: float
    ended: bool  # False if it was cut for its length


class TokenScore(NamedTuple):
    """How well references are predicted token by token, each from those before it."""

    loss: float  # nats of a token
    perplexity: float  # of a token
    accuracy: float  # share of tokens that are the most probable ones


class TextScore(NamedTuple):
    """How good translations are."""

    exact_match: float  # share that equals its reference
    bleu: float  # 0 to 100


def translate(
    translator: Translator, texts: Sequence[str], *, beam: int = 4, alpha: float = 0.6
) -> list[Translation]:
    """Translates texts.

    Args:
        translator: the model.
        texts: any number of sentences.
        beam: hypotheses of the search, 1 for greedy decoding.
        alpha: exponent of the length penalty, see `decoding`.

    Raises:
        ValueError: if a text is longer than those of training.
    """
    encoded = [translator.tokenizer.encode(text) for text in texts]
    for text, ids in zip(texts, encoded, strict=True):
        if len(ids) > translator.max_length:
            raise ValueError(
                f"`texts` must have at most {translator.max_length} tokens each, as in training, "
                f"got {len(ids)} in {text[:40]!r}; translate it sentence by sentence."
            )
    order = sorted(range(len(texts)), key=lambda number: len(encoded[number]))
    found: dict[int, Translation] = {}
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        length = padded_length(len(encoded[chosen[-1]]))
        # Texts again fill the rows: empty ones might be translated without end.
        filled = np.resize(chosen, 1 if len(texts) == 1 else ROWS).tolist()
        rows = as_rows([encoded[number] for number in filled], length)
        best = jax.device_get(
            beam_search(
                translator.model,
                translator.params,
                rows,
                beam=beam,
                max_length=LONGER * length,
                alpha=alpha,
            )
        )
        for number, ids, nats, ended in zip(
            chosen,
            best.tokens[:, 0].tolist(),
            best.log_probabilities[:, 0].tolist(),
            best.ended[:, 0].tolist(),
            strict=False,
        ):
            found[number] = Translation(translator.tokenizer.decode(ids), nats, ended)
    return [found[number] for number in range(len(texts))]


def score_tokens(model: Transformer, params: Any, encoded: Encoded) -> TokenScore:
    """Scores references without a search."""
    totals = np.zeros(3)
    for batch, chosen in evaluation_batches(encoded, rows=ROWS):
        target = np.where(np.arange(ROWS)[:, None] < len(chosen), batch["target"], PAD)
        totals += np.asarray(_measure(model, params, batch["source"], target), float)
    nats, right, number = totals.tolist()
    return TokenScore(nats / number, math.exp(min(nats / number, 700.0)), right / number)


def score_texts(
    translator: Translator, pairs: Sequence[Pair], *, beam: int = 4, alpha: float = 0.6
) -> TextScore:
    """Translates texts and compares them with their references."""
    references = [pair.target for pair in pairs]
    found = translate(translator, [pair.source for pair in pairs], beam=beam, alpha=alpha)
    texts = [each.text for each in found]
    same = [text == reference for text, reference in zip(texts, references, strict=True)]
    return TextScore(float(np.mean(same)), bleu(references, texts))


def encode_for(translator: Translator, pairs: Sequence[Pair]) -> Encoded:
    """Pairs in the numbers of a translator."""
    return encode(pairs, translator.tokenizer, translator.max_length)


def save(path: str | os.PathLike[str], translator: Translator) -> None:
    """Packs a translator into one file, atomically, in half precision."""
    header = {
        "format": FORMAT,
        "config": json.dumps(cattrs.unstructure(translator.config)),
        "characters": json.dumps(translator.tokenizer.characters, ensure_ascii=False),
        "merges": json.dumps(translator.tokenizer.merges, ensure_ascii=False),
        "max_length": str(translator.max_length),
    }
    packing.write(path, translator.params, header)


def load(path: str | os.PathLike[str]) -> Translator:
    """Unpacks a translator.

    Args:
        path: the file, or the folder of its run.

    Raises:
        ValueError: if there is none.
    """
    path = Path(path)
    path = path / PACKED if path.is_dir() else path

    def build(header: dict[str, str], params: dict[str, Any]) -> Translator:
        return Translator(
            cattrs.structure(json.loads(header["config"]), TransformerConfig),
            BytePairs(json.loads(header["characters"]), json.loads(header["merges"])),
            int(header["max_length"]),
            params,
        )

    remedy = "train it by `gossamer train translation`"
    return packing.read(path, (FORMAT,), "translator", remedy, build)


@jax.jit(static_argnums=0)
def _measure(
    model: Transformer, params: Any, source: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Nats, right tokens, tokens."""
    apply: Callable[..., Any] = model.apply
    nats, _, right = token_measures(apply({"params": params}, source, target), target)
    return jnp.sum(nats), jnp.sum(right), jnp.sum(target != PAD)
