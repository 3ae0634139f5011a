"""Where prepared data lie, and how quietly they are prepared."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator

from absl import logging


def default_data_dir() -> pathlib.Path:
    """``$TFDS_DATA_DIR``, else ``~/.cache/gossamer``."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR") or "~/.cache/gossamer").expanduser()


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
