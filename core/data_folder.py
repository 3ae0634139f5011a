"""Where downloads and prepared data lie, and how quietly they are prepared, or refused."""

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


@contextlib.contextmanager
def plain_failures(name: str, data_dir: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever stops tensorflow-datasets from preparing a data set becomes one line.

    Args:
        name: of the data set.
        data_dir: folder of prepared data.

    Raises:
        ValueError: with a remedy.
    """
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"`data` {name} is not prepared in {data_dir}, and preparing it takes a package that "
            f"is missing ({error}); install it once (pip install tensorflow-cpu), or set "
            "TFDS_DATA_DIR to a folder where it is prepared as array_record."
        ) from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`data` {name} is not prepared in {data_dir} and could not be downloaded "
            f"({reason:.200}); set TFDS_DATA_DIR to a folder where it is."
        ) from error
