"""Influence scores of a Transformer's training texts: gossamer against Captum and dattri.

    pip install torch captum==0.9.0 dattri==0.3.0
    taskset -c 0 python benchmarks/attribution_speed.py

All have the same weights and texts, 2 layers of size 128 with a vocabulary of 8,000 (1.4 million
parameters), and give <g_q, g_n> of all parameters at one checkpoint; the scores must agree.  Texts
come by rising length, 8 to 48 tokens, and nobody computes for padding beyond the longest text of a
batch, or of a width that gossamer compiles for.  They take turns in one process on one core;
seconds are those of the processor, for 1,000 texts.
Captum's exact mode differentiates one example after another; its fast modes are timed too, with how
far their scores agree with the exact ones: one of them leaves out embeddings and normalization
without a word.
"""

import argparse
import importlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from gossamer.core.attribution import Blocks, Padding, gradient_dot, sketch_gradients
from gossamer.language.encoder_config import EncoderConfig
from gossamer.language.losses import Nll
from gossamer.language.models import Classifier
from gossamer.language.padding import TEXTS

CONFIG = EncoderConfig(layers=2, size=128, heads=4, hidden=512, max_length=48, dropout=0.0)
VOCABULARY, CLASSES, LENGTH = 8000, 2, 48


def main():
    parser = argparse.ArgumentParser(description="Influence scores: gossamer and peers.")
    parser.add_argument("--train", type=int, default=100, help="training texts in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["captum", "dattri"])
    parser.add_argument("--queries", type=int, default=100, help="of the second table")
    options = parser.parse_args()
    model = Classifier(CONFIG, VOCABULARY, CLASSES)
    params = jax.jit(model.init)(jax.random.key(0), jnp.ones((1, LENGTH), jnp.int32))["params"]
    train, query = draw(options.train, 0), draw(1, 1)
    scores: dict[str, Any] = {}

    def ours(queries, engine, size, padding: Padding | None = TEXTS):
        return lambda: gradient_dot(
            Nll(model), params, train, queries, engine=engine, blocks=Blocks(size, padding=padding)
        )

    def sketched():
        blocks = Blocks(25, padding=TEXTS)
        return sketch_gradients(Nll(model), params, train, jax.random.key(0), blocks=blocks)

    contenders = {
        "gossamer, forward": ours(query, "forward", 25),
        "gossamer, forward, with all padding": ours(query, "forward", 25, None),
        "gossamer, gradients": ours(query, "gradient", 25),
    }
    if options.peers:
        contenders |= peers(options.peers, model, params, train, query)
    for name, run in contenders.items():
        scores[name] = np.asarray(run()).reshape(-1)
    report("One query", contenders, options, scores)
    many = draw(options.queries, 2)
    contenders = {
        "gossamer, gradients": ours(many, "gradient", 25),
        "gossamer, sketches (once)": sketched,
    }
    report(f"{options.queries} queries", contenders, options, {})


def report(title, contenders, options, scores):
    times = take_turns(contenders, options.turns)
    medians = {name: statistics.median(times[name]) for name in contenders}
    first = next(iter(medians))
    print(f"\n{title}: seconds for 1,000 training texts, ratio to the first, rank correlation")
    for name, seconds in medians.items():
        agreement = ""
        if name in scores:
            found: Any = stats.spearmanr(scores[name], scores[first])
            agreement = f"{found.statistic:8.5f}"
        print(
            f"{name:<42}{1000 * seconds / options.train:9.2f}{seconds / medians[first]:8.1f}x"
            f" {agreement}",
            flush=True,
        )


def take_turns(contenders, turns: int) -> dict[str, list[float]]:
    """Processor seconds of each contender, in turns after one that does not count.

    On one core they are what a clock would tell if nothing else ran there.
    """
    times = {name: [] for name in contenders}
    for turn in range(1 + turns):
        for name, run in contenders.items():
            start = time.process_time()
            run()
            if turn:
                times[name].append(time.process_time() - start)
    return times


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


def find(name: str) -> Any:
    """A module of a peer, unknown to type checkers."""
    return importlib.import_module(name)


def peers(names, model, params, train, query) -> dict[str, Any]:
    """Captum's modes and dattri's, as functions; those that are asked for."""
    torch = find("torch")
    network = build_torch(params)
    logits = model.apply({"params": params}, jnp.asarray(train["ids"][:8]))
    with torch.no_grad():
        others = network(torch.tensor(train["ids"][:8]).long()).numpy()
    np.testing.assert_allclose(others, logits, rtol=1e-3, atol=1e-4)
    data = torch.utils.data.TensorDataset(
        torch.tensor(train["ids"]).long(), torch.tensor(train["label"]).long()
    )
    asked = torch.tensor(query["ids"]).long(), torch.tensor(query["label"]).long()

    def load(size):
        """Batches without the padding that all their texts have."""

        def collate(pairs):
            ids, labels = torch.utils.data.default_collate(pairs)
            return ids[:, : int((ids > 0).sum(1).max())], labels

        return torch.utils.data.DataLoader(data, batch_size=size, collate_fn=collate)

    found = {}
    for name, modes in (("captum", captum_modes), ("dattri", dattri_modes)):
        if name in names:
            found |= modes(torch, network, load, asked)
    return found


def captum_modes(torch, network, batches, asked):
    captum, influence = find("captum"), find("captum.influence")

    path = Path(tempfile.mkdtemp()) / "checkpoint.pt"
    torch.save(network.state_dict(), path)

    def load(network, path):
        network.load_state_dict(torch.load(path))
        return 1.0

    def exact(size, sample_wise):
        reduction = "sum" if sample_wise else "none"
        method = influence.TracInCP(
            network,
            batches(size),
            [str(path)],
            checkpoints_load_func=load,
            loss_fn=torch.nn.CrossEntropyLoss(reduction=reduction),
            sample_wise_grads_per_batch=sample_wise,
        )
        return lambda: method.influence(asked).detach().numpy()

    fast = influence.TracInCPFast(
        network,
        network.head,
        batches(25),
        [str(path)],
        checkpoints_load_func=load,
        loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
    )
    name = f"Captum {captum.__version__} TracInCP"
    return {
        f"{name}, exact, batch 1": exact(1, False),
        f"{name}, exact, batch 5": exact(5, False),
        f"{name}, sample-wise, batch 25": exact(25, True),
        "Captum TracInCPFast (last layer)": lambda: fast.influence(asked).detach().numpy(),
    }


def dattri_modes(torch, network, batches, asked):
    tracin, task_module = find("dattri.algorithm.tracin"), find("dattri.task")

    def loss(params, example):
        ids, label = example
        logits = torch.func.functional_call(network, params, ids.unsqueeze(0))
        return torch.nn.functional.cross_entropy(logits, label.reshape(1))

    weights = network.state_dict()
    task = task_module.AttributionTask(loss_func=loss, model=network, checkpoints=weights)
    method = tracin.TracInAttributor(task=task, weight_list=torch.ones(1), normalized_grad=False)
    queries = torch.utils.data.TensorDataset(*asked)

    def run():
        loader = torch.utils.data.DataLoader(queries, batch_size=25)
        return method.attribute(batches(25), loader).detach().numpy()

    return {"dattri 0.3.0 TracIn, batch 25": run}


def build_torch(params) -> Any:
    """The classifier in PyTorch with the same parameters."""
    torch = find("torch")
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

    return Network().eval()


if __name__ == "__main__":
    main()
