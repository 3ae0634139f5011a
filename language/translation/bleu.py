"""BLEU: how many n-grams of translations stand in their references.

    BLEU = min(1, exp(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4)

p_n is the share of the translations' n-grams that their references have too, each counted at most
as often as there; c and r are the lengths of all translations and references.  Tokens are those of
the script mteval-v13a, and an n-gram order without a match counts 1/2, 1/4, ... matches, as
sacrebleu has it by default (tok:13a, smooth:exp).

References:
    K. Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002.
    M. Post, "A Call for Clarity in Reporting BLEU Scores", 2018, arXiv:1804.08771.
"""

import collections
import math
import re
from collections.abc import Sequence

ORDER = 4
ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
SPLITS = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),  # punctuation but . , - '
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def bleu(references: Sequence[str], translations: Sequence[str]) -> float:
    """BLEU of a corpus, from 0 to 100.

    Args:
        references: one for each text.
        translations: of the same texts.

    Raises:
        ValueError: if there are none, or not as many of both.

    Example:
        >>> bleu(["The cat sat on the mat."], ["The cat sat on the mat."])
        100.0
    """
    if not references or len(references) != len(translations):
        raise ValueError(
            f"`translations` must be as many as `references`, at least one, got "
            f"{len(translations)} and {len(references)}."
        )
    matches, totals = [0] * ORDER, [0] * ORDER
    reference_length = length = 0
    for reference, translation in zip(references, translations, strict=True):
        expected, found = tokenize(reference), tokenize(translation)
        reference_length += len(expected)
        length += len(found)
        for order in range(ORDER):
            counts = _ngrams(found, order + 1)
            matches[order] += (counts & _ngrams(expected, order + 1)).total()
            totals[order] += counts.total()
    if not matches[0] or not totals[-1]:
        return 0.0  # no word in common, or no translation of four tokens
    logarithm, smoothing = 0.0, 1.0
    for found, total in zip(matches, totals, strict=True):
        if not found:
            smoothing *= 2
        logarithm += math.log((found or 1 / smoothing) / total) / ORDER
    return 100.0 * math.exp(logarithm + min(0.0, 1 - reference_length / length))


def tokenize(text: str) -> list[str]:
    """Words and signs of a text, as mteval-v13a splits them."""
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, sign in ENTITIES.items():
        text = text.replace(entity, sign)
    text = f" {text} "
    for pattern, replacement in SPLITS:
        text = pattern.sub(replacement, text)
    return text.split()


def _ngrams(tokens: Sequence[str], order: int) -> "collections.Counter[tuple[str, ...]]":
    return collections.Counter(zip(*(tokens[start:] for start in range(order)), strict=False))
