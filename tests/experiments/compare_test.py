"""The parts of the comparison that need no hour: settings, choices, and what becomes of a run that fails."""

import json

import pytest
from rich.console import Console

from align_jax import registry
from align_jax.losses import Objective
from configs import compare as config
from experiments import compare, compare_jobs

METHODS = config.get_config().methods.to_dict()


def job(tmp_path, name="dpo", point=(1e-4, 5.0), final=False):
    return compare.make_job(METHODS[name], name, point, {}, 7, str(tmp_path), final)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_builds_and_its_strength_is_one_of_its_settings(name):
    method = METHODS[name]
    objective = Objective.build(method["loss"])
    given = set(method["views"])
    assert set(objective.batch.reads.views) <= given, "the pairs of the quickstart have no pictures but their own"
    for view in method["views"].values():
        registry.build("align_jax.preferences", **view)
    assert not method["strength"] or method["strength"] in method["loss"][0]


def test_the_grid_is_of_learning_rates_and_multiples_of_the_methods_strength():
    axes = config.get_config().grid
    assert compare.grid(METHODS["dpo"], axes) == [(1e-4, 1.0), (1e-4, 5.0), (4e-4, 1.0), (4e-4, 5.0)]
    assert compare.grid(METHODS["sft_on_chosen"], axes) == [(1e-4, 1.0), (4e-4, 1.0)]


def test_all_terms_of_a_mixture_are_scaled_alike_and_nothing_else(tmp_path):
    dpo, bco, nll = job(tmp_path, "mpo").loss
    assert dpo["beta"] == bco["beta"] == 0.5 and (dpo["weight"], bco["weight"], nll["weight"]) == (0.8, 0.2, 1.0)
    assert METHODS["mpo"]["loss"][0]["beta"] == 0.1, "the method itself stays as it is"


def test_settings_have_folders_of_their_own(tmp_path):
    names = {job(tmp_path, point=point, final=f).name for point in [(1e-4, 1.0), (4e-4, 1.0)] for f in (True, False)}
    assert names == {"dpo", "tuning/dpo/0.0001_1", "tuning/dpo/0.0004_1"}


def test_what_hallucinates_less_and_omits_less_is_chosen():
    result = lambda right, said, there: {"ratios": {"f1": [[[2 * right], [said + there]]]}}  # noqa: E731
    assert compare.f1(result(2, 4, 4)) == 0.5
    assert compare.f1(result(2, 2, 4)) > compare.f1(result(2, 4, 4)), "fewer hallucinations"
    assert compare.f1(result(3, 4, 4)) > compare.f1(result(2, 4, 4)), "fewer omissions"
    assert compare.f1({"failed": "the loss is nan"}) < compare.f1(result(0, 1, 1))


@pytest.mark.parametrize(("error", "kept"), [(FloatingPointError("loss is nan"), True), (KeyError("beta"), False)])
def test_a_run_that_fails_says_why_and_is_tried_again_unless_it_diverged(tmp_path, monkeypatch, error, kept):
    def fail(job, console):
        raise error

    monkeypatch.setattr(compare_jobs, "_run", fail)
    failed = compare_jobs.run(job(tmp_path))
    assert str(error) in failed["failed"] and job(tmp_path).result.exists() == kept


def test_a_result_that_is_there_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(compare_jobs, "_run", lambda job, console: {"ratios": {}, "seconds": 1.0})
    first = compare_jobs.run(job(tmp_path))
    assert json.loads(job(tmp_path).result.read_text()) == json.loads(json.dumps(first))
    monkeypatch.setattr(compare_jobs, "_run", None)
    assert compare_jobs.run(job(tmp_path))["seconds"] == 1.0


def test_a_result_of_other_settings_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(compare_jobs, "_run", lambda job, console: {"seconds": job.learning_rate})
    for rate in (1e-4, 4e-4):  # another grid has another best point
        done = compare_jobs.run(job(tmp_path, point=(rate, 1.0), final=True))
        assert done["seconds"] == done["settings"]["learning_rate"] == rate


def test_results_of_two_budgets_are_not_mixed(tmp_path):
    compare.check_budget(tmp_path, {"steps": 110})
    compare.check_budget(tmp_path, {"steps": 110})
    with pytest.raises(ValueError, match="another budget"):
        compare.check_budget(tmp_path, {"steps": 200})


def test_wall_time_adds_up_over_calls(tmp_path):
    (tmp_path / "seconds.txt").write_text("100.0\n")
    assert 100 <= compare.Clock(tmp_path).seconds() < 101


def test_progress_says_how_far_it_is_and_what_failed(tmp_path):
    class Pool:
        def submit(self, function, *call):
            from concurrent.futures import Future

            future = Future()
            future.set_result(function(*call))
            return future

    console = Console(record=True, width=200)
    calls = [(job(tmp_path),), (job(tmp_path, "ipo"),)]
    run = lambda job: {"failed": "why"} if job.method == "ipo" else {"ratios": {}}  # noqa: E731
    done = list(compare.finished(Pool(), run, calls, "tuning", compare.Clock(tmp_path), console))
    text = console.export_text()
    assert len(done) == 2 and "tuning 2/2" in text and "tuning/ipo/0.0001_5, seed 7 failed: why" in text
