"""``gossamer train ngram``: count n-grams of words for a hybrid recognizer."""

import dataclasses
from pathlib import Path

import tyro

DESCRIPTION = """Estimate an n-gram language model of words (modified Kneser-Ney) and write it in
ARPA's form, for `gossamer evaluate` and `transcribe` with a hybrid recognizer.

examples:
  gossamer train ngram --order 4 --words-of runs/hybrid --output four.arpa
  gossamer train ngram --text prompts my/sentences.txt.gz --output large.arpa.gz"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Which texts and which words."""

    text: tuple[str, ...] = ("prompts",)
    """What to read: `prompts` (the bundled training transcripts), or texts in UTF-8 with one
    sentence for each line, plain or gzipped; of these every 20th is held out."""
    order: int = 3
    """Words of the longest n-grams."""
    words_of: Path | None = None
    """Run folder of a hybrid recognizer, whose words, all of its corpus, are all that can be said;
    by default those of the text."""
    language: str = "en"
    """Language of the texts, for their normalization."""
    output: Path
    """File to write; gzipped if its name ends in .gz."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(
        Arguments, prog="gossamer train ngram", description=DESCRIPTION, args=words
    )
    from ..speech.corpora import sentences
    from ..speech.graphs import arpa, ngram
    from ..speech.hybrids import hybrid_folder, lexicon

    texts = sentences.read_sentences(arguments.text, language=arguments.language)
    known = None
    if arguments.words_of is not None:
        known = lexicon.read(arguments.words_of / hybrid_folder.LEXICON).pronunciations
    model = ngram.train(texts.train, order=arguments.order, vocabulary=known)
    arpa.write_arpa(arguments.output, model)
    found = model.perplexity(texts.dev)
    total = found.tokens + found.unknown
    print(
        f"{len(texts.train)} sentences, {len(model.words) - len(ngram.SPECIAL)} words; held out: "
        f"perplexity {found.value:.1f}, {100 * found.unknown / total:.1f}% unknown"
    )
    return 0
