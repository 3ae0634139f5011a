"""A run of several processes, killed, stopped and continued, ends as a simulation of it does."""

import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gossamer.core import checkpoint, metrics, processes

SCRIPT = str(pathlib.Path(__file__).with_name("killed_run.py"))
STEPS = 12


def start(folder, address):
    """Both processes of the run."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, SCRIPT, str(folder), str(STEPS)]
    return [
        subprocess.Popen(
            [*command, f"{address},2,{i}"], env=environment, stderr=subprocess.PIPE, text=True
        )
        for i in range(2)
    ]


def wait_for_step(folder, step, running):
    """Waits for a log line of this step or a later one."""
    end = time.monotonic() + 120
    while not any(row["step"] >= step for row in metrics.read_log(folder)):
        assert all(process.poll() is None for process in running)
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_two_processes_survive_signals_and_end_as_one_does(tmp_path, free_address):
    folder = tmp_path / "run"
    running = start(folder, free_address())
    try:
        wait_for_step(folder, 2, running)
        running[1].send_signal(signal.SIGTERM)  # one of them is asked, all stop
        said = [process.communicate(timeout=60)[1] for process in running]
        assert [process.returncode for process in running] == [128 + signal.SIGTERM] * 2, said
        stopped = checkpoint.steps(folder / "checkpoints")[-1]
        assert stopped in (2, 4, 6)  # at a log line
        assert f"SIGTERM came: stopped after step {stopped} of 12" in said[0]
        assert "stopped" not in said[1]

        running = start(folder, free_address())
        wait_for_step(folder, 8, running)
        for process in running:
            process.kill()
            process.communicate()

        running = start(folder, free_address())
        said = [process.communicate(timeout=120)[1] for process in running]
        assert [process.returncode for process in running] == [0, 0], said
    finally:
        for process in running:
            process.kill()

    script = runpy.run_path(SCRIPT)
    script["train"](tmp_path / "simulated", STEPS)
    rows = [metrics.read_log(each) for each in (folder, tmp_path / "simulated")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for found, expected in zip(*rows, strict=True):
        for name in expected.keys() - {"time"}:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)
    _, template = script["make_step"]()
    for name in ("checkpoints", "best"):
        found, expected = (
            checkpoint.restore(each / name, template) for each in (folder, tmp_path / "simulated")
        )
        assert found is not None
        assert expected is not None
        assert found[0] == expected[0]
        np.testing.assert_allclose(
            found[1].params["weight"], expected[1].params["weight"], rtol=1e-5
        )


@pytest.mark.parametrize(
    ("cluster", "match"),
    [
        ("pbs", "`cluster` must be one of slurm, .* or HOST:PORT,NUMBER,INDEX .* got 'pbs'"),
        ("localhost:1,2", "`cluster` must be one of"),
        ("localhost,2,0", "`cluster` must be one of"),
        ("localhost:1,2,2", "must number its 2 processes from 0 to 1, got 2"),
        ("nowhere.invalid:1,2,0", "address of the first process, got 'nowhere.invalid:1'"),
        ("slurm", "`cluster` slurm: this process was not launched by it"),
        ("mpi4py", "`cluster` mpi4py: this process was not launched by it"),
    ],
)
def test_clusters_that_are_none_are_refused(cluster, match):
    with pytest.raises(ValueError, match=match):
        processes.join(cluster)


def test_one_process_is_first_and_waits_for_nobody():
    assert processes.is_first()
    assert not processes.are_several()
    processes.wait("nobody")
    assert processes.largest(3) == 3
    np.testing.assert_array_equal(processes.gather(np.arange(3)), np.arange(3))
    processes.check_learners(5, "vmap")
