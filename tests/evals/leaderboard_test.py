import base64
import hashlib
import io
import json
import re

import pytest
from rich.console import Console

from align_jax.evals import leaderboard, page, paired
from align_jax.evals import leaderboard_page as drawing
from align_jax.evals import leaderboard_text as words
from align_jax.evals.leaderboard import Point
from experiments import compare_report
from experiments.compare_jobs import Job
from tests.evals.report_test import Reader

GRID = {"learning_rate": (1e-4, 2e-4, 4e-4), "strength": (1.0, 5.0)}
EVIL = "<script>alert('1')</script> | nan\nat step 3"


def of_four(*hallucinated):
    """Pairs of CHAIR_i of pictures with four mentions each."""
    return [(list(map(float, hallucinated)), [4.0] * len(hallucinated))]


def run(*hallucinated, **ratios):
    drift = {"kl": 2.0, "chosen": -3.0, "rejected": -4.0}
    return {"ratios": {"chair_i": of_four(*hallucinated), **ratios}, "drift": drift, "seconds": 9.0}


def runs(*seeds, **ratios):
    return {seed: run(*hallucinated, **ratios) for seed, hallucinated in enumerate(seeds)}


def build(results, pictures=(2, 2), tuning=None, **given):
    before = {seed: run(*[4] * count)["ratios"] for seed, count in enumerate(pictures)}
    losses = {name: f"{name} loss" for name in results}
    return leaderboard.build(before, results, tuning=tuning or {}, losses=losses, grid=GRID, **given)


def entry(board, name):
    (found,) = [e for e in board.entries if e.name == name]
    return found


def show(board):
    console = Console(width=200, file=io.StringIO())
    console.print(words.table(board))
    return console.file.getvalue()


DPO = runs((2, 2), (2, 2))


@pytest.mark.parametrize(
    "seeds, verdict, interval",
    [
        # 1 of 4 against 2 of 4 on every picture: whichever are drawn, the difference is -1/4.
        (((1, 1), (1, 1)), "better", (-0.25, -0.25, -0.25)),
        (((3, 3), (3, 3)), "worse", (0.25, 0.25, 0.25)),
        # 3/8 - 4/8 on each seed; but one time in four the second picture is drawn twice, which gives 3/4 - 1/2.
        (((0, 3), (0, 3)), "no clear difference", (-0.125, -0.5, 0.25)),
        # 0 - 1/2 and 3/4 - 1/2: the mean, -1/8, is the same whichever are drawn, but seeds disagree.
        (((0, 0), (3, 3)), "no clear difference", (-0.125, -0.125, -0.125)),
        (((3, 3), (1.5, 1.5)), "no clear difference", (0.0625, 0.0625, 0.0625)),
        (
            ((1, 1), (2, 2)),
            "no clear difference",
            (-0.125, -0.125, -0.125),
        ),  # a seed without difference does not agree
        (((2, 2), (2, 2)), "no clear difference", (0, 0, 0)),
    ],
)
def test_a_verdict_asks_for_the_interval_and_for_every_seed(seeds, verdict, interval):
    found = entry(build({"dpo": DPO, "other": runs(*seeds)}), "other")
    gap = found.differences["chair_i"]
    assert (found.verdict, (gap.value, gap.low, gap.high)) == (verdict, pytest.approx(interval))


def test_the_difference_is_paired():
    # One fewer on each picture: -1/4 always, although 0 to 3/4 and 1/4 to 1 overlap.
    board = build({"dpo": runs((1, 4)), "other": runs((0, 3))}, pictures=(2,))
    ours, theirs = (entry(board, name).values["chair_i"] for name in ("other", "dpo"))
    assert ours.high > theirs.low
    assert entry(board, "other").verdict == "better"


