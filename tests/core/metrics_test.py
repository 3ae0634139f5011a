"""The log survives torn lines and goes back in time; TensorBoard's own reader finds the scalars."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from gossamer.core import metrics


def read_events(folder):
    """Reads TensorBoard records: length, its checksum, an `Event` message, its checksum."""
    events = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
            body = data[12 : 12 + length]
            assert int.from_bytes(data[12 + length : 16 + length], "little") == masked_crc32c(body)
            events.append(event_pb2.Event.FromString(body))
            data = data[16 + length :]
    return events


def test_lines_come_back_and_are_strict_json(tmp_path):
    with metrics.Log(tmp_path / "run") as log:
        log.write(1, {"loss": 0.1, "grad_norm": math.nan})
        log.write(2, {"loss": np.float32(0.1), "grad_norm": math.inf})
        rows = metrics.read_log(tmp_path / "run")  # Flushed before it is closed.
    assert [row["step"] for row in rows] == [1, 2]
    assert [row["loss"] for row in rows] == [0.1, float(np.float32(0.1))]
    assert all(math.isnan(row["grad_norm"]) and row["time"] > 0 for row in rows)
    assert "NaN" not in (tmp_path / "run" / metrics.LOG_NAME).read_text()
    np.testing.assert_equal(metrics.read_log(tmp_path / "run" / metrics.LOG_NAME), rows)


def test_no_log_is_empty(tmp_path):
    assert metrics.read_log(tmp_path) == []
    assert metrics.read_log(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize("cut", range(1, 20))
def test_torn_last_line_is_ignored(cut, tmp_path):
    whole = json.dumps({"step": 1, "loss": 2.0}) + "\n"
    torn = json.dumps({"step": 2, "name": "é"}, ensure_ascii=False).encode()[:cut]
    (tmp_path / metrics.LOG_NAME).write_bytes(whole.encode() + torn)
    assert metrics.read_log(tmp_path) == [{"step": 1, "loss": 2.0}]


def test_broken_line_in_the_middle_is_an_error(tmp_path):
    (tmp_path / metrics.LOG_NAME).write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"line 2 of .*remove that line"):
        metrics.read_log(tmp_path)


def test_log_is_cut_back_where_the_run_continues(tmp_path):
    with metrics.Log(tmp_path) as log:
        for step in (1, 2, 2, 3):
            log.write(step, {"loss": step})
    with (tmp_path / metrics.LOG_NAME).open("a") as file:
        file.write('{"step": 4, "lo')
    with metrics.Log(tmp_path, step=2) as log:
        log.write(3, {"loss": 30})
    assert [row["loss"] for row in metrics.read_log(tmp_path)] == [1, 2, 2, 30]
    assert [x.name for x in tmp_path.iterdir() if x.suffix == ".tmp"] == []


def test_tensorboard_events_hold_the_scalars_and_the_restart(tmp_path):
    with metrics.Log(tmp_path) as log:
        log.write(5, {"loss": 0.5, "bad": math.nan})
        scalars = [v for e in read_events(tmp_path) for v in e.summary.value]
        assert [(v.tag, v.simple_value) for v in scalars] == [("loss", 0.5)]  # Before closing.
        log.write(6, {"validation/wer": 0.25})
    events = read_events(tmp_path)
    found = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    assert found == [(5, "loss", 0.5), (6, "validation/wer", 0.25)]
    with metrics.Log(tmp_path, step=5):
        pass
    starts = [e.step for e in read_events(tmp_path) if e.session_log.status == 1]
    assert starts == [1, 6]  # TensorBoard hides what earlier files hold from these steps on.


def test_window_averages_finite_values():
    window = metrics.Window()
    for loss in (1.0, math.nan, 4.0, math.inf):
        window.add({"loss": jnp.asarray(loss), "bad": jnp.asarray(math.nan)})
    assert len(window.drain()) == 4
    window.add({"loss": jnp.asarray(4.0), "bad": jnp.asarray(math.nan), "late": jnp.asarray(7)})
    assert window.drain()[0]["loss"] == 4.0
    means = window.means()
    assert (means["loss"], means["late"]) == (3.0, 7.0)
    assert math.isnan(means["bad"])
    window.clear()
    assert window.means() == {}


def test_window_averages_equal_learners_without_rounding():
    value = np.float32(0.1)
    window = metrics.Window()
    window.add({"loss": jnp.full(3, value)})
    assert window.drain() == [{"loss": float(value)}]


def test_window_passes_through_json():
    window = metrics.Window()
    for loss in (0.1, math.nan):
        window.add({"loss": jnp.asarray(loss)})
    window.drain()
    stored = json.loads(json.dumps(window.values, allow_nan=False))
    assert metrics.Window(stored).means() == window.means() == {"loss": float(np.float32(0.1))}
