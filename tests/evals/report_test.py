import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from align_jax.evals import curves, page, report
from align_jax.evals.intervals import Interval
from align_jax.evals.mentions import Mention, mentions

OBJECTS = ("red circle", "blue triangle", "green rectangle")
VOID = {"meta", "img"}
FELL = report.Row("CHAIR_i", "Less is better.", Interval(0.4, 0.35, 0.45), Interval(0.1, 0.05, 0.15), "lower")


def answer(text):
    return report.Answer(text, mentions(text, OBJECTS))


def picture(before="a red circle", after="a red circle", truth=("red circle", "blue triangle")):
    image = np.random.default_rng(0).integers(256, size=(8, 6, 3), dtype=np.uint8)
    return report.Picture(image, truth, answer(before), answer(after))


def write(tmp_path, **given):
    path = tmp_path / "page.html"
    report.write(path, **{"title": "T", "summary": "S", **given})
    return path.read_text("utf-8")


class Reader(HTMLParser):
    """Checks that elements nest, and collects the text of marks by class, and of the whole page."""

    def __init__(self, page):
        super().__init__()
        self.open, self.marks, self.text = [], [], ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append((tag, dict(attributes).get("class")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, kind = self.open[-1] if self.open else ("", "")
        self.text += data if tag != "style" else ""
        if tag == "mark":
            self.marks.append((kind, data))


def test_hallucinated_mentions_are_marked_and_nothing_else_is(tmp_path):
    page = write(tmp_path, pictures=[picture("a red circle, a green rectangle, a circle", "a blue triangle,")])
    legend, marks = Reader(page).marks[:2], Reader(page).marks[2:]
    assert {kind for kind, _ in legend} == {"absent", "malformed"}
    assert marks == [("absent", "a green rectangle"), ("malformed", "a circle"), ("malformed", "(nothing)")]


def test_pieces_put_together_are_the_answer():
    shown = picture("a red circle ,a green rectangle, a dog")
    pieces = shown.pieces(shown.before)
    assert "".join(text for text, _ in pieces) == shown.before.text
    assert [p for p in pieces if p[1]] == [("a green rectangle", "absent"), ("a dog", "malformed")]


@pytest.mark.parametrize("spans", [[(0, 5), (3, 8)], [(5, 8), (0, 3)], [(0, 99)], [(4, 2)]])
def test_mentions_that_do_not_fit_the_text_are_refused(spans):
    shown = picture()
    with pytest.raises(ValueError, match="out of order or not within"):
        shown.pieces(report.Answer("a red circle", [Mention(*span, None) for span in spans]))


def test_missing_objects_are_listed(tmp_path):
    shown = picture("a green rectangle", "a blue triangle, a red circle")
    assert shown.missing(shown.before) == ["red circle", "blue triangle"]
    text = Reader(write(tmp_path, pictures=[shown])).text
    assert text.count("Missing: red circle, blue triangle") == 1
    assert text.count("nothing invented, nothing missing") == 1
    assert "(says nothing)" in write(tmp_path, pictures=[picture(" ")])


def test_text_from_outside_is_shown_as_text(tmp_path):
    evil = "<script>alert('1')</script>"
    row = dataclasses.replace(FELL, name=evil, explanation=evil, group=evil)
    given = dict(title=evil, summary=evil, facts={evil: evil}, notes=[evil], names=(evil, '" onload="x'))
    given |= dict(pictures=[picture(evil, f'a red circle, "{evil}', (evil,))], curves={evil: [{"step": 1, "loss": 1}]})
    page = write(tmp_path, rows=[row], **given)
    assert "<script" not in page and 'onload="' not in page
    assert Reader(page).text.count(evil) > 10


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    lines = [{"step": i, "loss": 1 / (i + 1), "rewards/chosen": i, "rewards/rejected": -i} for i in range(30)]
    page = write(tmp_path, rows=[FELL], curves={"SFT": lines, "DPO": lines}, pictures=[picture()])
    assert not re.search(r"https?:|//[a-z]|@import|<link|<script|url\((?!#)", page)
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', page))
    assert "default-src 'none'" in page
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 0  # clip paths of one figure must not be those of another


def test_the_picture_is_lossless(tmp_path):
    shown = picture()
    data = re.search(r'src="data:image/png;base64,([^"]*)', write(tmp_path, pictures=[shown]))[1]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), shown.image)
    with pytest.raises(ValueError, match="float64"):
        dataclasses.replace(shown, image=shown.image / 255)


