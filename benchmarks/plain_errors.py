"""The end of a script that was given what is not there: one line with the remedy, no traceback."""

import os
from collections.abc import Callable


def run(main: Callable[[], object]) -> None:
    """Calls a script; GOSSAMER_DEBUG=1 shows the traceback behind an error.

    Raises:
        SystemExit: with the message of a ValueError.
    """
    try:
        main()
    except ValueError as error:
        if os.environ.get("GOSSAMER_DEBUG"):
            raise
        raise SystemExit(str(error)) from error
