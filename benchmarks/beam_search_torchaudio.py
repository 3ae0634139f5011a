"""Batched beam search against torchaudio's RNNTBeamSearch, with the same weights.

    pip install torch torchaudio
    taskset -c 0 python benchmarks/beam_search_torchaudio.py

Both read the same 6 s of telephone prompts per utterance, from the vectors of the encoder of the
recognizer that ships, and emit at most four labels in a frame.  torchaudio's search takes one
utterance at a time and expands each frame until no longer sequence beats its beam, where
gossamer's goes by alignment length, so that the two may differ: printed are real-time factors,
medians of a few rounds in turns, their ratios, and how many labels differ between the readings.
Its predictor and joiner are PyTorch modules of the same weights, whose logits are compared first.
"""

import argparse
import functools
import statistics
from typing import Any

import beam_search
import jax
import jax.numpy as jnp
import numpy as np
import peers
import turns

from gossamer.speech.word_error import word_error_rate


def build_torch(params) -> Any:
    """Predictor and joiner in the form that torchaudio asks for; its blank is the last label."""
    torch = peers.require("torch")
    weights = jax.tree.map(lambda x: torch.tensor(np.array(x)), params["params"])
    order = [*range(1, beam_search.VOCABULARY), 0]
    size = weights["predictor"]["recurrent"].shape[1]

    def dense(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            layer = weights["predictor"]
            self.cell = torch.nn.LSTMCell(weights["embedding"]["embedding"].shape[1], size)
            self.cell.weight_ih.data = layer["kernel"][0].T.contiguous()
            self.cell.weight_hh.data = layer["recurrent"][0].T.contiguous()
            self.cell.bias_ih.data, self.cell.bias_hh.data = layer["bias"][0], 0 * layer["bias"][0]
            self.embedding = weights["embedding"]["embedding"][order]
            self.output = {name: x[..., order] for name, x in weights["output"].items()}

        def transcribe(self, frames, lengths):
            return frames, lengths

        def predict(self, tokens, lengths, state):
            previous = None if state is None else (state[0][0], state[0][1])
            hidden, cell = self.cell(self.embedding[tokens[:, 0]], previous)
            return (
                dense(weights["predictor_projection"], hidden)[:, None],
                lengths,
                [[hidden, cell]],
            )

        def join(self, frames, lengths, predicted, predicted_lengths):
            if beam_search.MODEL.config.joiner == "multiplicative":
                joint = frames[:, :, None] * predicted[:, None]
            else:
                joint = frames[:, :, None] + predicted[:, None]
            return dense(self.output, torch.tanh(joint)), lengths, predicted_lengths

    return Network().eval()


def check(network, params, encoded):
    """That both networks give the same logits after a few labels."""
    torch, model = peers.require("torch"), beam_search.MODEL
    state, theirs, vector = model.initial_state(1), None, jnp.asarray(encoded[:1, :1])
    for label in (0, 3, 7, 3):
        token = (label - 1) % beam_search.VOCABULARY
        expected, state = model.apply(params, jnp.array([label]), state, method="predict_step")
        found, _, theirs = network.predict(torch.tensor([[token]]), None, theirs)
        logits = network.join(torch.tensor(np.asarray(vector)), None, found, None)[0][0, 0, 0]
        expected = np.roll(model.apply(params, vector[0, 0], expected[0], method="join"), -1)
        np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-3, atol=1e-3)


def main():
    parser = argparse.ArgumentParser(description="Beam search: gossamer and torchaudio.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beams", nargs="+", type=int, default=[4, 16])
    parser.add_argument("--utterances", type=int, default=4, help="that torchaudio reads")
    options = parser.parse_args()
    torch, torchaudio = peers.require("torch"), peers.require("torchaudio")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    params = beam_search.SHIPPED.params
    speech = jax.jit(beam_search.encode_speech, static_argnums=0)(32)
    network = build_torch(params)
    check(network, params, speech)
    search = peers.require("torchaudio.models").RNNTBeamSearch(
        network,
        beam_search.VOCABULARY - 1,
        hypo_sort_key=lambda hypothesis: hypothesis[3],  # the score alone, as gossamer ranks
        step_max_tokens=beam_search.MAX_SYMBOLS,
    )
    few = torch.tensor(np.asarray(speech[: options.utterances]))
    length = torch.tensor(speech.shape[1])
    print(f"jax {jax.__version__}, torch {torch.__version__}, torchaudio {torchaudio.__version__}")
    for beam in options.beams:
        ours = {batch: beam_search.build(batch, beam) for batch in (1, 32)}

        def read(beam=beam):
            return [search(row, length, beam)[0][0][1:] for row in few]

        def run(batch, ours=ours):
            return jax.device_get(ours[batch](params, speech[:batch], None))

        readings, found = read(), run(32)
        contenders = {
            "torchaudio": read,
            "one": functools.partial(run, 1),
            "many": functools.partial(run, 32),
        }
        times = turns.alternate(contenders, options.rounds)
        counts = {"torchaudio": options.utterances, "one": 1, "many": 32}
        factors = {
            name: statistics.median(times[name]) / counts[name] / beam_search.SECONDS
            for name in contenders
        }
        rows = range(options.utterances)
        labels = [found.labels[row, 0][found.label_paddings[row, 0] == 0] for row in rows]
        apart = word_error_rate(
            [" ".join(str(label) for label in row) for row in labels],
            [" ".join(str(token + 1) for token in reading) for reading in readings],
        )
        peer, one, many = factors.values()
        print(
            f"beam {beam}: real-time factor {peer:.3g} of torchaudio, "
            f"{one:.2g} for one utterance ({peer / one:.0f} times), "
            f"{many:.2g} for 32 ({peer / many:.0f} times); "
            f"labels that differ {100 * apart.rate:.1f}%",
            flush=True,
        )


if __name__ == "__main__":
    main()