def test_higher_is_better_where_it_is_and_what_a_method_pays_is_said():
    full, half = ([([4.0, 4.0], [4.0, 4.0])], [([2.0, 2.0], [4.0, 4.0])])
    results = {"dpo": runs((2, 2), (2, 2), recall=full), "terse": runs((1, 1), (1, 1), recall=half)}
    board = build(results)
    assert entry(board, "terse").differences["recall"].verdict == "worse"
    assert entry(board, "terse").verdict == "better"
    assert words.statements(board)[1] == "Of these, clearly worse than dpo in something else: terse (recall)."
    chair_i, recall, *_ = drawing.figure(board).axes  # a dot tells of its own column
    shapes = [{line.get_marker() for line in axes.lines} - {"None"} for axes in (chair_i, recall)]
    assert shapes == [{"s", "o", "D"}, {"s", "D"}]
    assert "better, but worse recall" in show(board)
    assert re.search(r"better: CHAIR_i \S+ \(.*?\), but worse recall", words.markdown(board))


def test_a_value_is_a_mean_over_seeds_whose_pictures_weigh_alike():
    # Shares 1/4 and 1/2; pooled over mentions it would be 1/3. Standard deviation: |1/2 - 1/4| / sqrt(2).
    results = {"a": runs((1, 1), ()) | {1: run() | {"ratios": {"chair_i": [([1.0, 1.0], [2.0, 2.0])]}}}}
    value = entry(build(results), "a").values["chair_i"]
    assert (value.mean, value.low, value.high) == pytest.approx((0.375, 0.375, 0.375))
    assert value.deviation == pytest.approx(0.25 / 2**0.5)
    assert value.seeds == {0: 0.25, 1: 0.5}
    assert entry(build({"a": runs((1, 1))}, pictures=(2,)), "a").values["chair_i"].deviation is None


def test_splits_of_a_seed_are_averaged():
    pairs = [([1.0, 1.0], [4.0, 4.0]), ([3.0, 3.0], [4.0, 4.0])]
    assert paired.mean_of_ratios(pairs) == 0.5
    assert (
        entry(build({"a": runs((1, 1), pope_accuracy=pairs)}, pictures=(2,)), "a").values["pope_accuracy"].mean == 0.5
    )


def test_seeds_may_differ_in_pictures_but_methods_may_not():
    results = {"dpo": runs((2, 2, 2), (2, 2)), "other": runs((1, 1, 1), (1, 1))}
    found = entry(build(results, (3, 2)), "other")
    assert found.values["chair_i"].mean == 0.25 and found.differences["chair_i"].value == -0.25
    with pytest.raises(ValueError, match="not the same seeds and pictures"):
        build(results | {"other": runs((1, 1), (1, 1, 1))}, (3, 2))
    with pytest.raises(ValueError, match="other has results of seeds"):
        build(results | {"other": runs((1, 1, 1))}, (3, 2))


def test_who_mentions_nothing_does_not_win():
    silent = {"chair_i": [([0.0, 0.0], [0.0, 0.0])]}
    board = build({"silent": {s: run() | {"ratios": silent} for s in (0, 1)}, "dpo": DPO})
    assert [e.name for e in board.methods] == ["dpo", "silent"]
    assert entry(board, "silent").verdict == "not compared"
    assert "undefined" in show(board)
    half = build({"silent": runs((1, 1), ()) | {1: run() | {"ratios": silent}}, "dpo": DPO})
    assert entry(half, "silent").values["chair_i"].mean is None and entry(half, "silent").verdict == "not compared"


def test_the_model_before_is_first_then_by_chair_then_what_failed():
    failed, good = {"failed": "nan"}, run(0, 0)
    results = {
        "all failed": {0: failed, 1: failed},
        "one failed": {0: good, 1: failed},
        "bad": runs((4, 4), (4, 4)),
        "dpo": DPO,
        "best": runs((1, 1), (0, 0)),
    }
    board = build(results)
    names = ["SFT (before)", "best", "dpo", "bad", "one failed", "all failed"]
    assert [e.name for e in board.entries] == names
    assert board.verdicts() == {"better": ["best"], "worse": ["bad"], "failed": ["one failed", "all failed"]}
    assert words.headline(board) == "1 of 4 methods beat plain dpo on CHAIR_i."
    assert words.statements(board) == [
        "Beat plain dpo on CHAIR_i: best.",
        "Do not beat plain dpo (worse): bad.",
        "Do not beat plain dpo (failed): one failed, all failed.",
    ]


