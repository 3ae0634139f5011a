"""``gossamer train FIELD ...``: train a model, resumably, into one run folder."""

import importlib

FIELDS = {
    "speech": "an LSTM transducer on telephone prompts or on your own recordings",
    "language-model": "an LSTM language model of a recognizer's labels, on any text",
    "hybrid": "a bidirectional LSTM of tied phone states, from a flat start",
    "ngram": "an n-gram language model of words, which is counted rather than trained",
    "vision": "a convolutional network on bundled images, by name, or on your own",
    "language": "a classifier of texts, whose predictions `gossamer explain` explains",
    "translation": "a Transformer from one language to another, on any parallel text",
}
USAGE = """usage: gossamer train FIELD ...

fields:
{fields}

examples:
  gossamer train speech demo
  gossamer train language-model --run runs/source
  gossamer train vision --model resnet18
  gossamer train language-model --help"""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(fields="\n".join(f"  {n:<18}{what}" for n, what in FIELDS.items())))
        return 0
    field, *rest = words
    if field not in FIELDS:
        raise ValueError(f"no field {field!r} to train; choose from {', '.join(FIELDS)}.")
    module = importlib.import_module(f".train_{field.replace('-', '_')}", __package__)
    return module.main(rest)
