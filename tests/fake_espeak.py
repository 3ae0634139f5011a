"""A synthesizer for tests that speaks in tones; the fixture `fake_espeak` says what it does.

It may import nothing beside the standard library: it runs with ``python -S``.
"""

import math
import struct
import sys
import wave

words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
if sys.argv[1] == "--voices=variant":
    print(
        "Pty Language Age/Gender VoiceName File\n 5 variant --/M Max !v/max\n"
        " 5 variant 20/M male1 !v/m1\n 5 variant 20/F female2 !v/f2"
    )
elif sys.argv[1].startswith("--voices="):
    print("Pty Language Age/Gender VoiceName File Other Languages")
    if sys.argv[1] == "--voices=en":
        print(" 2 en-gb --/M English_(GB) gmw/en (en 2)\n 5 en-us --/F us-mbrola-1 mb/mb-us1")
else:
    with open(words["-f"]) as file:
        text = file.read().strip()
    if "fail" in text:
        sys.exit("cannot say it")
    hertz = 400 if words["-v"].endswith("m1") else 800
    number = 0 if "silent" in text else 1000 * len(text) * 165 // int(words["-s"])
    tone = [round(9000 * math.sin(2 * math.pi * hertz * n / 16000)) for n in range(number)]
    samples = [0] * 3200 + tone + [0] * 4800
    with wave.open(words["-w"], "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
