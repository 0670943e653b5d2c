"""What the scripts have in common: little talk, and errors that a user can act on without a traceback."""

import os
import sys

from absl import app, logging

from align_jax.data.media import MediaError
from align_jax.data.records import RecordError
from align_jax.data.rejects import TooManyRejects

EXPECTED = (ValueError, FileNotFoundError, RecordError, MediaError, TooManyRejects, FloatingPointError)


def start(main) -> None:
    """Runs a script's `main(argv)`. Expected errors end it with their message and status 1.

    ALIGN_JAX_TRACEBACK=1 in the environment shows where they come from.
    """

    def parse(argv):
        # What ml_collections raises for a setting that does not exist.
        return _plainly(app.parse_flags_with_usage, argv, (AttributeError, KeyError, IndexError, TypeError), "setting")

    def quiet_main(argv):
        if not any("verbosity" in arg for arg in sys.argv):
            logging.set_verbosity(logging.WARNING)  # Orbax and TFDS tell every step at INFO
        return _plainly(main, argv, EXPECTED)

    app.run(quiet_main, flags_parser=parse)


def _plainly(function, argv, expected: tuple, what: str = ""):
    try:
        return function(argv)
    except expected as error:
        if os.environ.get("ALIGN_JAX_TRACEBACK"):
            raise
        text = f"there is no such {what}: {error}" if what else str(error)
        sys.exit(f"error: {text}\n(ALIGN_JAX_TRACEBACK=1 shows where it comes from)")
