"""Which training texts come first for a span, by what is asked of it: classes and words.

    gossamer train language --steps 600 --run runs/sentiment600
    python benchmarks/span_queries.py runs/sentiment600 --texts 20

For the most important span of random test texts, every training text is scored by the product of
its gradient with that of the query, over its length, at the final parameters. The queries:

    importance  the logit of the text less that without the span (TracIn++)
    alone       the margin of the class with all other words hidden (`gossamer explain`)

It prints, for texts of which the model is sure (probability over 0.9) and for the others, how many
of the 10 first and of the 10 last training texts have the class of the prediction, and how many of
all 10 first ones share a word of at least four letters with the span.
"""

import argparse
from pathlib import Path

import numpy as np
import plain_errors

from gossamer.core.attribution import Blocks, directional_scores, example_gradients
from gossamer.language import classifier, data, spans
from gossamer.language.losses import Importance, Margin, Nll
from gossamer.language.padding import TEXTS
from gossamer.language.tokens import WORDS

FIRST = 10


def main():
    parser = argparse.ArgumentParser(description="What comes first for a span.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--texts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    model = classifier.load(options.run)
    corpus = data.load_corpus(model.corpus)
    drawn = np.random.default_rng(options.seed).choice(
        len(corpus.test), options.texts, replace=False
    )
    hidden, alone, words = [], [], []
    texts = [corpus.test[number].text for number in drawn]
    probabilities = classifier.predict(model, texts)
    for text, label in zip(texts, probabilities.argmax(1), strict=True):
        encoded = model.tokenizer.encode(text)
        found = spans.enumerate_spans(text, encoded)
        ids = np.pad(encoded.ids, (0, model.tokenizer.max_length - len(encoded.ids)))
        mask_id = model.tokenizer.mask_id
        rows = spans.hide(ids, found, label, mask_id=mask_id)
        best = int(spans.span_importance(model.model, model.params, rows).argmax())
        hidden.append(spans.Hidden(*(field[best : best + 1] for field in rows)).examples())
        alone.append(spans.keep(ids, found[best : best + 1], label, mask_id=mask_id))
        first, last = spans.characters(encoded, found[best])
        words.append(longer_words(text[first:last]))
    train = data.as_arrays(corpus.train, model.tokenizer)
    shared = np.array(
        [[bool(each & longer_words(text.text)) for text in corpus.train] for each in words]
    )
    same = probabilities.argmax(1)[:, None] == train["label"]
    sure = probabilities.max(1) > 0.9
    print(f"{sure.sum()} of {len(sure)} sure; {shared.mean():.1%} of all texts share a word")
    floor = 0.1 * np.median(model.gradient_norms)
    for name, loss, examples in (
        ("importance", Importance(model.model), hidden),
        ("alone", Margin(model.model), alone),
    ):
        queries = {key: np.concatenate([each[key] for each in examples]) for key in examples[0]}
        scores = directional_scores(
            Nll(model.model),
            model.params,
            example_gradients(loss, model.params, queries),
            train,
            blocks=Blocks(64, padding=TEXTS),
        )
        order = np.argsort(-scores / (model.gradient_norms + floor), axis=1, kind="stable")
        first, last = (
            np.take_along_axis(same, order[:, part], 1)
            for part in (slice(FIRST), slice(-FIRST, None))
        )
        for who, rows in (("sure", sure), ("others", ~sure)):
            print(
                f"{name:12}{who:8}same class: {first[rows].mean():4.0%} of the first, "
                f"{last[rows].mean():4.0%} of the last"
            )
        common = np.take_along_axis(shared, order[:, :FIRST], 1).mean()
        print(f"{name:12}{common:.1%} of the first share a word")


def longer_words(text: str) -> set[str]:
    return {word for word in WORDS.findall(text.lower()) if len(word) > 3}


if __name__ == "__main__":
    plain_errors.run(main)
