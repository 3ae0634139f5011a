"""Decoding graphs: all that can be said, as one automaton of HMM states.

The composition HCLG of four automata (``graph_parts``): H expands phones in context to HMM states,
C phones to phones in context, L words to phones, and G weighs sentences. It is determinized and
minimized, so that words share what they have in common, before each HMM state gets its loop.

An input of the graph is an HMM state that begins or lasts, ``2 i + 1`` or ``2 i + 2`` for the row
``i`` of ``DecodingGraph.states``. Hence a path tells when each phone began, and many inputs may
share a distribution ("pdf"). Output ``i + 1`` is word ``i``.

References:
    M. Mohri, F. Pereira and M. Riley, Speech Recognition with Weighted Finite-State Transducers,
    2008 (Springer Handbook of Speech Processing).
"""

import dataclasses
import functools
import json
import os
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ...core import whole_file
from ..hybrids.lexicon import Lexicon
from . import graph_parts
from .automaton import NOTHING, Automaton, from_fst, kaldifst, to_fst
from .graph_parts import Tying
from .ngram import SPECIAL, NGram

FORMAT = "gossamer-decoding-graph-1"

_EXACT = 2.0**-16  # to which costs are equal


@dataclasses.dataclass(frozen=True, eq=False)
class DecodingGraph:
    """All that can be said.

    Attributes:
        automaton: from HMM states to words.
        states: [HMM states, 3] int32 phone, number in it, and pdf.
        phones: names of the phones, silence among them.
        lexicon: the words in the order of their outputs.
        num_pdfs: number of distributions that the acoustic model has.
    """

    automaton: Automaton
    states: np.ndarray
    phones: tuple[str, ...]
    lexicon: Lexicon
    num_pdfs: int

    def __post_init__(self) -> None:
        sources, targets, inputs, outputs, costs, finals = self.automaton
        valid = (
            len({len(column) for column in self.automaton[:5]}) == 1
            and self.states.ndim == 2
            and self.states.shape[1] == 3
            and _within(sources, len(finals))
            and _within(targets, len(finals))
            and bool(np.all(np.diff(sources) >= 0))
            and _within(inputs, 2 * len(self.states) + 1)
            and _within(outputs, len(self.lexicon) + 1)
            and _within(self.states[:, 0], len(self.phones))
            and _within(self.states[:, 2], self.num_pdfs)
            and not np.isnan(costs).any()
            and bool(np.isfinite(finals).any())
        )
        if not valid:
            raise ValueError("`automaton` must fit `states`, `phones` and `lexicon`, but does not.")

    @property
    def words(self) -> tuple[str, ...]:
        """All words."""
        return tuple(self.lexicon.pronunciations)

    @functools.cached_property
    def fst(self) -> Any:
        """The automaton as a ``kaldifst.StdVectorFst``; needs the extra ``hybrid``."""
        return to_fst(self.automaton)

    @property
    def input_pdfs(self) -> np.ndarray:
        """[inputs] int32: input ``i + 1`` has the distribution ``input_pdfs[i]``."""
        return np.repeat(self.states[:, 2], 2)


def build(
    lexicon: Lexicon, model: NGram, tying: Tying, *, stay: float = 0.5, silence: float = 0.5
) -> DecodingGraph:
    """Composes a decoding graph.

    Args:
        lexicon: pronunciations of all words of `model`; others are left out.
        model: what is said how often.
        tying: HMM states of the phones in context.
        stay: probability of the loop of an HMM state; its complement is that of going on.
        silence: probability of a silence before, between and after words.

    Returns:
        The graph.

    Raises:
        ValueError: if kaldifst is missing, a word has no pronunciation, or a phone no HMM.
    """
    for name, value in (("stay", stay), ("silence", silence)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must lie between 0 and 1, got {value}.")
    fst = kaldifst()
    lexicon = lexicon.of(model.words[len(SPECIAL) :])
    if missing := sorted(set(lexicon.phones) - set(tying.phones)):
        raise ValueError(
            f"`tying` must have all phones of the lexicon, but has no {', '.join(missing)}; train "
            "it with this lexicon."
        )
    phones = tuple(tying.phones)
    spoken = graph_parts.lexicon_automaton(lexicon, phones, silence=silence)
    grammar = to_fst(graph_parts.grammar_automaton(model, lexicon, spoken.back_off))
    words = _simplify(_compose(to_fst(spoken.automaton), grammar))
    in_context, windows = fst.compose_context(spoken.marks, 3, 1, words)
    hmm = graph_parts.hmm_automaton(windows, phones, tying)
    composed = from_fst(_simplify(_compose(to_fst(hmm.automaton), in_context), minimize=False))
    read = np.where(composed.inputs > len(hmm.states), NOTHING, composed.inputs)  # no marks
    unmarked = to_fst(composed._replace(inputs=read))
    fst.minimize_encoded(unmarked, delta=_EXACT)
    automaton = graph_parts.add_loops(from_fst(unmarked), stay=stay)
    return DecodingGraph(automaton, hmm.states, phones, lexicon, tying.num_pdfs)


def write(path: str | os.PathLike[str], graph: DecodingGraph) -> None:
    """Writes a graph into one file, atomically."""
    header = {
        "format": FORMAT,
        "phones": json.dumps(graph.phones),
        "lexicon": json.dumps(dict(graph.lexicon.pronunciations)),
        "num_pdfs": str(graph.num_pdfs),
    }
    tensors = graph.automaton._asdict() | {"states": graph.states}
    with whole_file.draft(path) as part:
        save_file({k: np.ascontiguousarray(x) for k, x in tensors.items()}, part, header)


def read(path: str | os.PathLike[str]) -> DecodingGraph:
    """Reads a graph.

    Raises:
        ValueError: if the file holds none.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
            pronunciations = json.loads(header["lexicon"])
            return DecodingGraph(
                Automaton(*(file.get_tensor(name) for name in Automaton._fields)),
                file.get_tensor("states"),
                tuple(json.loads(header["phones"])),
                Lexicon({word: tuple(map(tuple, said)) for word, said in pronunciations.items()}),
                int(header["num_pdfs"]),
            )
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(path)}: must be a decoding graph ({whole_file.reason(error)})."
        ) from error


def _compose(left: Any, right: Any) -> Any:
    """The inputs of the left automaton, the outputs of the right one."""
    fst = kaldifst()
    fst.arcsort(left, "olabel")
    fst.arcsort(right, "ilabel")
    return fst.compose(left, right)


def _simplify(automaton: Any, *, minimize: bool = True) -> Any:
    """The same automaton with one path for each input, and as few states."""
    fst = kaldifst()
    fst.determinize_star(automaton, delta=_EXACT)
    if minimize:
        fst.minimize_encoded(automaton, delta=_EXACT)
    return automaton


def _within(numbers: np.ndarray, end: int) -> bool:
    """Whether all are in 0..end - 1."""
    return bool(np.all((numbers >= 0) & (numbers < end)))
