"""From a name in a config to a function: by import path, so that a new file needs no edit anywhere.

`"dpo"` is the function `dpo` of `align_jax/<package>/dpo.py`; `"corrupt:random_crop"` is the function `random_crop` of
`corrupt.py`. A name with a dot is a module of your own, from anywhere on the Python path: `"my_lab.losses.my_dpo"`.
"""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any


def entry(**facts: Any) -> Callable[[Callable], Callable]:
    """Decorator: makes a function buildable by name and records facts about it, as `function.facts`."""

    def mark(function: Callable) -> Callable:
        function.facts = facts
        return function

    return mark


def find(package: str, name: str) -> Callable:
    """The entry called `name`.

    Raises:
      ValueError: no such module or function, or it is not marked with `entry`; lists what there is.
    """
    module_name, _, function_name = name.partition(":")
    path = module_name if "." in module_name else f"{package}.{module_name}"
    function_name = function_name or path.rpartition(".")[2]
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not path.startswith(error.name or ""):  # the module exists, but something that it imports does not
            raise
        raise ValueError(f"nothing is called {name!r} in {package}; there are: {', '.join(names(package))}") from None
    function = getattr(module, function_name, None)
    if not hasattr(function, "facts"):
        raise ValueError(f"{path} has no function {function_name!r} that is marked with @entry")
    return function


def build(package: str, name: str, **hyper: Any) -> Callable:
    """The entry called `name` with its keyword-only hyper-parameters bound; keeps `.facts`.

    Raises:
      ValueError: unknown name, unknown hyper-parameter (lists the known ones), or a required one is missing.
    """
    function = find(package, name)
    known = {p.name: p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    if unknown := sorted(set(hyper) - set(known)):
        raise ValueError(f"{name!r} does not take {', '.join(unknown)}; it takes: {', '.join(known) or 'nothing'}")
    if missing := [k for k, p in known.items() if p.default is p.empty and k not in hyper]:
        raise ValueError(f"{name!r} needs a value for: {', '.join(missing)}")
    built = functools.partial(function, **hyper)
    built.facts = function.facts
    return built


def hyper_parameters(built: Callable) -> dict[str, Any]:
    """All hyper-parameters of what `build` returned, those left at their defaults included."""
    parameters = inspect.signature(built).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def names(package: str) -> list[str]:
    """Names of all modules of `package` that hold an entry of their own name."""
    path = importlib.import_module(package).__path__
    modules = [info.name for info in pkgutil.iter_modules(path)]
    return [m for m in modules if hasattr(getattr(importlib.import_module(f"{package}.{m}"), m, None), "facts")]
