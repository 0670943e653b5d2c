"""The README's tables of methods, from what the configs say of themselves.

    python experiments/method_table.py            # prints them
    python experiments/method_table.py --write    # puts them into README.md

A config that reproduces a method has a constant ABOUT (configs/common.py) beside its `get_config`.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict

import configs
from configs.common import About
from experiments import console

WRITE = flags.DEFINE_bool("write", False, "Replace what README.md has between its marks.")
README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- methods: python experiments/method_table.py --write -->\n", "<!-- /methods -->\n"


class Method(NamedTuple):
    """A config that reproduces something."""

    name: str  # of its file
    about: About
    config: ConfigDict


def methods() -> list[Method]:
    """All configs that say what they are, in the order of the survey's sections and then of names."""
    found = []
    for info in pkgutil.iter_modules(configs.__path__):
        module = importlib.import_module(f"configs.{info.name}")
        about = getattr(module, "ABOUT", None)
        if about is not None:
            found.append(Method(info.name, about, module.get_config()))
    return sorted(found, key=lambda method: (method.about.survey, method.about.system.lower()))


def tables() -> str:
    """Two tables in Markdown: what the survey lists, and what it does not."""
    known = methods()
    survey = [_cells(method, method.about.survey) for method in known if method.about.survey]
    beyond = [_cells(method) for method in known if not method.about.survey]
    columns = ("objective", "sees or hears", "a record has", "config", "paper")
    parts = (
        *_table(("system", "survey", *columns), survey),
        "",
        "Beyond the survey:",
        "",
        *_table(("method", *columns), beyond),
    )
    return "\n".join(parts) + "\n"


def written(readme: str, tables: str) -> str:
    """The README with these tables between its marks.

    Raises:
      ValueError: it does not have each mark once.
    """
    if readme.count(START) != 1 or readme.count(END) != 1:
        raise ValueError(f"the README must have {START.strip()} and {END.strip()} once each")
    before, rest = readme.split(START)
    return f"{before}{START}\n{tables}\n{END}{rest.split(END)[1]}"


def _cells(method: Method, *section: str) -> tuple[str, ...]:
    about, config = method.about, method.config
    objective = objective_of(config.loss, config.data.views)
    file = f"[{method.name}.py](configs/{method.name}.py)"
    return (about.system, *section, objective, about.modality, about.data, file, link(about.paper))


def objective_of(terms: Sequence[Mapping], views: Mapping[str, Mapping]) -> str:
    """Such as "`dpo` + 0.5 `chosen_nll`", with the pictures that are made for it."""
    found = [(float(term.get("weight", 1.0)), term["name"]) for term in terms]
    total = " + ".join(f"`{name}`" if weight == 1 else f"{weight:g} `{name}`" for weight, name in found)
    made = [f"{view} by `{how['name'].split(':')[-1]}`" for view, how in views.items()]
    return "; ".join([total, *made])


def link(paper: str) -> str:
    """A paper in Markdown: its arXiv number or address as a link, else its title."""
    if re.fullmatch(r"\d{4}\.\d{5}", paper):
        return f"[{paper}](https://arxiv.org/abs/{paper})"
    return f"[{paper.split('/')[2].removesuffix('.net')}]({paper})" if paper.startswith("https://") else paper


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |")


def main(_):
    made = tables()
    if WRITE.value:
        README.write_text(written(README.read_text(encoding="utf-8"), made), encoding="utf-8")
    else:
        print(made, end="")


if __name__ == "__main__":
    console.start(main)
