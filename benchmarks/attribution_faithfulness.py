"""Methods of sample-based explanation on the same small models: agreement, faithfulness, time.

    python benchmarks/attribution_faithfulness.py --corpus sentiment --seeds 5
    python benchmarks/attribution_faithfulness.py --corpus questions --seeds 5

For each seed a one-layer Transformer is trained on 400 texts, of which a tenth have a wrong label,
and 16 test texts are explained.  It prints, as means over the seeds with their standard errors,

    Sag       mean cosine of MiniLM embeddings of a test text and its five first training texts
    LDS       rank correlation with the losses after training on random halves
    removal   rise of a test text's loss without its 20 first training texts
    AUC       of finding the wrong labels by the influence of a text on itself (gradient methods)
    seconds   for 1,000 training texts and all queries, compilation included

Each seed's results are a line in the file given by --results; the same command goes on from there.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import attribution
from gossamer.core.attribution import faithfulness
from gossamer.language import data, losses, pretrained, retrieval, tokens
from gossamer.language.agreement import semantic_agreement
from gossamer.language.models import Classifier, EncoderConfig

CONFIG = EncoderConfig(layers=1, size=32, heads=2, hidden=64, max_length=24, dropout=0.0)
TRAIN, QUERIES, STEPS, BATCH, REMOVED = 400, 16, 100, 32, 20
OPTIMIZER = optax.adam(3e-3, eps_root=1e-8)
METHODS = ("chance", "BM25", "cosine", "gradient dot", "gradient cosine", "TracIn", "TracInF")
METHODS += ("IF, CG", "IF, LiSSA", "IF, Arnoldi", "IF, EK-FAC", "representer", "metagradient")


def main():
    parser = argparse.ArgumentParser(description="Agreement and faithfulness of explanations.")
    parser.add_argument("--corpus", default="sentiment")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--subsets", type=int, default=48)
    parser.add_argument("--results", type=Path, help="by default faithfulness-CORPUS.jsonl")
    options = parser.parse_args()
    path = options.results or Path(f"faithfulness-{options.corpus}.jsonl")
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    corpus = data.load_corpus(options.corpus)
    for seed in range(len(done), options.seeds):
        found = run_seed(corpus, seed, options.subsets)
        done.append(found)
        with path.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(f"seed {seed}: test accuracy {found['accuracy']:.2f}", flush=True)
    columns = ("Sag", "LDS", "removal", "AUC", "seconds")
    print(f"{'':<18}" + "".join(f"{column:>18}" for column in columns))
    for method in METHODS:
        cells = []
        for column in columns:
            values = [each["methods"][method].get(column) for each in done]
            if None in values:
                cells.append("-")
            else:
                error = np.std(values, ddof=min(1, len(values) - 1)) / np.sqrt(len(values))
                cells.append(f"{np.mean(values):.3f} ± {error:.3f}")
        print(f"{method:<18}" + "".join(f"{cell:>18}" for cell in cells))


def run_seed(corpus: data.Corpus, seed: int, num_subsets: int) -> dict:
    generator = np.random.default_rng(seed)
    train = [corpus.train[n] for n in generator.choice(len(corpus.train), TRAIN, replace=False)]
    queries = [corpus.test[n] for n in generator.choice(len(corpus.test), QUERIES, replace=False)]
    wrong = generator.random(TRAIN) < 0.1
    shift = generator.integers(1, len(corpus.classes), TRAIN)
    train = [
        text._replace(label=int((text.label + shift[n] * wrong[n]) % len(corpus.classes)))
        for n, text in enumerate(train)
    ]
    tokenizer = tokens.Tokenizer(
        tokens.count_vocabulary([each.text for each in train], size=2000), CONFIG.max_length
    )
    model = Classifier(CONFIG, len(tokenizer.vocabulary), len(corpus.classes))
    loss = losses.Nll(model)
    rows = data.as_arrays(train, tokenizer), data.as_arrays(queries, tokenizer)
    order = np.concatenate([generator.permutation(TRAIN) for _ in range(STEPS * BATCH // TRAIN)])
    order = order[: STEPS * BATCH // BATCH * BATCH].reshape(-1, BATCH)
    start = jax.jit(model.init)(jax.random.key(seed), rows[0]["ids"][:1])["params"]
    options = (loss, OPTIMIZER, start)
    checkpoints = []
    train_to = jax.jit(
        lambda order: attribution.train_unrolled(*options, arrays[0], order, jnp.ones(TRAIN))
    )
    arrays = jax.tree.map(jnp.asarray, rows)
    for share in (0.25, 0.5, 0.75, 1.0):
        checkpoints.append(train_to(order[: round(share * len(order))]))
    params = checkpoints[-1]
    logits = jax.vmap(losses.Predict(model), (None, 0))(params, arrays[1])
    accuracy = float(np.mean(np.argmax(logits, 1) == rows[1]["label"]))

    encoder = pretrained.load_minilm()
    embedded = [
        pretrained.embed(encoder, [each.text for each in texts]) for texts in (queries, train)
    ]
    subsets = faithfulness.draw_subsets(jax.random.key(seed), num_subsets, TRAIN, 0.5)
    after = faithfulness.losses_after_training(*options, *rows, order, subsets)
    whole = faithfulness.losses_after_training(*options, *rows, order, np.ones((1, TRAIN)))[0]

    found = {}
    for method in METHODS:
        begin = time.perf_counter()
        scores = score(
            method, model, checkpoints, start, rows, order, (queries, train), embedded, seed
        )
        seconds = time.perf_counter() - begin
        without = faithfulness.removal_weights(scores, REMOVED)
        removed = faithfulness.losses_after_training(*options, *rows, order, without)
        measures = {
            "Sag": semantic_agreement(embedded[0], embedded[1], scores),
            "LDS": float(faithfulness.datamodeling_score(scores, subsets, after).mean()),
            "removal": float(np.mean(np.diag(removed) - whole)),
            "seconds": 1000 * seconds / TRAIN,
        }
        if method == "gradient dot":
            norms = attribution.self_influence(loss, params, rows[0])
            measures["AUC"] = faithfulness.mislabel_auc(norms, wrong)
        if method == "TracIn":
            norms = sum(attribution.self_influence(loss, each, rows[0]) for each in checkpoints)
            measures["AUC"] = faithfulness.mislabel_auc(np.asarray(norms), wrong)
        found[method] = measures
        print(f"  {method}: {measures}", flush=True)
    return {"accuracy": accuracy, "seed": seed, "methods": found}


def score(method, model, checkpoints, start, rows, order, texts, embedded, seed) -> np.ndarray:
    """Scores [Q, N] of a method."""
    loss, params = losses.Nll(model), checkpoints[-1]
    plain = (loss, params, *rows)
    labels = rows[1]["label"], rows[0]["label"]
    strings = [[each.text for each in group] for group in texts]
    curvature = attribution.GaussNewton(losses.Predict(model), losses.nll)
    if method == "chance":
        return retrieval.chance_scores(QUERIES, TRAIN, seed)
    if method == "BM25":
        return retrieval.sign_by_label(retrieval.bm25_scores(*strings), *labels)
    if method == "cosine":
        return retrieval.sign_by_label(retrieval.cosine_scores(*embedded), *labels)
    if method == "gradient dot":
        return attribution.gradient_dot(*plain)
    if method == "gradient cosine":
        return attribution.gradient_cosine(*plain)
    if method == "TracIn":
        return attribution.tracin(loss, checkpoints, *rows)
    if method == "TracInF":
        variants = attribution.noisy_variants(params, jax.random.key(seed), number=4, scale=0.05)
        return attribution.tracin_f(loss, variants, *rows)
    if method == "representer":
        return last_layer(model, params, rows)
    if method == "metagradient":
        return attribution.metagradient_scores(loss, OPTIMIZER, start, rows[0], rows[1], order)
    solver = {
        "IF, CG": attribution.CG(steps=20),
        "IF, LiSSA": attribution.LiSSA(steps=200),
        "IF, Arnoldi": attribution.Arnoldi(rank=24, steps=32),
        "IF, EK-FAC": attribution.EKFAC(losses.TappedNll(model)),
    }[method]
    return attribution.influence_function(*plain, method=solver, curvature=curvature)


def last_layer(model, params, rows) -> np.ndarray:
    """Representer scores; l2 only scales them."""
    features = [
        np.asarray(model.apply({"params": params}, each["ids"], method="features")) for each in rows
    ]
    logits = np.asarray(losses.Predict(model)(params, rows[0]))
    slopes = np.asarray(jax.nn.softmax(logits)) - np.eye(logits.shape[1])[rows[0]["label"]]
    return attribution.representer_scores(
        features[0], slopes, features[1], rows[1]["label"], l2=0.003
    )


if __name__ == "__main__":
    main()
