"""Methods of sample-based explanation on the same small models: agreement, faithfulness, cost.

    python benchmarks/attribution_faithfulness.py --corpus sentiment --seeds 5
    python benchmarks/attribution_faithfulness.py --corpus questions --seeds 5

For each seed a one-layer Transformer is trained on 400 texts, of which a tenth have a wrong label,
and 16 test texts are explained.  It prints, as means over the seeds with their standard errors,

    Sag       mean cosine of MiniLM embeddings of a test text and its five first training texts
    LDS       rank correlation with the losses after training on random halves
    removal   rise of a test text's loss without its 20 first training texts
    AUC       of finding the wrong labels by what the method says of a text about itself
    seconds   for 1,000 training texts and all queries, compiled programs at hand
    MB        by which the process grew meanwhile at most

"TracIn++" explains the most important span of a test text, and a training text has the score of its
clause with the largest one; Sag of the spans themselves stands in rows of their own.

Each seed's results are a line in the file given by --results; the same command goes on from there.
Lines of another number of subsets are left alone.
"""

import argparse
import ctypes
import functools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import attribution
from gossamer.core.attribution import faithfulness
from gossamer.language import data, losses, pretrained, retrieval, spans, tokens
from gossamer.language.agreement import semantic_agreement
from gossamer.language.encoder_config import EncoderConfig
from gossamer.language.models import Classifier

CONFIG = EncoderConfig(layers=1, size=32, heads=2, hidden=64, max_length=24, dropout=0.0)
TRAIN, QUERIES, STEPS, BATCH, REMOVED = 400, 16, 100, 32, 20
VOCABULARY = 2004  # embeddings; the same for all seeds, which thus share compiled programs
OPTIMIZER = optax.adam(3e-3, eps_root=1e-8)
COLUMNS = ("Sag", "LDS", "removal", "AUC", "seconds", "MB")


