"""What pages have in common: colours, figures as a part of a page, and how a page is filled in and written.

How they look: page.html.jinja, which the template of each page extends. A page is one file that asks for nothing over
a network, so that it can be mailed and kept with the run.
"""

import base64
import hashlib
import io
import os
import re
from pathlib import Path

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

# Of the light style; figures are drawn in them. Each is its own, so that `svg` can tell them apart.
COLORS = {
    "--paper": "#ffffff", "--wash": "#f6f6f4", "--ink": "#1b1c1e", "--muted": "#63676e", "--line": "#dfdfdb",
    "--accent": "#1c5bb8", "--good": "#08695f", "--bad": "#b0361a", "--bad-wash": "#fdeae4",
}  # fmt: skip
PAPER, WASH, INK, MUTED, LINE, ACCENT, GOOD, BAD, BAD_WASH = COLORS.values()
# Of matplotlib.
STYLE = {
    **{"font.size": 8, "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False},
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), MUTED),
}


def svg(figure: Figure, salt: str) -> Markup:
    """A figure as a part of a page: its colours become what the page's light or dark style says.

    Args:
      figure: drawn in `COLORS`.
      salt: differs between the figures of a page, whose ids would be the same if their contents were. It also keeps
        ids the same from run to run.
    """
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(STYLE | {"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer := io.StringIO(), format="svg", transparent=True, metadata=metadata)
    # As a part of HTML it needs no XML header and no namespaces; the ids of groups would repeat in every figure.
    text = buffer.getvalue()
    text = re.sub(r' xmlns[:\w]*="[^"]*"|(?<=<g) id="[^"]*"', "", text[text.index("<svg") :])
    for name, color in COLORS.items():
        text = text.replace(color, f"var({name})")
    return Markup(text)


def render(template: str, **given) -> str:
    """Fills in a template of this folder."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, loader=loader, trim_blocks=True)
    env.filters["digest"] = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return env.get_template(template).render(given, colors=COLORS)


def save(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a file and makes its folders. An older file stays until the new one is complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    # A tokenizer may cut a character in half.
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "xmlcharrefreplace"))
    temporary.replace(path)
