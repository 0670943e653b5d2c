"""Where records come from. A source is an entry `name(*, ...)` of `name.py` that returns a `records.Source`."""

from align_jax import registry
from align_jax.data.records import Source


def build(name: str, **hyper) -> Source:
    """The source called `name`: a file of this folder, or a dotted module of your own.

    Raises:
      ValueError: unknown name or hyper-parameter, or a file that is no data set of this kind.
      FileNotFoundError: the data are not there.
    """
    return registry.build("align_jax.data.sources", name, **hyper)()
