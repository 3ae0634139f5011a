"""Memory of the host that a computation gives back and soon asks for again.

XLA for CPUs allocates the buffers of a computation anew each time it runs. The allocator of glibc
gives large ones back to the kernel, which then has to clear every page again at its first use: with
four learners, a third to a half of the time of training a small network of images went there.
"""

import ctypes
import functools
import os
import sys

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST = 2**31 - 1  # that mallopt takes


@functools.cache
def keep_freed_memory() -> bool:
    """Lets the process keep what it frees, to use it again.

    To be called before the threads of JAX exist, so before its first computation: one arena then
    serves all threads, since the arenas of further threads cannot hold large buffers. Buffers above
    1/64 of the memory of the machine (at most 2 GiB) are still given back: kept, they leave holes
    that the next ones do not fit, and the process grows to several times its need. Where the
    environment sets the allocator, by ``MALLOC_ARENA_MAX`` and its like or by ``GLIBC_TUNABLES``,
    it is left alone.

    Returns:
        Whether the allocator was told; only that of glibc, on Linux, can be.

    Example:
        >>> keep_freed_memory()
        True
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl has no such parameters
        return False
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    settings = {
        _ARENA_MAX: 1,
        _MMAP_THRESHOLD: min(memory // 64, _LARGEST),
        _TRIM_THRESHOLD: _LARGEST,
    }
    return all([library.mallopt(name, value) == 1 for name, value in settings.items()])