def test_failed_seeds_are_told_and_what_is_left_is_not_compared():
    board = build({"dpo": DPO, "broken": {0: run(0, 0), 1: {"failed": "nan"}}})
    broken = entry(board, "broken")
    assert broken.differences == {} and broken.verdict == "failed" and broken.values["chair_i"].mean == 0
    assert "failed on seed 1: nan" in show(board) and "failed on seed 1: nan" in words.markdown(board)
    both = build({"dpo": DPO, "broken": {0: {"failed": "nan"}, 1: {"failed": "nan"}}})
    assert entry(both, "broken").trouble == "failed on seed 0, 1: nan"


@pytest.mark.parametrize("other", [{}, {"dpo": {0: run(0, 0), 1: {"failed": "nan"}}}])
def test_without_dpo_nothing_is_compared(other):
    board = build({"ipo": runs((1, 1), (1, 1)), **other})
    assert board.baseline is None and words.statements(board) == []
    assert "none compared" in words.headline(board) and "ipo's" in words.headline(board)
    assert "| against" not in words.markdown(board) and "less dpo" not in show(board)
    assert not any(e.differences for e in board.entries)


def test_the_text_tells_grid_edges_seeds_and_chance():
    inside, edge = (
        [Point(rate, scale, 0.5, chosen=(rate, scale) == at) for rate in (1e-4, 2e-4, 4e-4) for scale in (1, 5)]
        for at in ((2e-4, 1), (4e-4, 5))
    )
    plain = [Point(rate, 1.0, 0.5, chosen=rate == 2e-4) for rate in (1e-4, 2e-4, 4e-4)]
    board = build({"dpo": DPO, "nll": DPO, "kto": DPO}, tuning={"dpo": inside, "kto": edge, "nll": plain})
    assert [board.at_edge(entry(board, name)) for name in ("dpo", "kto", "nll")] == [True, True, False]
    assert words.settings(entry(board, "nll"), board) == ("0.0002", "none")
    assert words.settings(entry(board, "kto"), board) == ("0.0004", "× 5")
    said = " ".join(words.explanations(board))
    for part in (
        "Methods: 3; seeds: 2.",
        "learning rates 0.0001, 0.0002, 0.0004 times 1, 5 ×",
        "on a seed that is not reported",
        "for want of a strength: nll.",
        "2 of 3 lie there: dpo, kto.",
        "With 2 comparisons, about 0.1 such",
    ):
        assert part in said


