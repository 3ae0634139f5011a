"""Exchanges between learners that do not wait for each other, as a state machine without transport.

Learner j offers its weights o_j to a neighbor i and goes on.  The neighbor answers with half the
difference, and learner j adds that half to whatever its weights are by then:

    answer  d = (x_i - o_j) / 2,  x_i <- x_i - d        settle  x_j <- x_j + d

The sum of the weights is conserved once nothing is in flight, in any interleaving, and nobody holds
a lock while a message travels.  Each learner is a `Member` here, its weights change under its own
lock only, and its entries go to one `Log` under that same lock.  The order of the log is a serial
order of the run, which `asynchrony.replay` therefore repeats:

1. Entries of one learner are in the log in the order in which its weights changed, since they are
   submitted under its lock; those of different learners touch different weights and commute, but
   for messages.
2. A message is sent after the entry it stems from is in the log: an offer after the event whose
   weights it carries, a half after its answer, weights for a newcomer after its pull.  So that a
   cause precedes its effect, also if the sender is killed in between; what a killed learner did
   and could not log, nobody has seen.
3. A learner has one offer open at a time, and makes the next when the first is settled or whoever
   should answer is dead.  The slot o_j of a replay then holds what the message held.  The answer of
   a dead learner that reaches the log later than the next offer is left out: it changed weights
   that are lost.
4. Before a killed learner returns, all living ones have learned that its offers no longer count,
   and those that they had answered are in the log.

Offers are numbered and an answer is kept until the next, so that to ask twice is harmless.  A crash
loses the weights of the killed learner and at most one half for each of its neighbors.

References:
    X. Lian et al., "Asynchronous Decentralized Parallel Stochastic Gradient Descent", 2017,
        arXiv:1710.06952.
"""

import collections
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .journal import Journal, Update
from .traces import NOBODY, Read, Trace


def widen(tree: Any) -> Any:
    """The tree in float32 or better, in which differences are taken."""
    return jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), tree)


def answer(mine: Any, offer: Any) -> tuple[Any, Any]:
    """The answering learner's half: its new weights, and d = (x_i - o_j) / 2 for the other one."""
    half = jax.tree.map(lambda x, y: 0.5 * (x - y), widen(mine), widen(offer))
    mine = jax.tree.map(lambda x, d: (x.astype(d.dtype) - d).astype(x.dtype), mine, half)
    return mine, half


def settle(mine: Any, half: Any) -> Any:
    """The offering learner's half: x_j + d."""
    return jax.tree.map(lambda x, d: (x.astype(d.dtype) + d).astype(x.dtype), mine, half)


class Offer(NamedTuple):
    """The weights that a learner sends to a neighbor."""

    learner: int
    life: int  # how often the learner has returned from a failure
    number: int  # of the offer in that life
    weights: Any  # pytree of one learner's arrays


class Receipt(NamedTuple):
    """What the log answers."""

    finished: bool  # whether the run is over, at least for a writer that counts as dead
    progress: int  # see `Journal.progress`, of the event's learner
    total: int  # updates of all learners


class Log:
    """The events of all learners in one order: that in which they arrive.

    Args:
        num_learners: number of learners n.
        num_updates: updates after which the run is over.
        steps: [num_learners] updates made before, in a run that continues.
    """

    def __init__(self, num_learners: int, num_updates: int, steps: Sequence[int] | None = None):
        self._journal = Journal(num_learners, num_updates, steps)
        self._lives = [0] * num_learners
        self._open = [(0, 0)] * num_learners  # life and number of each learner's last offer
        self._start = time.monotonic()

    def add(
        self, writer: int, life: int, learner: int, offer: tuple[int, int] | None = None, **event
    ) -> Receipt:
        """Appends an event of `learner`, see `Journal.add`.

        Args:
            writer: whose weights the event changed or copied, which its entries keep in order.
            life: of the writer.
            learner: of the event.
            offer: (life, number) of the offer that the event makes or answers.
            event: other arguments of the event.

        Returns:
            A receipt.
        """
        if life != self._lives[writer]:
            return self._receipt(learner, finished=True)
        answers = event.get("answers", NOBODY)
        if answers == NOBODY or offer == self._open[answers]:
            if offer is not None and event.get("offers"):
                self._open[learner] = offer
            self._journal.add(time.monotonic() - self._start, learner, **event)
        return self._receipt(learner, finished=self._journal.finished)

    def close(self, learner: int) -> int:
        """Ends the life of a dead learner; returns the number of updates it has made."""
        self._lives[learner] += 1
        return self._journal.steps[learner]

    def drain(self) -> tuple[int, list[Update]]:
        """The updates of all learners so far, and what those since the last call reported."""
        return self._journal.total, self._journal.drain()

    def steps(self) -> list[int]:
        """[num_learners] updates made so far."""
        return self._journal.steps

    def trace(self) -> Trace:
        """The trace so far, in seconds since the start."""
        return self._journal.trace()

    def _receipt(self, learner: int, finished: bool) -> Receipt:
        return Receipt(finished, self._journal.progress(learner), self._journal.total)