def test_panels_are_those_that_there_are_numbers_for():
    lines = [{"step": 1, "loss": 2.0, "odd": 1.0}, {"step": 2, "rewards/accuracies": 0.5}, {"step": 3, "loss": np.nan}]
    panels = curves.plot("DPO", lines)
    assert list(panels) == ["Loss", "Pairs ranked as labelled"]
    assert "share of pairs" in panels["Pairs ranked as labelled"]
    svgs = "".join(panels.values())  # every colour became one of the page
    assert not any(color in svgs for color in page.COLORS.values()) and "var(--accent)" in svgs
    assert curves.plot("DPO", [{"step": 1}]) == curves.plot("DPO", []) == {}


def test_every_panel_is_explained(tmp_path):
    lines = [dict.fromkeys([key for _, keys, _ in curves.PANELS.values() for key in keys], 1.0) | {"step": 1}]
    page = write(tmp_path, curves={"DPO": lines})
    assert page.count("<svg") == len(curves.PANELS)
    assert not re.search(r"</b>\s*</figcaption>", page)


def test_an_empty_page_and_unmeasured_rows_are_written(tmp_path):
    assert Reader(write(tmp_path)).text.split() == ["T", "T", "S"]
    row = dataclasses.replace(FELL, before=None)
    assert row.compare() is None
    page = write(tmp_path, rows=[row, dataclasses.replace(FELL, after=Interval(np.nan, np.nan, np.nan))])
    assert Reader(page).text.count("not measured") == 2


@pytest.mark.parametrize(
    "after, better, change, verdict",
    [
        ((0.1, 0.05, 0.15), "lower", None, "▼ better"),
        ((0.1, 0.05, 0.15), "higher", None, "▼ worse"),
        ((0.9, 0.8, 1.0), None, None, "▲ higher"),
        ((0.3, 0.2, 0.36), "lower", None, "≈ no clear change"),  # the intervals overlap,
        ((0.3, 0.2, 0.36), "lower", (-0.1, -0.15, -0.05), "▼ better"),  # but the paired difference is not 0
        ((0.3, 0.2, 0.3), "lower", (-0.1, -0.21, 0.01), "≈ no clear change"),
        ((0.4, 0.35, 0.45), "lower", (0.0, 0.0, 0.0), "= unchanged"),
    ],
)
def test_verdicts_are_words_and_claim_no_more_than_the_intervals(tmp_path, after, better, change, verdict):
    change = change and Interval(*change)
    row = dataclasses.replace(FELL, after=Interval(*after), better=better, change=change)
    assert f"{row.compare().arrow} {row.compare().verdict}" == verdict
    assert verdict in Reader(write(tmp_path, rows=[row])).text


def test_changes_are_absolute_and_relative():
    assert FELL.compare().text.replace("\N{NO-BREAK SPACE}", " ") == "−30.0 points, −75 %"
    number = dataclasses.replace(FELL, before=Interval(0, 0, 0), after=Interval(2.5, 2, 3), unit="number")
    assert number.compare().text == "+2.50"  # relative to nothing


@pytest.mark.parametrize("wrong", [{"better": "up"}, {"unit": "%"}, {"change": Interval(0.3, 0.2, 0.4)}])
def test_rows_are_checked(wrong):
    with pytest.raises(ValueError, match="CHAIR_i"):
        dataclasses.replace(FELL, **wrong)


def test_the_terminal_shows_the_same_numbers():
    console = Console(width=80, file=io.StringIO())
    console.print(report.table([FELL, dataclasses.replace(FELL, name="[b]x", group="POPE")], ("SFT", "DPO")))
    text = console.file.getvalue().replace("\N{NO-BREAK SPACE}", " ")
    for part in ("SFT", "40.0 %", "35.0 to 45.0", "−30.0 points", "▼ better", "[b]x", "POPE"):
        assert part in text


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path):
    old = write(tmp_path)
    broken = dataclasses.replace(picture(), after=report.Answer("a", [Mention(0, 9, None)]))
    with pytest.raises(ValueError):
        write(tmp_path, pictures=[broken])
    assert (tmp_path / "page.html").read_text() == old
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_half_a_character_can_be_written(tmp_path):
    assert "&#55357;" in write(tmp_path, notes=["\ud83d"])


def test_the_page_is_the_same_from_run_to_run(tmp_path):
    lines = [{"step": i, "loss": 1.0 * i} for i in range(3)]
    assert write(tmp_path, curves={"SFT": lines}) == write(tmp_path, curves={"SFT": lines})
