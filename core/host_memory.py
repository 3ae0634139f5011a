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
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


@functools.cache
def keep_freed_memory() -> bool:
    """Lets the process keep what it frees, to use it again.

    To be called before the threads of JAX exist, so before its first computation: one arena then
    serves all threads, since the arenas of further threads cannot hold large buffers. The process
    stays as large as it was at its largest. Where the environment sets the allocator, by
    ``MALLOC_ARENA_MAX`` and its like or by ``GLIBC_TUNABLES``, it is left alone.

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
    settings = {_TRIM_THRESHOLD: -1, _MMAP_MAX: 0, _ARENA_MAX: 1}
    return all([library.mallopt(name, value) == 1 for name, value in settings.items()])
