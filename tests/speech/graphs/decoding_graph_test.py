import itertools
import math
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from gossamer.speech.graphs import decoding_graph, ngram
from gossamer.speech.hybrids import lexicon
from gossamer.speech.hybrids.lexicon import Lexicon

WORDS = Lexicon(
    {
        "to": (("T", "UW"), ("T", "AH")),
        "two": (("T", "UW"),),
        "tuna": (("T", "UW", "N", "AH"),),
        "a": (("AH",),),
    }
)
TEXTS = ["to a two", "a tuna", "a", "two two", "a to"]


def grammar_costs(model):
    """``(history, word)`` -> the least cost, backing off from a known word allowed."""
    grams = [()]
    for parent, word in zip(model.parents[1:], model.last_words[1:], strict=True):
        grams.append((*grams[parent], model.words[word]))
    probs = dict(zip(grams, -model.log_probs, strict=True))
    backoffs = dict(zip(grams, -model.log_backoffs, strict=True))

    def cost(history, word):
        history = history[len(history) - model.order + 1 :] if model.order > 1 else ()
        longer = probs.get((*history, word), np.inf)
        if not history:
            return longer
        return min(longer, backoffs.get(history, 0.0) + cost(history[1:], word))

    return cost


def relation(model, tying, frames, *, stay, silence):
    """Each sequence of distributions with each text and the least cost, from the definition."""
    cost, found = grammar_costs(model), {}
    for length in range(frames + 1):
        for words in itertools.product(WORDS.pronunciations, repeat=length):
            said = ("<s>", *words, "</s>")
            grammar = sum(cost(said[:i], said[i]) for i in range(1, len(said)))
            for variants in itertools.product(*(WORDS[word] for word in words)):
                spoken = sum(map(len, variants))  # phones, each of one HMM state
                for pauses in itertools.product((False, True), repeat=length + 1):
                    if not 0 < spoken + 2 * sum(pauses) <= frames:
                        continue
                    phones = ["SIL"] * pauses[0]
                    for variant, pause in zip(variants, pauses[1:], strict=True):
                        phones += [*variant, *["SIL"] * pause]
                    pauses_cost = sum(-math.log(silence if p else 1 - silence) for p in pauses)
                    context = ["SIL", *phones, "SIL"]
                    pdfs = [
                        tying.pdf(context[i - 1], phone, context[i + 1], state)
                        for i, phone in enumerate(phones, start=1)
                        for state in range(tying.num_states(phone))
                    ]
                    hmm = -len(pdfs) * math.log(1 - stay) - (frames - len(pdfs)) * math.log(stay)
                    for ends in itertools.combinations(range(1, frames), len(pdfs) - 1):
                        lengths = np.diff([0, *ends, frames])
                        key = tuple(np.repeat(pdfs, lengths).tolist()), words
                        total = grammar + pauses_cost + hmm
                        found[key] = min(total, found.get(key, np.inf))
    return found


@pytest.mark.parametrize("order", [1, 2, 3])
def test_graph_weighs_every_sentence_as_by_definition(all_paths, pair_tying, order):
    model, tying, frames = ngram.train(TEXTS, order=order), pair_tying(WORDS.phones), 5
    graph = decoding_graph.build(WORDS, model, tying, stay=0.3, silence=0.2)
    assert graph.words == model.words[3:]
    found = {}
    for inputs, outputs, cost, final in all_paths(graph.automaton, frames):
        if final:
            pdfs = tuple(int(graph.input_pdfs[i - 1]) for i in inputs)
            key = pdfs, tuple(graph.words[output - 1] for output in outputs)
            found[key] = min(cost, found.get(key, np.inf))
    wanted = relation(model, tying, frames, stay=0.3, silence=0.2)
    assert len(wanted) > 200
    assert found.keys() == wanted.keys()
    # Each operation rounds costs to 2^-16, and a path has about twenty arcs.
    assert found == pytest.approx(wanted, abs=1e-3)


