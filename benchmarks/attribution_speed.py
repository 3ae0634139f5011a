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
without a word.  dattri projects gradients at random by default; both ways are timed.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import jax
import peers
import torch_classifier

from gossamer.core.attribution import Blocks, Padding, gradient_dot, sketch_gradients
from gossamer.language.losses import Nll
from gossamer.language.padding import TEXTS


def main():
    parser = argparse.ArgumentParser(description="Influence scores: gossamer and peers.")
    parser.add_argument("--train", type=int, default=100, help="training texts in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["captum", "dattri"])
    parser.add_argument("--queries", type=int, default=100, help="of the second table")
    options = parser.parse_args()
    for peer in ("torch", *options.peers):
        peers.require(peer)
    model, params = torch_classifier.build()
    train, query = torch_classifier.draw(options.train, 0), torch_classifier.draw(1, 1)

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
    sizes = options.train, options.turns
    with tempfile.TemporaryDirectory() as folder:  # of what Captum reads each time
        if options.peers:
            contenders |= build_peers(options.peers, model, params, train, query, Path(folder))
        torch_classifier.report("One query", contenders, *sizes, scores=True)
    many = torch_classifier.draw(options.queries, 2)
    contenders = {
        "gossamer, gradients": ours(many, "gradient", 25),
        "gossamer, sketches (once)": sketched,
    }
    torch_classifier.report(f"{options.queries} queries", contenders, *sizes, scores=False)


def build_peers(names, model, params, train, query, folder: Path) -> dict[str, Any]:
    """Captum's modes and dattri's, as functions; those that are asked for."""
    network = torch_classifier.build_torch(model, params)
    texts, asked = torch_classifier.torch_texts(train), torch_classifier.torch_texts(query)

    def load(size):
        return torch_classifier.torch_batches(texts, size)

    found = {}
    if "captum" in names:
        found |= captum_modes(network, load, asked, folder / "checkpoint.pt")
    if "dattri" in names:
        found |= dattri_modes(network, load, asked)
    return found


def captum_modes(network, batches, asked, path):
    torch = peers.require("torch")
    captum, influence = peers.require("captum"), peers.require("captum.influence")
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
        return lambda: method.influence(asked.tensors).detach().numpy()

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
        "Captum TracInCPFast (last layer)": lambda: fast.influence(asked.tensors).detach().numpy(),
    }


def dattri_modes(network, batches, asked):
    torch = peers.require("torch")
    tracin, task_module = peers.require("dattri.algorithm.tracin"), peers.require("dattri.task")

    def loss(params, example):
        ids, label = example
        logits = torch.func.functional_call(network, params, ids.unsqueeze(0))
        return torch.nn.functional.cross_entropy(logits, label.reshape(1))

    weights = network.state_dict()
    task = task_module.AttributionTask(loss_func=loss, model=network, checkpoints=weights)

    def build(projects):
        method = tracin.TracInAttributor(
            task=task, weight_list=torch.ones(1), normalized_grad=False
        )
        if not projects:  # no argument turns it off
            method.projector_kwargs = None

        def run():
            loader = torch.utils.data.DataLoader(asked, batch_size=25)
            return method.attribute(batches(25), loader).detach().numpy()

        return run

    name = "dattri 0.3.0 TracIn"
    return {f"{name}, batch 25": build(False), f"{name}, projected (its default)": build(True)}


if __name__ == "__main__":
    main()
