"""A text classifier and its texts, for gossamer and for PyTorch alike, and how both are timed.

For the scripts beside this file that time scores of influence.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import peers
from scipy import stats
from turns import alternate

from gossamer.language.encoder_config import EncoderConfig
from gossamer.language.models import Classifier

CONFIG = EncoderConfig(layers=2, size=128, heads=4, hidden=512, max_length=48, dropout=0.0)
VOCABULARY, CLASSES, LENGTH = 8000, 2, 48


def draw(number: int, seed: int) -> dict[str, np.ndarray]:
    """Texts of random words, which take as long as others, by rising length."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, VOCABULARY, (number, LENGTH))
    lengths = np.sort(generator.integers(8, LENGTH + 1, number))
    ids = np.where(np.arange(LENGTH) < lengths[:, None], ids, 0)
    return {
        "ids": ids.astype(np.int32),
        "label": generator.integers(0, CLASSES, number).astype(np.int32),
    }


def build() -> tuple[Classifier, Any]:
    """The classifier and its parameters, which are random."""
    model = Classifier(CONFIG, VOCABULARY, CLASSES)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.ones((1, LENGTH), jnp.int32))["params"]


def torch_texts(texts: dict[str, np.ndarray]) -> Any:
    """The same texts as a dataset of PyTorch."""
    torch = peers.require("torch")
    ids, labels = (torch.tensor(texts[name]).long() for name in ("ids", "label"))
    return torch.utils.data.TensorDataset(ids, labels)


def torch_batches(texts: Any, size: int) -> Any:
    """A loader of batches without the padding that all their texts have."""
    data = peers.require("torch").utils.data

    def collate(pairs):
        ids, labels = data.default_collate(pairs)
        return ids[:, : int((ids > 0).sum(1).max())], labels

    return data.DataLoader(texts, batch_size=size, collate_fn=collate)


def build_torch(model: Classifier, params: Any) -> Any:
    """The classifier in PyTorch with the same parameters; its logits are compared."""
    torch = peers.require("torch")
    nn = torch.nn

    def tensor(x):
        return torch.tensor(np.array(x))

    def dense(p):
        layer = nn.Linear(*p["kernel"].shape)
        layer.weight.data, layer.bias.data = tensor(p["kernel"].T), tensor(p["bias"])
        return layer

    def norm(p):
        layer = nn.LayerNorm(len(p["scale"]), eps=1e-12)
        layer.weight.data, layer.bias.data = tensor(p["scale"]), tensor(p["bias"])
        return layer

    class Layer(nn.Module):
        def __init__(self, p):
            super().__init__()
            for name in ("query", "key", "value", "output", "expand", "contract"):
                setattr(self, name, dense(p[name]))
            self.attention_norm, self.output_norm = (
                norm(p["attention_norm"]),
                norm(p["output_norm"]),
            )

        def forward(self, x, valid):
            heads = [
                layer(x).reshape(*x.shape[:-1], CONFIG.heads, -1).transpose(1, 2)
                for layer in (self.query, self.key, self.value)
            ]
            scores = heads[0] @ heads[1].transpose(-1, -2) / heads[0].shape[-1] ** 0.5
            scores = torch.where(valid[:, None, None, :], scores, torch.tensor(-1e9))
            mixed = (scores.softmax(-1) @ heads[2]).transpose(1, 2).reshape(x.shape)
            x = self.attention_norm(x + self.output(mixed))
            return self.output_norm(x + self.contract(nn.functional.gelu(self.expand(x))))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            p = params["encoder"]
            self.tokens = nn.Embedding(VOCABULARY, CONFIG.size)
            self.tokens.weight.data = tensor(p["tokens"])
            self.positions = nn.Parameter(tensor(p["positions"]))
            self.norm = norm(p["norm"])
            layers = [Layer(p[f"layer_{number}"]) for number in range(CONFIG.layers)]
            self.layers = nn.ModuleList(layers)
            self.head = dense(params["head"])

        def forward(self, ids):
            valid = ids > 0
            x = self.norm(self.tokens(ids) + self.positions[: ids.shape[1]])
            for layer in self.layers:
                x = layer(x, valid)
            x = (x * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)
            return self.head(x)

    network, ids = Network().eval(), draw(8, 3)["ids"]
    with torch.no_grad():
        found = network(torch.tensor(ids).long()).numpy()
    expected: Any = model.apply({"params": params}, jnp.asarray(ids))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    return network


def report(title: str, contenders: dict[str, Callable], train: int, turns: int, scores: bool):
    """Prints processor seconds for 1,000 of `train` texts, and how far the scores agree.

    On one core they are what a clock would tell if nothing else ran there.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name):
        found[name] = np.asarray(contenders[name]()).reshape(-1)

    runs = {name: functools.partial(keep, name) for name in contenders}
    times = alternate(runs, turns, clock=time.process_time)
    medians = {name: statistics.median(times[name]) for name in contenders}
    first = next(iter(medians))
    print(f"\n{title}: seconds for 1,000 training texts, ratio to the first, rank correlation")
    for name, seconds in medians.items():
        agreement = ""
        if scores:
            agreement = f"{stats.spearmanr(found[name], found[first])[0]:8.5f}"
        print(
            f"{name:<42}{1000 * seconds / train:9.2f}{seconds / medians[first]:8.1f}x {agreement}",
            flush=True,
        )
