"""What the comparison of methods tells: compare.json, .md, .png and .html, and a table on the terminal."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from align_jax.evals import leaderboard, leaderboard_page, leaderboard_text, paired
from align_jax.evals.leaderboard import Point
from experiments.compare_jobs import Job

NOTES = (
    "The pictures are rendered shapes, not photographs, and the model has a million parameters: the order of the "
    "methods may be another one on other data.",
    "The preference data ask yes/no questions in POPE's words, so a part of POPE's gain is practice.",
    "Methods that read more than a pair (ranks, margins, labelled spans, other pictures) are given more than DPO is.",
)


def write(
    workdir: Path,
    *,
    before: Mapping[int, dict],
    results: Mapping[str, Mapping[int, dict]],
    tuning: Mapping[str, Sequence[tuple[Job, dict]]],
    best: Mapping[str, Job],
    grid: Mapping[str, Sequence[float]],
    seconds: float,
    console: Console,
) -> None:
    """Writes the four files into the workdir, and prints the table.

    Args:
      workdir: where to.
      before: seed -> measurement of the SFT model.
      results: method -> seed -> what `compare_jobs.run` returned.
      tuning: method -> jobs of the grid, with results.
      best: method -> the job of the grid whose settings were chosen.
      grid: values of "learning_rate" and "strength".
      seconds: wall time of all calls in the workdir together, tuning and what was cut off included.
      console: where the table goes.
    """
    tried = [result for jobs in tuning.values() for _, result in jobs]
    every = [*tried, *(result for runs in results.values() for result in runs.values())]
    cpu = sum(result.get("seconds", 0.0) for result in every)
    tuned_on = sorted({job.seed for jobs in tuning.values() for job, _ in jobs})
    board = leaderboard.build(
        {seed: found["ratios"] for seed, found in before.items()},
        results,
        tuning={name: [_point(job, result, best[name]) for job, result in jobs] for name, jobs in tuning.items()},
        losses={name: _objective(job) for name, job in best.items()},
        grid=grid,
        facts={
            "Methods": str(len(results)),
            "Seeds": f"{_listed(sorted(before))}; tuned on {_listed(tuned_on)}",
            "Grid": f"learning rates {_listed(grid['learning_rate'])}; "
            f"strengths {_listed(grid['strength'])} × that of the config",
            "Runs": f"{len(every)}, of which {len(tried)} for tuning",
            "Wall time": f"{_duration(seconds)} on {os.cpu_count()} CPU cores, over all calls: tuning and what was "
            "cut off included",
            "CPU time of training": f"{_duration(cpu)} over all runs that did not fail",
        },
        notes=NOTES,
    )
    leaderboard_page.write(workdir, board, name="compare", title="Methods for preference alignment, side by side")
    console.print(leaderboard_text.table(board))
    for said in (leaderboard_text.headline(board), *leaderboard_text.statements(board)):
        console.print(said, markup=False, highlight=False)
    console.print(f"report: {Path(workdir) / 'compare.html'}  ({_duration(seconds)})", soft_wrap=True)


def _point(job: Job, result: dict, best: Job) -> Point:
    f1 = None if "failed" in result else paired.mean_of_ratios(result["ratios"]["f1"])
    return Point(job.learning_rate, job.scale, f1, result.get("failed"), job is best)


def _objective(job: Job) -> str:
    """Its terms and views, such as "mdpo (beta 0.1) + chosen_nll (weight 0.5); corrupted: corrupt:blank"."""
    terms = []
    for term in job.loss:
        given = ", ".join(f"{key} {_short(value)}" for key, value in term.items() if key != "name")
        terms.append(f"{term['name']} ({given})" if given else term["name"])
    views = [f"{name}: {view['name']}" for name, view in job.views.items()]
    return "; ".join([" + ".join(terms), *views])


def _short(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(values) -> str:
    return ", ".join(f"{x:g}" for x in values)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
