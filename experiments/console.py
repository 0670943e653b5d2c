"""What the scripts have in common: little talk, and errors that a user can act on without a traceback."""

import functools
import os
import sys

from absl import logging

from align_jax.data.media import MediaError
from align_jax.data.records import RecordError
from align_jax.data.rejects import TooManyRejects

EXPECTED = (ValueError, FileNotFoundError, RecordError, MediaError, TooManyRejects, FloatingPointError)


def plain_errors(main):
    """Decorator of a script's main: expected errors end it with their message and status 1.

    Set ALIGN_JAX_TRACEBACK=1 in the environment to see where they come from.
    """

    @functools.wraps(main)
    def wrapped(argv):
        if not any("verbosity" in arg for arg in sys.argv):
            logging.set_verbosity(logging.WARNING)  # Orbax and TFDS tell every step at INFO
        try:
            return main(argv)
        except EXPECTED as error:
            if os.environ.get("ALIGN_JAX_TRACEBACK"):
                raise
            sys.exit(f"error: {error}\n(ALIGN_JAX_TRACEBACK=1 shows where it comes from)")

    return wrapped
