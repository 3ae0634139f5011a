"""The one training loop: a train state, a pure step with a guard, and a loop that survives.

A step is written from the view of one learner,

    k = fold_in(key, step),   (loss, g) = value_and_grad(loss)(x, batch, k),   x <- x + u(g),

and runs for one learner under ``jax.jit`` or for n under `learners.spread`.  Where loss or gradient
is not finite on any learner, all of them skip the step: if only that one did, the mixing matrix of
gossip would not be doubly stochastic and the mean of the learners would drift.

`fit` runs steps without waiting for the device, logs, validates, and writes checkpoints of
everything that decides the future of a run: state with its random key, position in the data,
metrics not logged yet, best validation so far.  A run killed at any moment and started again ends
in the same bits as one left alone.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import checkpoint, gossip, interruption, learners, metrics, mixing, progress
from .diagnostics import Diagnostics, measure_if
from .microbatches import Loss, gradient_in_parts

State = TypeVar("State")  # `TrainState`, or whatever a step carries


class TrainState(NamedTuple):
    """What a training step carries; with n learners each leaf has a leading axis [num_learners]."""

    step: jax.Array  # [] int32: number of steps done, skipped ones included
    params: Any  # pytree of arrays
    opt_state: Any  # state of the optimizer
    key: jax.Array  # [] typed random key: constant, each step folds its number into it
    skipped: jax.Array  # [] int32: number of steps skipped in a row, up to now
    statistics: Any = ()  # pytree of arrays: moving averages of what the loss saw, of batch norm


def init_state(
    params: Any,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    num_learners: int | None = None,
    statistics: Any = (),
) -> TrainState:
    """The state before the first step.

    Args:
        params: pytree of arrays, without a leading axis.
        optimizer: the transform given to `train_step`.
        key: typed random key, ``jax.random.key(seed)``.
        num_learners: None for one learner; else all n start from the same parameters, each with
            its own key, and every leaf has a leading axis [num_learners, ...].
        statistics: pytree of the first statistics, without a leading axis, see `train_step`.

    Returns:
        A `TrainState`.

    Raises:
        TypeError: if `key` is not a typed random key.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"`key` must be a typed random key, got {key.dtype}{list(key.shape)}; make it with "
            "jax.random.key(seed)."
        )
    zero = jnp.zeros([], jnp.int32)
    state = TrainState(zero, params, optimizer.init(params), key, zero, statistics)
    if num_learners is None:
        return state
    shared = learners.replicate(state._replace(key=None), num_learners)
    return shared._replace(key=jax.random.split(key, num_learners))