def test_inputs_tell_where_phones_begin(pair_tying):
    graph = decoding_graph.build(WORDS, ngram.train(TEXTS), pair_tying(WORDS.phones))
    silence = graph.phones.index("SIL")
    assert {tuple(row) for row in graph.states.tolist() if row[0] == silence} == {
        (silence, 0, 0),
        (silence, 1, 1),
    }
    loops = graph.automaton.sources == graph.automaton.targets
    assert (graph.automaton.inputs[loops] % 2 == 0).all()
    assert (graph.automaton.inputs[~loops & (graph.automaton.inputs > 0)] % 2 == 1).all()


def test_only_words_of_the_model_are_in_the_graph(pair_tying):
    graph = decoding_graph.build(WORDS, ngram.train(["a", "to a"]), pair_tying(WORDS.phones))
    assert graph.words == ("a", "to")
    assert graph.automaton.outputs.max() == 2


def test_graphs_are_written_and_read(tmp_path, pair_tying):
    graph = decoding_graph.build(WORDS, ngram.train(TEXTS), pair_tying(WORDS.phones))
    decoding_graph.write(tmp_path / "a.graph", graph)
    read = decoding_graph.read(tmp_path / "a.graph")
    for ours, theirs in zip(
        (*graph.automaton, graph.states), (*read.automaton, read.states), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    assert (read.phones, read.lexicon, read.num_pdfs) == (
        graph.phones,
        graph.lexicon,
        graph.num_pdfs,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.graph"]


def test_broken_files_are_refused(tmp_path, pair_tying):
    path = tmp_path / "a.graph"
    graph = decoding_graph.build(WORDS, ngram.train(TEXTS), pair_tying(WORDS.phones))
    decoding_graph.write(path, graph)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"a.graph: must be a decoding graph"):
        decoding_graph.read(path)
    save_file({"x": np.zeros(1)}, path)
    with pytest.raises(ValueError, match="its format is None"):
        decoding_graph.read(path)
    with pytest.raises(ValueError, match=r"missing: must be .* \(there is no such file\)"):
        decoding_graph.read(tmp_path / "missing")


@pytest.mark.parametrize("field", ["targets", "inputs", "outputs", "costs", "finals"])
def test_graphs_are_checked(pair_tying, field):
    graph = decoding_graph.build(WORDS, ngram.train(TEXTS), pair_tying(WORDS.phones))
    column = getattr(graph.automaton, field).copy()
    column[:] = np.inf if field == "finals" else np.nan if field == "costs" else 10**6
    broken = graph.automaton._replace(**{field: column})
    with pytest.raises(ValueError, match="`automaton` must fit"):
        decoding_graph.DecodingGraph(
            broken, graph.states, graph.phones, graph.lexicon, graph.num_pdfs
        )


def test_what_does_not_fit_is_named(pair_tying, monkeypatch):
    tying = pair_tying(WORDS.phones)
    with pytest.raises(ValueError, match="but x, y are not"):
        decoding_graph.build(WORDS, ngram.train(["a y x"]), tying)
    with pytest.raises(ValueError, match="has no N, UW; train it"):
        decoding_graph.build(WORDS, ngram.train(TEXTS), pair_tying(["AH", "SIL", "T"]))
    with pytest.raises(ValueError, match=r"`stay` must lie between 0 and 1, got 1\.0"):
        decoding_graph.build(WORDS, ngram.train(TEXTS), tying, stay=1.0)
    monkeypatch.setitem(sys.modules, "kaldifst", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[hybrid\]' in a checkout"):
        decoding_graph.build(WORDS, ngram.train(TEXTS), tying)


def test_homophones_of_many_words_stay_apart(pair_tying):
    words = lexicon.graphemic(["ab", "a'b", "a'b'", "abc", "ba"])
    graph = decoding_graph.build(
        words, ngram.train(list(words.pronunciations)), pair_tying(words.phones)
    )
    assert set(graph.automaton.outputs.tolist()) == set(range(6))
