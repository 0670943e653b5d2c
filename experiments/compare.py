"""Methods side by side: same SFT model, same pairs, same budget, several seeds, each tuned over the same small grid.

    python experiments/compare.py --workdir=runs/compare
    python experiments/compare.py --workdir=runs/compare --methods=dpo,ipo,mdpo --seeds=0,1

Writes compare.json, compare.html, compare.png and compare.md. What is done is kept: run again, it goes on, and a
longer list of methods or seeds adds to what is there. Methods stand in configs/compare.py; one of your own is one more
entry.
"""

import concurrent.futures
import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags
from rich.console import Console

from experiments import compare_jobs, compare_report
from experiments import console as script
from experiments.compare_jobs import Job

WORKDIR = flags.DEFINE_string("workdir", "runs/compare", "Where everything goes.")
METHODS = flags.DEFINE_list("methods", [], "Names of config.methods; all of them if empty.")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds that are reported.")
TUNING_SEED = flags.DEFINE_integer("tuning_seed", 100, "Seed that learning rate and strength are tuned on.")
JOBS = flags.DEFINE_integer("jobs", 2, "Processes at a time, which share the cores; 1 on an accelerator.")
CONFIG = config_flags.DEFINE_config_file("config", "configs/compare.py", "Methods, budget and grid.")
STAGES = config_flags.DEFINE_config_file("stages", "configs/quickstart.py", "What comes before alignment.")


def main(_):
    console, workdir, config = Console(), Path(WORKDIR.value).absolute(), CONFIG.value
    methods = config.methods.to_dict()
    if unknown := sorted(set(METHODS.value) - set(methods)):
        raise ValueError(f"no method is called {', '.join(unknown)}; there are: {', '.join(methods)}")
    names, seeds = METHODS.value or list(methods), list(map(int, SEEDS.value))
    if TUNING_SEED.value in seeds:
        raise ValueError(f"seed {TUNING_SEED.value} is for tuning: report others")
    clock, train = Clock(workdir), config.train.to_dict()
    check_budget(workdir, train)
    with workers(workdir) as pool:
        folders = {seed: str(workdir / f"seed{seed}") for seed in (TUNING_SEED.value, *seeds)}
        stages = [(folder, seed, STAGES.value.to_dict()) for seed, folder in folders.items()]
        for _ in finished(pool, compare_jobs.prepare, stages, "seeds", clock, console):
            pass
        tuning = {
            name: [
                make_job(methods[name], name, point, train, TUNING_SEED.value, folders[TUNING_SEED.value], final=False)
                for point in grid(methods[name], config.grid)
            ]
            for name in names
        }
        jobs = [(job,) for jobs in tuning.values() for job in jobs]
        tried = {job: result for (job,), result in finished(pool, compare_jobs.run, jobs, "tuning", clock, console)}
        best = {name: max(jobs, key=lambda job: f1(tried[job])) for name, jobs in tuning.items()}
        final = [
            (make_job(methods[name], name, point_of(best[name]), train, seed, folders[seed], final=True),)
            for seed, name in itertools.product(seeds, names)
        ]
        results = {
            job: result for (job,), result in finished(pool, compare_jobs.run, final, "methods", clock, console)
        }
    compare_report.write(
        workdir,
        before={seed: json.loads((Path(folders[seed]) / "sft" / "measurement.json").read_text()) for seed in seeds},
        results={name: {job.seed: r for job, r in results.items() if job.method == name} for name in names},
        tuning={name: [(job, tried[job]) for job in jobs] for name, jobs in tuning.items()},
        best=best,
        grid=config.grid.to_dict(),
        seconds=clock.seconds(),
        console=console,
    )


def check_budget(workdir: Path, train: dict) -> None:
    """Raises ValueError if the workdir holds results of another budget; notes it in a new one."""
    path, budget = workdir / "budget.json", json.loads(json.dumps(train))
    if path.exists() and json.loads(path.read_text()) != budget:
        raise ValueError(f"{workdir} was made with another budget (config.train): choose another workdir")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(budget, indent=2))


class Clock:
    """Wall time over all runs in a workdir, those that were cut off included."""

    def __init__(self, workdir: Path):
        self.path, self.start = workdir / "seconds.txt", time.perf_counter()
        self.before = float(self.path.read_text()) if self.path.exists() else 0.0

    def seconds(self) -> float:
        seconds = self.before + time.perf_counter() - self.start
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f"{seconds:.1f}\n")
        return seconds


def grid(method: dict, axes) -> list[tuple[float, float]]:
    """Learning rates, and multiples of the method's own strength."""
    return list(itertools.product(axes.learning_rate, axes.strength if method["strength"] else (1.0,)))


def make_job(
    method: dict, name: str, point: tuple[float, float], train: dict, seed: int, folder: str, final: bool
) -> Job:
    """A method at a point of the grid. Every term that has the tuned hyper-parameter is scaled alike."""
    rate, scale = point
    key = method["strength"]
    loss = tuple({k: v * scale if k == key else v for k, v in term.items()} for term in method["loss"])
    own = name if final else f"tuning/{name}/{rate:g}_{scale:g}"
    return Job(name, loss, method["views"], rate, train, seed, folder, own, final, scale)


def point_of(job: Job) -> tuple[float, float]:
    return job.learning_rate, job.scale


def f1(result: dict) -> float:
    """What settings are chosen by: F1 of mentioned objects, for it falls with hallucination and with omission."""
    if "failed" in result:
        return -1.0
    ((top, bottom),) = result["ratios"]["f1"]
    return sum(top) / max(sum(bottom), 1)


def workers(workdir: Path) -> concurrent.futures.ProcessPoolExecutor:
    """Processes that share the cores evenly."""
    context = multiprocessing.get_context("spawn")
    every = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    cores = [set(every[i :: JOBS.value]) or set(every) for i in range(JOBS.value)]
    return concurrent.futures.ProcessPoolExecutor(
        JOBS.value,
        mp_context=context,
        initializer=compare_jobs.start_worker,
        initargs=(cores, context.Value("i", 0), str(workdir / "compiled")),
    )


def finished(
    pool, function: Callable, calls: Sequence[tuple], title: str, clock: Clock, console: Console
) -> Iterator[tuple]:
    """Yields arguments and results as they are done, and says how far it is."""
    waiting = {pool.submit(function, *call): call for call in calls}
    start = time.perf_counter()
    for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
        spent = time.perf_counter() - start
        left = spent / done * (len(calls) - done)
        call, result = waiting[future], future.result()
        what = f"{call[0].name}, seed {call[0].seed}" if isinstance(call[0], Job) else call[0]
        console.print(f"{title} {done}/{len(calls)}  {spent:.0f} s, {left:.0f} s left  {what}", soft_wrap=True)
        if isinstance(result, dict) and "failed" in result:
            console.print(f"  {what} failed: {result['failed']}", style="red", soft_wrap=True)
        yield call, result


if __name__ == "__main__":
    script.start(main)
