"""Exchanges under every delay and loss that a transport can bring: what is logged is what was."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import asynchrony, push_pull, thread_learner, topology
from gossamer.core.async_training import scale_by_progress
from gossamer.core.push_pull import Deadline, Log, Member, Offer
from gossamer.core.schemes import neighbors
from gossamer.core.traces import NOBODY, Recorder

N = 4
GRAPH = topology.ring(N)
# Rates that follow the progress of the run show whether a replay knows what learners knew.
OPTIMIZER = optax.chain(
    optax.trace(0.5), scale_by_progress(lambda step: -0.1 / (1.0 + 0.1 * step), N)
)
TARGETS = np.random.default_rng(0).standard_normal((N, 5, 3))
START = np.random.default_rng(1).standard_normal((N, 3))
KEY = 0


def pull_to_target(params, target, key):
    del key
    return params - target


def nothing(params, target, key):
    del target, key
    return jnp.zeros_like(params)


class World:
    """Learners whose entries and messages arrive when chance will have it.

    Entries of one learner reach the log in their order; a message leaves its sender when the entry
    it stems from is in the log.
    """

    def __init__(self, gradient, seed):
        self.gradient, self.random = gradient, np.random.default_rng(seed)
        self.update = jax.jit(lambda *x: thread_learner.apply(OPTIMIZER, *x))
        self.log = Log(N, num_updates=10**9)
        self.entries = [[] for _ in range(N)]  # submitted, not in the log, by writer
        self.confirmed = {}  # progress by receipt
        self.offers = {}  # offering learner -> (peer, offer), on its way
        self.halves = {}  # offering learner -> (answering one, receipt, half), on its way
        self.waits = [None] * N  # the receipt of a learner's last update and who gets the offer
        self.members = [self.begin(i, 0, START[i], OPTIMIZER.init(START[i])) for i in range(N)]
        self.steps = [0] * N
        self.progress = [0] * N
        self.num_receipts = 0

    def begin(self, i, life, params, opt_state, steps=0):
        return Member(i, life, params, opt_state, self.update, self.write, steps)

    def write(self, writer, *arguments, **event):
        self.num_receipts += 1
        self.entries[writer].append((self.num_receipts, arguments, event))
        return self.num_receipts

    def store(self, i):
        """One entry of learner i reaches the log."""
        if self.entries[i]:
            receipt, arguments, event = self.entries[i].pop(0)
            self.confirmed[receipt] = self.log.add(i, *arguments, **event).progress

    def compute(self, i):
        """A gradient is ready: it settles what has come, and offers if nothing is open."""
        if self.waits[i] is not None:
            receipt, peer = self.waits[i]
            if receipt in self.confirmed:
                self.waits[i], self.progress[i] = None, self.confirmed[receipt]
                if peer != NOBODY and self.members[peer] is not None:
                    self.offers[i] = peer, self.members[i].offer()
            return
        half = self.receive(i)
        target = TARGETS[i, self.steps[i] % 5]
        gradients = self.gradient(self.members[i].snapshot, target, None)
        peers = [j for j in neighbors(GRAPH)[i] if self.members[j] is not None]
        free = peers and i not in self.offers and i not in self.halves
        peer = int(self.random.choice(peers)) if free else NOBODY
        receipt = self.members[i].advance(
            gradients, half, offers=peer != NOBODY, progress=self.progress[i]
        )
        self.steps[i] += 1
        self.waits[i] = receipt, peer

    def answer(self, i):
        """The offer of learner i reaches its peer, now and then twice."""
        if i in self.offers:
            peer, offer = self.offers[i]
            half, receipt = self.members[peer].answer(offer)
            self.halves[i] = peer, receipt, half
            if self.random.random() < 0.8:
                del self.offers[i]

    def receive(self, i):
        if i in self.offers or i not in self.halves or self.halves[i][1] not in self.confirmed:
            return None
        return self.halves.pop(i)[2]

    def kill(self, i):
        """Learner i dies; it returns when all others know."""
        for _ in range(self.random.integers(len(self.entries[i]) + 1)):
            self.store(i)
        self.members[i] = self.waits[i] = None
        self.offers = {j: x for j, x in self.offers.items() if j != i and x[0] != i}
        self.halves = {j: x for j, x in self.halves.items() if j != i and x[0] != i}

    def revive(self, i, life):
        living = [member for member in self.members if member is not None]
        for member in living:
            self.confirm(member.retire(i, life), member.learner)
        self.steps[i] = self.log.close(i)
        giver = living[self.random.integers(len(living))]
        params, opt_state, receipt = giver.give(i, life)
        self.confirm(receipt, giver.learner)
        self.progress[i] = self.confirmed[receipt]
        self.members[i] = self.begin(i, life, params, opt_state, self.steps[i])

    def confirm(self, receipt, writer):
        while receipt is not None and receipt not in self.confirmed:
            self.store(writer)

    def go_on(self, num_actions):
        actions = [self.store, self.compute, self.answer]
        for _ in range(num_actions):
            i = self.random.integers(N)
            if self.members[i] is not None:
                actions[self.random.integers(3)](i)
            else:
                self.store(i)  # Late entries of the dead.

    def finish(self):
        """Everything in flight arrives."""
        for i in range(N):
            self.waits[i] = None
            while i in self.offers:
                self.answer(i)
        self.drain()
        for i in range(N):
            if (half := self.receive(i)) is not None:
                self.members[i].settle(half)
        self.drain()

    def drain(self):
        for i in range(N):
            while self.entries[i]:
                self.store(i)


def assert_replays(world):
    trace = world.log.trace()
    key = jax.random.key(KEY)
    state, _ = asynchrony.replay(trace, world.gradient, OPTIMIZER, START, key, batches=TARGETS)
    np.testing.assert_array_equal(state.steps, world.steps)
    for i in range(N):
        params, snapshot, opt_state, steps = world.members[i].state()
        assert steps == world.steps[i]
        replayed = jax.tree.map(lambda x, i=i: x[i], (state.params, state.snapshots))
        np.testing.assert_allclose((params, snapshot), replayed, rtol=1e-10, atol=1e-13)
        trace_of_momentum = jax.tree.leaves(state.opt_state)[0][i]
        np.testing.assert_allclose(
            jax.tree.leaves(opt_state)[0], trace_of_momentum, rtol=1e-10, atol=1e-13
        )


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_arrival_replays_to_the_same_weights(seed, float64):
    world = World(pull_to_target, seed)
    world.go_on(400)
    world.finish()
    trace = world.log.trace()
    assert trace.settles.sum() == (trace.answers != NOBODY).sum() >= 10
    assert_replays(world)


@pytest.mark.parametrize("seed", range(4))
def test_the_sum_is_conserved_and_learners_agree(seed, float64):
    world = World(nothing, seed)
    world.go_on(1500)
    world.finish()
    final = np.stack([member.state()[0] for member in world.members])
    np.testing.assert_allclose(final.sum(axis=0), START.sum(axis=0), rtol=1e-10, atol=1e-13)
    assert np.ptp(final, axis=0).max() < 0.1 * np.ptp(START, axis=0).max()


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_learner_returns_and_the_log_still_replays(seed, float64):
    world = World(pull_to_target, seed)
    for life in (1, 2):
        world.go_on(150)
        world.kill(1)
        world.go_on(40)
        world.revive(1, life)
    world.go_on(150)
    world.finish()
    assert (world.log.trace().pulls != NOBODY).sum() == 2
    assert_replays(world)


def test_halves_worked_out_by_hand():
    """The offering learner has moved on when its half arrives."""
    record = Recorder(2, 2)
    record.add(1.0, 0, applies=True, offers=True)  # 8 - 1, offers 7
    record.add(2.0, 0, applies=True)  # 7 - 1
    record.add(3.0, 1, answers=0)  # d = (1 - 7) / 2 = -3: 1 + 3
    record.add(4.0, 0, settles=True, applies=True)  # 6 - 3 - 1
    start = jnp.array([[8.0], [1.0]])
    _, path = asynchrony.replay(
        record.trace(),
        lambda params, batch, key: jnp.ones_like(params),
        optax.sgd(1.0),
        start,
        jax.random.key(KEY),
        observe=lambda x: x,
    )
    np.testing.assert_array_equal(path[..., 0], [[7, 1], [6, 1], [6, 4], [2, 4]])


def test_the_log_knows_the_end_and_the_dead():
    log = Log(2, num_updates=2)
    assert not log.add(0, 0, 0, applies=True).finished
    assert log.add(1, 0, 1, applies=True).finished
    assert log.close(1) == 1
    # From its past life: over for it, and not in the log.
    assert log.add(1, 0, 1, applies=True).finished
    assert log.add(1, 1, 1, applies=True).finished
    assert log.trace().learner.tolist() == [0, 1, 1]


def test_offers_from_a_past_life_are_refused():
    log = Log(2, num_updates=10)
    member = Member(0, 0, np.ones(3), (), None, log.add)
    member.retire(1, life=2)
    assert member.answer(Offer(1, 1, 5, np.zeros(3))) == (None, None)
    offer = Offer(1, 2, 0, np.zeros(3))
    half, _ = member.answer(offer)
    np.testing.assert_array_equal(half, np.full(3, 0.5, np.float32))
    member.retire(1, life=2)  # It has learned this before, and still knows what it answered.
    np.testing.assert_array_equal(member.answer(offer)[0], half)
    np.testing.assert_array_equal(member.state()[0], np.full(3, 0.5, np.float32))


def test_halves_keep_dtypes():
    x, y = jnp.ones(3, jnp.bfloat16), jnp.zeros(3, jnp.bfloat16)
    mine, half = push_pull.answer(x, y)
    assert (mine.dtype, half.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(push_pull.settle(y, half), jnp.full(3, 0.5, jnp.bfloat16))


def test_the_deadline_follows_the_exchanges():
    deadline = Deadline(factor=3.0, floor=0.5, window=5)
    assert deadline.seconds == 0.5
    for seconds in (1.0, 2.0, 4.0):
        deadline.observe(seconds)
    assert deadline.seconds == 2.0 + 3.0 * 1.0
    for _ in range(5):
        deadline.observe(0.1)
    assert deadline.seconds == 0.5
    with pytest.raises(ValueError, match="`factor` must be at least 0"):
        Deadline(factor=-1.0, floor=0.0)
    with pytest.raises(ValueError, match="`floor` must be at least 0 seconds"):
        Deadline(factor=1.0, floor=-1.0)
