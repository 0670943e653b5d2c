"""What the scripts have in common: errors that a user can act on are told in a line, without a traceback."""

import functools
import sys

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
        import os

        try:
            return main(argv)
        except EXPECTED as error:
            if os.environ.get("ALIGN_JAX_TRACEBACK"):
                raise
            sys.exit(f"error: {error}")

    return wrapped
