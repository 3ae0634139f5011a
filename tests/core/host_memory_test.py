"""What a process keeps of the memory that it gave back, counted in page faults."""

import os
import subprocess
import sys

import pytest

# A thread fills 100 MB twice: how many pages does the kernel clear the second time?
FILL = """
import resource, threading
from gossamer.core.host_memory import keep_freed_memory

told = keep_freed_memory()
faults = []

def fill():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        b"x" * 100_000_000
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=fill)
thread.start()
thread.join()
print(told, faults[1])
"""


def fill(**environment):
    run = subprocess.run(
        [sys.executable, "-c", FILL],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    told, faults = run.stdout.split()
    return told == "True", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked")
def test_what_a_thread_gave_back_is_there_again():
    told, faults = fill()
    assert told
    assert faults < 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked")
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_an_environment_that_chooses_is_left_alone(name):
    chosen = {"MALLOC_ARENA_MAX": "4", "GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}
    told, faults = fill(**{name: chosen[name]})
    assert not told
    assert faults > 20_000
