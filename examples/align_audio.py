"""Tells when each word of a recording is spoken, given its text.

    python examples/align_audio.py                                  # a bundled recording
    python examples/align_audio.py recording.wav "what is said in it"

The hybrid recognizer that ships knows which sound each tied state of a phone has. The text becomes
phones, the phones states, and the likeliest path of the recording through them dates every word and
phone to 20 ms. Words that the recognizer has not seen need `pip install '.[hybrid]'`: their
pronunciations come from the CMU dictionary, or by letter to sound. Any sample rate and loudness
will do, but the recognizer has heard one voice on the telephone only; `gossamer train hybrid` makes
one of your own recordings. The command `gossamer align` does the same and writes CTM or TextGrid.
"""

import sys

from gossamer.speech.corpora import audio, corpus
from gossamer.speech.hybrids import hybrid, hybrid_run, pronunciations
from gossamer.speech.hybrids.hybrid_folder import PRETRAINED
from gossamer.speech.text import normalize

RECORDING = "vm-savefolder"  # of the bundled test prompts


def main():
    """Aligns what the command line names."""
    model = hybrid_run.read_run(PRETRAINED)
    if len(sys.argv) == 3:
        path, text = sys.argv[1:]
        waveform, text = audio.read(path, model.data.sample_rate), normalize(text)
    else:
        prompt = next(x for x in corpus.telephone_prompts().test if x.name == RECORDING)
        waveform, text = prompt.waveform, prompt.text
    spoken = pronunciations.of_run(PRETRAINED, None, text.split())
    (found,) = hybrid.align(model, [waveform], [text], spoken)
    if found is None:
        sys.exit("The recording is too short for this text.")
    phones, words = found
    for number, word in enumerate(words):
        sounds = " ".join(phone.label for phone in phones if phone.word == number)
        print(f"{word.start:7.2f} {word.end:7.2f}  {word.label:16}{sounds}")


if __name__ == "__main__":
    main()