def train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    num_parts: int = 1,
    diagnostics: Diagnostics | None = None,
    consensus_every: int | None = 1,
    statistics_decay: float | None = None,
    **update_options: Any,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """Builds the training step of one learner, a pure function that is not jitted yet.

    Args:
        loss: ``loss(params, batch, key) -> (scalar, {name: scalar})`` on one learner's batch.
        optimizer: an optax transform; its links may use collectives over `axis_name`.  It gets the
            gradient at `gossip.gradient_params`, which are x unless it asks for delayed weights.
        axis_name: the axis of learners, None for a single learner.
        num_parts: parts of a learner's batch that are worked on one after another, see
            `microbatches`.
        diagnostics: measures the step beside the update, for instance `landscape.diagnose`:
            ``diagnostics(state, batch, key, gradients) -> {name: scalar}`` with the state before
            the step, what `loss` was given, and its gradients.
        consensus_every: number of steps from one measurement of the consensus distance to the next,
            the first after ``consensus_every - 1`` steps; None for none.  It takes an all-reduce of
            all weights, as many bytes as gossip on a ring: where learners are devices, measure as
            often as you log.
        statistics_decay: None for a loss without statistics.  Else the loss returns
            ``(scalar, (metrics, statistics))``, the latter those of its batch, such as means and
            variances of batch norm, and ``state.statistics`` moves by
            s <- decay s + (1 - decay) statistics.  They are no parameters: each learner keeps those
            of its own data, see `learners.average`.
        update_options: further arguments of the optimizer's update, such as ``compress=False``.

    Returns:
        ``step(state, batch) -> (state, metrics)``.  Metrics are [] floats, averaged over the
        learners: those of `loss` and `diagnostics`, and "loss", "grad_norm", "finite" (1, or 0 for
        a skipped step) and, with an axis, "consensus_distance", NaN in steps that do not measure
        it.  A skipped step advances ``state.step`` and ``state.skipped`` and nothing else.

    Raises:
        ValueError: if `consensus_every` or `num_parts` is below 1, or `statistics_decay` outside
            [0, 1).

    Example:
        >>> step = jax.jit(train_step(loss, optax.adam(1e-3)), donate_argnums=0)
        >>> optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(8))
        >>> step = learners.spread(
        ...     train_step(loss, optimizer, axis_name="learner"), 8, donate_argnums=0)
    """
    if consensus_every is not None:
        _check_positive(consensus_every=consensus_every)
    if statistics_decay is not None and not 0 <= statistics_decay < 1:
        raise ValueError(f"`statistics_decay` must be in [0, 1), got {statistics_decay}.")
    gradient = gradient_in_parts(loss, num_parts)

    def step(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        (value, details), gradients = gradient(
            gossip.gradient_params(state.opt_state, state.params), batch, key
        )
        statistics = state.statistics
        if statistics_decay is not None:
            details, found = details
            statistics = optax.tree.update_moment(found, statistics, statistics_decay, order=1)
        grad_norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)
        if axis_name is not None:
            finite = jax.lax.pmin(finite.astype(jnp.int32), axis_name) == 1
        measured = {}
        if diagnostics is not None:
            measured = diagnostics(state, batch, key, gradients)
        updates, opt_state = optimizer.update(
            gradients, state.opt_state, state.params, **update_options
        )
        params = optax.apply_updates(state.params, updates)
        params, opt_state, statistics = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, opt_state, statistics),
            (state.params, state.opt_state, state.statistics),
        )
        state = TrainState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            key=state.key,
            skipped=jnp.where(finite, 0, state.skipped + 1),
            statistics=statistics,
        )
        report = details | measured | {"loss": value, "grad_norm": grad_norm, "finite": finite}
        report = {name: _widen(x) for name, x in report.items()}
        if axis_name is not None:
            report = jax.lax.pmean(report, axis_name)
            if consensus_every is not None:
                report["consensus_distance"] = _consensus_distance(
                    params, state.step, consensus_every, axis_name
                )
        return state, report

    return step


def staged(
    first: Callable[[TrainState, Any], Any], num_first: int, then: Callable[[TrainState, Any], Any]
) -> Callable[[TrainState, Any], Any]:
    """One step function for the first steps and another one from there on.

    Each is a program of its own, so neither holds branches for the other: dense gradients first,
    compressed ones later, at one structure of the state.  As long as the first is in use, a step
    waits for the one before it.

    Args:
        first: the jitted step of steps 0 ... num_first - 1, see `train_step`.
        num_first: how many steps.
        then: the jitted step of all others.

    Returns:
        A step for `fit`.

    Example:
        >>> optimizer = optax.chain(scalecom(100), optax.sgd(0.1))
        >>> dense = learners.spread(train_step(loss, optimizer, compress=False), 8)
        >>> sparse = learners.spread(train_step(loss, optimizer), 8)
        >>> step = staged(dense, 500, sparse)
    """
    past = False

    def step(state, batch):
        nonlocal past
        past = past or int(np.max(_local(state.step))) >= num_first
        return (then if past else first)(state, batch)

    return step


