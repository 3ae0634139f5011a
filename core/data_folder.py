"""Where downloads and prepared data lie, and how quietly they are prepared."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator

from absl import logging


def cache_dir() -> pathlib.Path:
    """``$GOSSAMER_CACHE``, else ``~/.cache/gossamer``: all that can be fetched or made again."""
    return pathlib.Path(os.environ.get("GOSSAMER_CACHE") or "~/.cache/gossamer").expanduser()


def default_data_dir() -> pathlib.Path:
    """Where prepared data go: ``$TFDS_DATA_DIR``, else `cache_dir`."""
    folder = os.environ.get("TFDS_DATA_DIR")
    return pathlib.Path(folder).expanduser() if folder else cache_dir()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leaves the standard output to results while a data set is prepared."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # it warns that what it is about to write is not there
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