def test_markdown_is_one_table_whatever_a_reason_says():
    board = build({"dpo": DPO, "broken": {0: {"failed": EVIL}, 1: {"failed": EVIL}}})
    lines = [line for line in words.markdown(board).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(board.entries)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<script" not in words.markdown(board)


def test_what_is_saved_is_all_that_is_shown():
    tuning = {"dpo": [Point(1e-4, 1.0, 0.5, chosen=True), Point(2e-4, 1.0, None, "nan")]}
    board = build(
        {"dpo": DPO, "x": {0: run(1, 1), 1: {"failed": "nan"}}}, tuning=tuning, facts={"a": "b"}, notes=["n"]
    )
    again = leaderboard.Board.from_json(board.to_json())
    assert again.entries == board.entries
    assert words.markdown(again) == words.markdown(board) and show(again) == show(board)


def test_what_is_not_finite_is_undefined_in_strict_json():
    wild = runs((1, 1), (1, 1))
    wild[0]["drift"]["kl"] = float("inf")
    board = build({"wild": wild})
    raw = json.loads(board.to_json(), parse_constant=pytest.fail)
    assert raw["entries"][1]["values"]["kl"]["mean"] is None


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files and console of a comparison of DPO, of a better method, and of one that failed."""
    folder = tmp_path_factory.mktemp("compare")

    def job(method, rate, scale):
        return Job(method, ({"name": method, "beta": 0.1 * scale},), {}, rate, {}, 100, "", "", False, scale)

    tuning = {
        method: [
            (job(method, rate, scale), {"ratios": {"f1": [([f1, f1], [4.0, 4.0])]}, "seconds": 60.0})
            for rate, scale, f1 in ((1e-4, 1.0, 1.0), (1e-4, 5.0, 3.0), (2e-4, 1.0, 2.0))
        ]
        for method in ("dpo", "good", "broken")
    }
    tuning["broken"].append((job("broken", 2e-4, 5.0), {"failed": EVIL}))
    failed = {seed: {"failed": EVIL, "settings": {}} for seed in (0, 1)}
    console = Console(width=200, file=io.StringIO())
    compare_report.write(
        folder,
        before={seed: {"ratios": run(4, 4)["ratios"], "captions": {}} for seed in (0, 1)},
        results={"dpo": DPO, "good": runs((1, 1), (1, 1)), "broken": failed},
        tuning=tuning,
        best={method: jobs[1][0] for method, jobs in tuning.items()},
        grid={"learning_rate": (1e-4, 2e-4), "strength": (1.0, 5.0)},
        seconds=3725.0,
        console=console,
    )
    return folder, console.file.getvalue()


def test_all_is_written_and_said(written):
    folder, console = written
    assert sorted(path.name for path in folder.iterdir()) == [
        "compare.html",
        "compare.json",
        "compare.md",
        "compare.png",
    ]
    assert (folder / "compare.png").read_bytes().startswith(b"\x89PNG")
    for text in (console, (folder / "compare.md").read_text(), Reader(html_of(folder)).text):
        assert "1 of 2 methods beat plain dpo" in text and "Do not beat plain dpo (failed): broken" in text
        assert "failed on seed 0, 1" in text and "1 h 2 min" in text
    # Six runs were trained to an end in tuning beside the broken method's three, and four for the table.
    assert "CPU time of training: 9 min 36 s" in (folder / "compare.md").read_text()


def html_of(folder):
    return (folder / "compare.html").read_text()


def test_the_tuned_point_is_marked(written):
    folder, _ = written
    raw = json.loads((folder / "compare.json").read_text())
    assert [e["name"] for e in raw["entries"]] == ["SFT (before)", "good", "dpo", "broken"]
    for found in raw["entries"][1:]:
        assert [(p["learning_rate"], p["scale"], p["f1"]) for p in found["tuning"] if p["chosen"]] == [(1e-4, 5, 0.75)]
    assert html_of(folder).count("75.0 ●") == 3
    assert "good (beta 0.5)" in html_of(folder)


def test_the_page_needs_nothing_from_elsewhere_and_runs_only_its_own_script(written):
    text = html_of(written[0])
    assert not re.search(r"https?:|[\"'(]//[a-z]|@import|<link|src=|url\((?!#)", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert "<script>alert" not in text and "alert('1')" in Reader(text).text
    drawn = text[text.index("<figure>") : text.index("</figure>")]
    assert not any(color in drawn for color in page.COLORS.values()) and "var(--accent)" in drawn
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))


def test_figures_tell_what_they_cannot_draw():
    silent = {s: run() | {"ratios": {"chair_i": [([0.0, 0.0], [0.0, 0.0])]}} for s in (0, 1)}
    failed = {s: {"failed": "nan"} for s in (0, 1)}
    alike = {f"alike {i}": runs((0, i / 10), (0, i / 10)) for i in range(9)}
    board = build({"dpo": runs((0, 0.4), (0, 0.4)), **alike, "silent": silent, "failed": failed})
    first = drawing.figure(board).axes[0]
    assert [text.get_text() for text in first.texts] == ["undefined", "failed"]  # the model before is drawn, at 100 %
    start = {seed: run(1, 1)["ratios"] for seed in (0, 1)}
    wild = leaderboard.build(start, {**alike, "wild": runs((4, 4), (4, 4))}, tuning={}, losses={}, grid=GRID)
    assert [text.get_text() for text in drawing.figure(wild).axes[0].texts] == ["100.0 →"]


def test_the_figure_on_the_page_is_text_and_the_same_from_run_to_run():
    board = build({"dpo": DPO})
    first, second = (page.svg(drawing.figure(board), salt="a") for _ in range(2))
    assert first == second and "CHAIR_i, %" in first