def fit(
    step: Callable[[State, Any], tuple[State, dict[str, Any]]],
    state: State,
    batches: Iterator[Any],
    *,
    run_folder: str | Path,
    num_steps: int,
    checkpoint_every: int,
    log_every: int,
    validate: Callable[[State], dict[str, float]] | None = None,
    validate_every: int | None = None,
    best_metric: str | None = None,
    best_mode: Literal["min", "max"] = "min",
    schedule: Callable[[int], Any] | None = None,
    read: Callable[[Any], Any] = lambda state: state,
    totals: Callable[[], Mapping[str, float]] = dict,
    max_skipped: int = 10,
    keep: int = 2,
    show_progress: bool = True,
) -> State:
    """Trains, or continues where the run in the folder stopped.

    On SIGTERM or Ctrl-C a checkpoint is written after the current step and the process exits; the
    same call then continues.  The metrics of ``metrics.jsonl`` are means since the last line;
    those of `validate` are written as "validation/<name>".

    Args:
        step: a jitted step, see `train_step`.
        state: the state before the first step; it stays usable.
        batches: an iterator over batches.  With ``get_state`` and ``set_state`` (grain) its
            position is in the checkpoints; any other is taken to start anew with the same batches,
            and those of the finished steps are drawn again and dropped.
        run_folder: folder of the run, see `run_folder`.
        num_steps: number of steps of the whole run.
        checkpoint_every: steps between checkpoints; the last step has one in any case.
        log_every: steps between log lines, the only times when the loop waits for the device.
        validate: gives metrics of a state, for instance the error rate of the averaged model.
        validate_every: steps between validations; the default is only after the last step.
        best_metric: metric of `validate` whose best state is kept in the subfolder "best", to be
            read by ``checkpoint.restore(run_folder / "best", state)``.
        best_mode: whether the smallest ("min") or largest ("max") is best; the first of equals.
        schedule: learning rate by step, for display and log only; skipped steps do not advance
            the schedule of an optimizer, so that it then lags behind this one.
        read: gives the state to validate, store and return, where a step's result only stands for
            it, see `async_training.Steps`.
        totals: gives more metrics of a log line, which are no means over its steps.
        max_skipped: number of steps skipped in a row at which training stops, >= 1.
        keep: number of newest checkpoints to keep.
        show_progress: whether to show progress on standard error.

    Returns:
        The state after `num_steps` steps.

    Raises:
        ValueError: if an argument is out of range, `batches` ends early, `validate` does not give
            `best_metric`, or the checkpoint has another structure.
        FloatingPointError: after `max_skipped` steps in a row without a finite loss and gradient.
        SystemExit: after SIGTERM or Ctrl-C, with the code 128 + signal number.

    Example:
        >>> state = fit(step, state, iter(data), run_folder="runs/one", num_steps=1000,
        ...             checkpoint_every=100, log_every=10)
    """
    _check_positive(num_steps=num_steps, checkpoint_every=checkpoint_every, log_every=log_every)
    _check_positive(max_skipped=max_skipped, keep=keep)
    if best_metric is not None and validate is None:
        raise ValueError("`best_metric` needs `validate`, which measures it.")
    if best_mode not in ("min", "max"):
        raise ValueError(f'`best_mode` must be "min" or "max", got {best_mode!r}.')
    if validate_every is not None:
        _check_positive(validate_every=validate_every)
    folder = Path(run_folder)
    state, memory = _resume(folder, state, batches)
    start = memory.step
    window = metrics.Window(memory.window)

    def store():
        saved = dataclasses.replace(memory, window=window.values, data=_position(batches))
        metadata = dataclasses.asdict(saved)
        checkpoint.save(folder / "checkpoints", memory.step, state, metadata, keep=keep)

    with (
        metrics.Log(folder, step=start) as log,
        progress.Display(num_steps, start=start, enabled=show_progress) as display,
        interruption.Interruption() as stop,
    ):
        for number in range(start + 1, num_steps + 1):
            state, values = step(state, _next(batches, number, num_steps))
            window.add(values)
            memory.step = number
            display.advance(number)
            last = number == num_steps
            logs = last or number % log_every == 0
            validates = last if validate_every is None else last or number % validate_every == 0
            if logs:
                _watch(memory, window.drain(), max_skipped, schedule, folder)
                line = window.means()
                if schedule is not None:
                    line["learning_rate"] = float(schedule(number - 1))
                line |= totals()
                log.write(number, line)
                display.report(number, line)
                window.clear()
            if validates and validate is not None:
                state = read(state)
                measured = {name: float(value) for name, value in validate(state).items()}
                log.write(number, {f"validation/{name}": x for name, x in measured.items()})
                display.report_validation(number, measured)
                if best_metric is not None and _improves(memory, measured, best_metric, best_mode):
                    memory.best = measured[best_metric]
                    checkpoint.save(folder / "best", number, state, measured, keep=1)
            stops = stop.received is not None  # Read once: a signal may come at any moment.
            if last or stops or number % checkpoint_every == 0:
                _watch(memory, window.drain(), max_skipped, schedule, folder)
                state = read(state)
                store()
            if stops:
                break
    if stop.received is not None and memory.step < num_steps:
        print(
            f"{stop.received.name} came: stopped after step {memory.step} of {num_steps}, saved in "
            f"{folder}; the same command continues from there.",
            file=sys.stderr,
        )
        raise SystemExit(128 + stop.received)
    return state