class Member:
    """One learner's weights, which its own thread and the requests of neighbors change.

    Each method that changes them returns, last, the receipt of its entry; what the method returns
    besides must not leave the process before the log has confirmed the receipt.

    Args:
        learner: its number.
        life: how often it has returned.
        params: pytree of its arrays.
        opt_state: state of its optimizer.
        update: ``update(gradients, opt_state, params, progress) -> (params, opt_state)``.
        write: submits its arguments to `Log.add` without waiting and returns a receipt.
        steps: updates made before.
    """

    def __init__(
        self,
        learner: int,
        life: int,
        params: Any,
        opt_state: Any,
        update: Any,
        write: Any,
        steps: int = 0,
    ):
        self.learner, self.life, self._steps = learner, life, steps
        self.snapshot = self._params = params
        self._opt_state = opt_state
        self._update = update
        self._write: Callable[..., Any] = write
        self._lock = threading.Lock()
        self._num_offers = 0
        self._answers: dict[int, tuple[tuple[int, int], Any, Any]] = {}
        self._least_lives: dict[int, int] = collections.defaultdict(int)

    def offer(self) -> Offer:
        """The last event's offer, or that with which a life begins."""
        return Offer(self.learner, self.life, self._num_offers, self.snapshot)

    def advance(
        self,
        gradients: Any,
        half: Any = None,
        *,
        offers: bool = False,
        progress: int = 0,
        metrics: Mapping[str, float] | None = None,
    ) -> Any:
        """Settles if there is a half, applies the gradients, reads, and may offer what it read.

        Args:
            gradients: of the learner's snapshot.
            half: from the answer to its offer.
            offers: whether to offer the new weights.
            progress: of the receipt for the event that made the snapshot.
            metrics: what the gradient reported.
        """
        with self._lock:
            mine = self._params if half is None else _settle(self._params, half)
            seen = np.int32(progress)
            mine, self._opt_state = self._update(gradients, self._opt_state, mine, seen)
            self._params = self.snapshot = mine
            self._steps += 1
            self._num_offers += offers
            event = {"applies": True, "reads": Read.AFTER, "settles": half is not None}
            event |= {"metrics": metrics, "offers": offers}
            return self._log(self.learner, (self.life, self._num_offers), **event)

    def settle(self, half: Any) -> Any:
        """Settles without a gradient, after the last one."""
        with self._lock:
            self._params = _settle(self._params, half)
            return self._log(self.learner, settles=True)

    def answer(self, offer: Offer) -> tuple[Any, Any]:
        """The half for an offer, the same for the same offer; None for one from a past life."""
        with self._lock:
            name = offer.life, offer.number
            known, half, receipt = self._answers.get(offer.learner, (None, None, None))
            if offer.life < self._least_lives[offer.learner]:
                return None, None
            if name != known:
                self._params, half = _answer(self._params, offer.weights)
                receipt = self._log(self.learner, name, answers=offer.learner)
                self._answers[offer.learner] = name, half, receipt
            return half, receipt

    def give(self, learner: int, life: int) -> tuple[Any, Any, Any]:
        """Weights and optimizer state for a learner that begins a new life with them."""
        with self._lock:
            event = {"pulls": self.learner, "reads": Read.AFTER, "offers": True}
            receipt = self._log(learner, (life, 0), **event)
            return self._params, self._opt_state, receipt

    def retire(self, learner: int, life: int) -> Any:
        """Refuses offers from before this life of a learner; the receipt of its last answer."""
        with self._lock:
            if life <= self._least_lives[learner]:
                return None
            self._least_lives[learner] = life
            _, _, receipt = self._answers.pop(learner, (None, None, None))
            return receipt

    def state(self) -> tuple[Any, Any, Any, int]:
        """Weights, snapshot, optimizer state and number of updates."""
        with self._lock:
            return self._params, self.snapshot, self._opt_state, self._steps

    def _log(self, learner: int, offer: tuple[int, int] | None = None, **event) -> Any:
        return self._write(self.learner, self.life, learner, offer, **event)


class Deadline:
    """How long to wait for an answer: median + factor * MAD of past exchange times.

    Args:
        factor: of the median absolute deviation.
        floor: the shortest deadline in seconds, and the one before the first exchange.
        window: number of exchanges remembered.

    Example:
        >>> deadline = Deadline(factor=5.0, floor=0.1)
        >>> for seconds in (1.0, 1.2, 1.4):
        ...     deadline.observe(seconds)
        >>> round(deadline.seconds, 6)
        2.2
    """

    def __init__(self, factor: float, floor: float, window: int = 64):
        if not factor >= 0.0:
            raise ValueError(f"`factor` must be at least 0, got {factor}.")
        if not floor >= 0.0:
            raise ValueError(f"`floor` must be at least 0 seconds, got {floor}.")
        self._factor, self._floor = factor, floor
        self._times = collections.deque(maxlen=window)

    def observe(self, seconds: float) -> None:
        """Counts an exchange, late ones included: a slow network moves the deadline."""
        self._times.append(seconds)

    @property
    def seconds(self) -> float:
        """The deadline, from the sending of an offer."""
        if not self._times:
            return self._floor
        median = statistics.median(self._times)
        deviation = float(np.median(np.abs(np.asarray(self._times) - median)))
        return max(self._floor, median + self._factor * deviation)


_answer = jax.jit(answer)
_settle = jax.jit(settle)
