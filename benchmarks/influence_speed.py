"""Influence functions by conjugate gradients: gossamer against pyDVL and dattri.

    pip install torch pydvl==0.10.0 dattri==0.3.0
    taskset -c 0 python benchmarks/influence_speed.py --train 100

All have the weights and texts of ``attribution_speed.py``, the Hessian of the mean loss of all
parameters, the same damping and one query.  gossamer and pyDVL solve until 1e-4 of the query's
gradient is left: pyDVL's relative tolerance is of that gradient's first number alone, so that it
gets an absolute one.  dattri knows no tolerance and takes ten products, its default.  The peers get
all texts as one batch for the products, as dattri needs, which inverts batch by batch.  All take
turns in one process on one core; seconds are those of the processor, for 1,000 texts.
"""

import argparse
import warnings
from typing import Any

import jax
import optax
import peers
import torch_classifier

from gossamer.core.attribution import CG, Blocks, Hessian, influence_function
from gossamer.language.losses import Nll
from gossamer.language.padding import TEXTS

TOLERANCE = 1e-4


def main():
    parser = argparse.ArgumentParser(description="Influence functions: gossamer and peers.")
    parser.add_argument("--train", type=int, default=100, help="training texts")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["pydvl", "dattri"])
    parser.add_argument("--damping", type=float, default=10.0)
    parser.add_argument("--products", type=int, default=10, help="of dattri")
    options = parser.parse_args()
    for peer in ("torch", *options.peers):
        peers.require(peer)
    model, params = torch_classifier.build()
    train, query = torch_classifier.draw(options.train, 0), torch_classifier.draw(1, 1)

    def ours():
        return influence_function(
            Nll(model),
            params,
            train,
            query,
            method=CG(tolerance=TOLERANCE),
            curvature=Hessian(Nll(model)),
            damping=options.damping,
            blocks=Blocks(25, padding=TEXTS),
        )

    contenders = {"gossamer": ours}
    if options.peers:
        network = torch_classifier.build_torch(model, params)
        texts = torch_classifier.torch_texts(train), torch_classifier.torch_texts(query)
        gradient = jax.grad(Nll(model))(params, jax.tree.map(lambda x: x[0], query))
        options.residual = TOLERANCE * float(optax.tree.norm(gradient))
        modes = {"pydvl": pydvl_mode, "dattri": dattri_mode}
        for name in options.peers:
            contenders |= modes[name](network, texts, options)
    torch_classifier.report("One query", contenders, options.train, options.turns, scores=True)


def pydvl_mode(network, data, options) -> dict[str, Any]:
    texts, asked = data
    torch, influence = peers.require("torch"), peers.require("pydvl.influence.torch")

    def run():
        method = influence.CgInfluence(
            network,
            torch.nn.functional.cross_entropy,
            regularization=options.damping,
            rtol=0.0,
            atol=options.residual**0.5,  # it squares this one
        )
        batches = torch.utils.data.DataLoader(texts, batch_size=len(texts))
        return method.fit(batches).influences(*asked.tensors, *texts.tensors).detach().numpy()

    return {"pyDVL 0.10.0 CgInfluence": run}


def dattri_mode(network, data, options) -> dict[str, Any]:
    texts, asked = data
    torch = peers.require("torch")
    functions = peers.require("dattri.algorithm.influence_function")
    task_module = peers.require("dattri.task")

    def loss(params, examples):
        ids, labels = examples
        logits = torch.func.functional_call(network, params, torch.atleast_2d(ids))
        return torch.nn.functional.cross_entropy(logits, labels.reshape(-1))

    weights = network.state_dict()
    task = task_module.AttributionTask(loss_func=loss, model=network, checkpoints=weights)

    def run():
        method = functions.IFAttributorCG(
            task, max_iter=options.products, regularization=options.damping
        )
        batches = torch.utils.data.DataLoader(texts, batch_size=len(texts))
        method.cache(batches)
        queries = torch.utils.data.DataLoader(asked, batch_size=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return method.attribute(batches, queries).detach().numpy()

    return {"dattri 0.3.0 IFAttributorCG": run}


if __name__ == "__main__":
    main()