class Problem(NamedTuple):
    """A trained model, and what is to be explained."""

    seed: int
    model: Classifier
    tokenizer: tokens.Tokenizer
    start: Any  # parameters before training
    checkpoints: list  # after each quarter of it
    order: np.ndarray  # [steps, batch]
    train: list[data.Text]
    queries: list[data.Text]
    rows: tuple[dict, dict]  # training texts, queries, as arrays
    embedded: tuple[np.ndarray, np.ndarray]  # queries, training texts

    @property
    def params(self) -> Any:
        """After training."""
        return self.checkpoints[-1]

    @property
    def loss(self) -> losses.Nll:
        """Of one text."""
        return losses.Nll(self.model)

    def strings(self) -> tuple[list[str], list[str]]:
        """Queries and training texts."""
        return [each.text for each in self.queries], [each.text for each in self.train]

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Of queries and training texts."""
        return self.rows[1]["label"], self.rows[0]["label"]


def variants(problem: Problem) -> list:
    key = jax.random.key(problem.seed)
    return attribution.noisy_variants(problem.params, key, number=4, scale=0.05)


def influence(problem: Problem, solver, queries=None) -> np.ndarray:
    return attribution.influence_function(
        problem.loss,
        problem.params,
        problem.rows[0],
        problem.rows[1] if queries is None else queries,
        method=solver(problem.model),
        curvature=attribution.GaussNewton(losses.Predict(problem.model), losses.nll),
    )


def representer(problem: Problem, which: int = 1) -> np.ndarray:
    """Scores of queries (1) or of training texts (0); l2 only scales them."""
    model, params, rows = problem.model, problem.params, problem.rows
    features = [
        np.asarray(model.apply({"params": params}, each["ids"], method="features")) for each in rows
    ]
    logits = np.asarray(losses.Predict(model)(params, rows[0]))
    slopes = np.asarray(jax.nn.softmax(logits)) - np.eye(logits.shape[1])[rows[0]["label"]]
    return attribution.representer_scores(
        features[0], slopes, features[which], rows[which]["label"], l2=0.003
    )


class SpanScores(NamedTuple):
    """TracIn++ between the most important span of each query and clauses of training texts."""

    scores: np.ndarray  # [Q, S]
    owners: np.ndarray  # [S] training text of each clause
    queries: list[str]
    clauses: list[str]


def span_scores(problem: Problem) -> SpanScores:
    hidden, queries, clauses, owners = ([], []), [], [], []
    for text in problem.queries:
        encoded, found, rows = hide(problem, text, spans.enumerate_spans)
        importance = spans.span_importance(problem.model, problem.params, rows)
        best = int(importance.argmax())
        hidden[1].append(spans.Hidden(*(field[best : best + 1] for field in rows)))
        queries.append(cut(text, encoded, found[best]))
    for number, text in enumerate(problem.train):
        encoded, found, rows = hide(problem, text, spans.split_clauses)
        if found:
            hidden[0].append(rows)
            clauses += [cut(text, encoded, span) for span in found]
            owners += [number] * len(found)
    train, test = (spans.Hidden(*map(np.concatenate, zip(*part, strict=True))) for part in hidden)
    scores = spans.span_influence(problem.model, variants(problem), train, test)
    return SpanScores(scores, np.array(owners), queries, clauses)


def hide(problem: Problem, text: data.Text, find):
    encoded = problem.tokenizer.encode(text.text)
    found = find(text.text, encoded)
    ids = np.pad(encoded.ids, (0, CONFIG.max_length - len(encoded.ids)))
    return (
        encoded,
        found,
        spans.hide(ids, found, text.label, mask_id=problem.tokenizer.mask_id),
    )


def cut(text: data.Text, encoded: tokens.Encoded, span: spans.Span) -> str:
    first, last = spans.characters(encoded, span)
    return text.text[first:last]


def largest_of_texts(found: SpanScores) -> np.ndarray:
    """[Q, N]: of each training text the score of the clause that matters most."""
    scores = np.zeros((len(found.scores), TRAIN))
    for clause in np.argsort(np.abs(found.scores).max(0), kind="stable"):
        owner = found.owners[clause]
        larger = np.abs(found.scores[:, clause]) > np.abs(scores[:, owner])
        scores[larger, owner] = found.scores[larger, clause]
    return scores


SOLVERS = {
    "IF, CG": lambda model: attribution.CG(steps=20),
    "IF, LiSSA": lambda model: attribution.LiSSA(steps=200),
    "IF, Arnoldi": lambda model: attribution.Arnoldi(rank=24, steps=32),
    "IF, EK-FAC": lambda model: attribution.EKFAC(losses.TappedPredictions(model)),
}
METHODS = {  # scores [Q, N]
    "chance": lambda p: retrieval.chance_scores(QUERIES, TRAIN, p.seed),
    "BM25": lambda p: retrieval.sign_by_label(retrieval.bm25_scores(*p.strings()), *p.labels()),
    "cosine": lambda p: retrieval.sign_by_label(retrieval.cosine_scores(*p.embedded), *p.labels()),
    "gradient dot": lambda p: attribution.gradient_dot(p.loss, p.params, *p.rows),
    "gradient cosine": lambda p: attribution.gradient_cosine(p.loss, p.params, *p.rows),
    "TracIn": lambda p: attribution.tracin(p.loss, p.checkpoints, *p.rows),
    "TracInF": lambda p: attribution.tracin_f(p.loss, variants(p), *p.rows),
    "TracIn++": lambda p: largest_of_texts(span_scores(p)),
    **{name: functools.partial(influence, solver=make) for name, make in SOLVERS.items()},
    "representer": representer,
    "metagradient": lambda p: attribution.metagradient_scores(
        p.loss, OPTIMIZER, p.start, p.rows[0], p.rows[1], p.order
    ),
}


def self_influence(problem: Problem, checkpoints: list) -> np.ndarray:
    each = [
        attribution.self_influence(problem.loss, params, problem.rows[0]) for params in checkpoints
    ]
    return np.mean(each, axis=0)


SUSPICIONS = {  # [N], high where a label looks wrong; too dear where a method is not here
    "gradient dot": lambda p: self_influence(p, p.checkpoints[-1:]),
    "TracIn": lambda p: self_influence(p, p.checkpoints),
    "TracInF": lambda p: self_influence(p, variants(p)),
    "IF, Arnoldi": lambda p: influence(p, SOLVERS["IF, Arnoldi"], p.rows[0]).diagonal(),
    "IF, EK-FAC": lambda p: influence(p, SOLVERS["IF, EK-FAC"], p.rows[0]).diagonal(),
    "representer": lambda p: representer(p, 0).diagonal(),
}


def main():
    parser = argparse.ArgumentParser(description="Agreement and faithfulness of explanations.")
    parser.add_argument("--corpus", default="sentiment")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--subsets", type=int, default=48)
    parser.add_argument("--results", type=Path, help="by default faithfulness-CORPUS.jsonl")
    options = parser.parse_args()
    path = options.results or Path(f"faithfulness-{options.corpus}.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    usual = parser.get_default("subsets")  # of lines that do not tell
    done = [line for line in lines if line.get("subsets", usual) == options.subsets]
    corpus = data.load_corpus(options.corpus)
    compiled: set[str] = set()
    for seed in range(len(done), options.seeds):
        start = time.perf_counter()
        found = run_seed(corpus, seed, options.subsets, compiled)
        done.append(found)
        with path.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(
            f"seed {seed}: test accuracy {found['accuracy']:.2f}, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    print_table(done)


def print_table(done: list[dict]) -> None:
    accuracies = [each["accuracy"] for each in done]
    print(f"accuracy on all test texts {np.mean(accuracies):.3f}")
    print(f"{'':<18}" + "".join(f"{column:>18}" for column in COLUMNS))
    for method in done[0]["methods"]:
        cells = []
        for column in COLUMNS:
            values = [each["methods"][method].get(column) for each in done]
            if None in values:
                cells.append("-")
            else:
                error = np.std(values, ddof=min(1, len(values) - 1)) / np.sqrt(len(values))
                cells.append(f"{np.mean(values):.3f} ± {error:.3f}")
        print(f"{method:<18}" + "".join(f"{cell:>18}" for cell in cells))


def run_seed(corpus: data.Corpus, seed: int, num_subsets: int, compiled: set[str]) -> dict:
    problem, accuracy, wrong = prepare(corpus, seed)
    options = (problem.loss, OPTIMIZER, problem.start, *problem.rows, problem.order)
    subsets = faithfulness.draw_subsets(jax.random.key(seed), num_subsets, TRAIN, 0.5)
    after = faithfulness.losses_after_training(*options, subsets)
    whole = faithfulness.losses_after_training(*options, np.ones((1, TRAIN)))[0]
    found = {}
    for method, explain in METHODS.items():
        if method not in compiled:
            explain(problem)
            compiled.add(method)
        scores, seconds, megabytes = measure(lambda explain=explain: explain(problem))
        without = faithfulness.removal_weights(scores, REMOVED)
        removed = faithfulness.losses_after_training(*options, without)
        found[method] = {
            "Sag": semantic_agreement(*problem.embedded, scores),
            "LDS": float(faithfulness.datamodeling_score(scores, subsets, after).mean()),
            "removal": float(np.mean(np.diag(removed) - whole)),
            "seconds": 1000 * seconds / TRAIN,
            "MB": megabytes,
        }
        if method in SUSPICIONS:
            found[method]["AUC"] = faithfulness.mislabel_auc(SUSPICIONS[method](problem), wrong)
        print(f"  {method}: {found[method]}", flush=True)
    methods = found | agree_by_span(problem)
    return {"accuracy": accuracy, "seed": seed, "subsets": num_subsets, "methods": methods}


def prepare(corpus: data.Corpus, seed: int) -> tuple[Problem, float, np.ndarray]:
    """The problem of a seed, its accuracy on all test texts, and which labels are wrong."""
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
    model = Classifier(CONFIG, VOCABULARY, len(corpus.classes))
    rows = data.as_arrays(train, tokenizer), data.as_arrays(queries, tokenizer)
    order = np.concatenate([generator.permutation(TRAIN) for _ in range(STEPS * BATCH // TRAIN)])
    order = order.reshape(-1, BATCH)
    start = jax.jit(model.init)(jax.random.key(seed), rows[0]["ids"][:1])["params"]
    examples = jax.tree.map(jnp.asarray, rows[0])
    train_to = jax.jit(
        lambda order: attribution.train_unrolled(
            losses.Nll(model), OPTIMIZER, start, examples, order, jnp.ones(TRAIN)
        )
    )
    checkpoints = [train_to(order[: round(share * len(order))]) for share in (0.25, 0.5, 0.75, 1)]
    test = data.as_arrays(corpus.test, tokenizer)
    logits = jax.jit(jax.vmap(losses.Predict(model), (None, 0)))(checkpoints[-1], test)
    accuracy = float(np.mean(np.argmax(logits, 1) == test["label"]))
    encoder = pretrained.load_minilm()
    embedded = (
        pretrained.embed(encoder, [each.text for each in queries]),
        pretrained.embed(encoder, [each.text for each in train]),
    )
    problem = Problem(
        seed, model, tokenizer, start, checkpoints, order, train, queries, rows, embedded
    )
    return problem, accuracy, wrong


def agree_by_span(problem: Problem) -> dict:
    """Sag of spans, and that of clauses drawn by chance."""
    found = span_scores(problem)
    encoder = pretrained.load_minilm()
    queries, clauses = (
        pretrained.embed(encoder, texts) for texts in (found.queries, found.clauses)
    )
    drawn = retrieval.chance_scores(len(queries), len(clauses), problem.seed)
    return {
        "TracIn++, spans": {"Sag": semantic_agreement(queries, clauses, found.scores)},
        "chance, spans": {"Sag": semantic_agreement(queries, clauses, drawn)},
    }


def measure(call) -> tuple[np.ndarray, float, float]:
    """What a call returns, its seconds, and the MB by which the process grew at most (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)  # gives back what is free, which would hide what is taken
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
    before, begin = memory("VmRSS"), time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin, memory("VmHWM") - before


def memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


if __name__ == "__main__":
    main()