@dataclasses.dataclass
class _Memory:
    """What the loop itself must remember across a crash; it is the metadata of a checkpoint."""

    step: int = 0
    skipped: int = 0  # Steps skipped in a row.
    last_loss: float | None = None  # The last finite loss.
    best: float | None = None  # The best validation.
    window: list[dict[str, float | None]] = dataclasses.field(default_factory=list)
    data: Any = None  # Position of the data iterator.


def _resume(folder: Path, state: State, batches: Any) -> tuple[State, _Memory]:
    found = checkpoint.restore(folder / "checkpoints", state)
    if found is None:
        # The first step may donate its argument; the caller's arrays must survive that.
        return jax.tree.map(jnp.copy, state), _Memory()
    _, state, metadata = found
    memory = _Memory(**metadata)
    if memory.data is not None:
        if not hasattr(batches, "set_state"):
            raise ValueError(
                f"`batches` must have `set_state`, as they had when the run in {folder} began, got "
                f"{type(batches).__name__}; give the iterator of a grain dataset."
            )
        batches.set_state(_decode_position(memory.data))
    else:
        for number in range(memory.step):
            _next(batches, number + 1, memory.step)
    return state, memory


def _watch(memory, steps, max_skipped, schedule, folder) -> None:
    """Counts the steps skipped in a row and gives up at `max_skipped`."""
    for number, values in enumerate(steps, start=memory.step - len(steps) + 1):
        finite = values.get("finite", 1.0) == 1.0
        memory.skipped = 0 if finite else memory.skipped + 1
        if finite and np.isfinite(values.get("loss", np.nan)):
            memory.last_loss = values["loss"]
        if memory.skipped >= max_skipped:
            rate = "" if schedule is None else f", learning rate {float(schedule(number - 1)):.4g}"
            raise FloatingPointError(
                f"training stopped at step {number}: loss or gradient was not finite in "
                f"{memory.skipped} steps in a row (last finite loss {memory.last_loss}{rate}). "
                f"The last checkpoint in {folder} is good. Lower the learning rate, clip the "
                "gradient, or look for bad values in the batches, and start in another run folder."
            )


def _local(x: jax.Array) -> np.ndarray:
    """What this process holds of an array."""
    return np.asarray(x.addressable_shards[0].data)


def _widen(value: Any) -> jax.Array:
    """A scalar in float32 or better."""
    return jnp.asarray(value, jnp.promote_types(jnp.result_type(value), jnp.float32))


def _improves(memory: _Memory, measured: dict[str, float], name: str, mode: str) -> bool:
    if name not in measured:
        raise ValueError(
            f"`best_metric` must be one of the metrics of `validate`, got {name!r}; choose from "
            f"{sorted(measured)}."
        )
    value = measured[name]
    if not np.isfinite(value):
        return False
    if memory.best is None:
        return True
    return value < memory.best if mode == "min" else value > memory.best


def _next(batches: Iterator[Any], number: int, total: int) -> Any:
    try:
        return next(batches)
    except StopIteration:
        raise ValueError(
            f"`batches` must last for {total} steps, but ended at step {number}; repeat the data "
            "or lower `num_steps`."
        ) from None


def _position(batches: Any) -> Any:
    """The position of a grain iterator as JSON; None for plain iterators."""
    if not hasattr(batches, "get_state"):
        return None
    position = batches.get_state()
    return {"bytes": position.decode()} if isinstance(position, bytes) else {"json": position}


def _decode_position(position: dict[str, Any]) -> Any:
    return position["bytes"].encode() if "bytes" in position else position["json"]


def _consensus_distance(params: Any, step: jax.Array, every: int, axis_name: str) -> jax.Array:
    """`gossip.consensus_distance` after each `every` steps, else NaN."""
    measure = functools.partial(gossip.consensus_distance, axis_name=axis_name)
    is_due = mixing.share_step(step, axis_name) % every == 0 if every > 1 else True
    return measure_if(is_due, measure, params)


def _check_positive(**arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
