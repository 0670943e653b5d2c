"""Every config: what it says of itself holds, and it trains. A new file in configs/ is found without being named."""

import importlib
import io
import json
import pkgutil
import typing
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from PIL import Image

import configs
from align_jax import build, registry, run, sharding
from align_jax.losses import Objective
from align_jax.losses.texts import PairsAndTextsBatch
from align_jax.train import log
from configs import common
from experiments import method_table
from tests import contrastive
from tests.published_run_test import checkpoint

SURVEY = """silkie sima clip_dpo rlaif_v ct_gpt mavis emmoe xgen_mm llava_next_interleave llava_critic squba ppllava
hdpo symdpo interactivecot rlhf_v mhal_detect ha_dpo mia_dpo chip vvlm adpo phantom video_salmonn2
contrastive_po dama mdpo mpo mm_rlhf opa_dpo re_align pds_dpo qwen2_5_vl omnialign_v vlguard
align_anything""".split()
MODELS = {  # by modality
    "image": "llava",
    "text": "llava",
    "multi-image": "llava_onevision",
    "video": "llava_onevision",
    "audio-video": "llava_onevision",
    "audio": "qwen2_audio",
}
MODULES = {
    info.name: importlib.import_module(f"configs.{info.name}") for info in pkgutil.iter_modules(configs.__path__)
}
CONFIGS = {name: module.get_config() for name, module in MODULES.items() if hasattr(module, "get_config")}
TRAINED = [name for name, config in CONFIGS.items() if "loss" in config]
METHODS = {method.name: method for method in method_table.methods()}


def test_the_tables_of_the_readme_are_those_of_the_configs():
    readme = method_table.README.read_text(encoding="utf-8")
    assert readme == method_table.written(readme, method_table.tables()), (
        "run the command that the README's mark names"
    )


def test_every_system_of_the_survey_has_a_config():
    assert {name for name, method in METHODS.items() if method.about.survey} == set(SURVEY)


@pytest.mark.parametrize("name", TRAINED)
def test_it_builds(name):
    config = CONFIGS[name]
    objective = Objective.build(config.loss)
    views = build.views(config)
    assert set(views) <= set(objective.batch.reads.views), "a picture is made that nothing reads"
    assert config.reference == ("frozen" if objective.needs_reference else "none")
    assert f"--config=configs/{name}.py" in MODULES[name].__doc__


@pytest.mark.parametrize("name", METHODS)
def test_it_says_where_its_numbers_come_from(name):
    _, about, config = METHODS[name]
    assert set(about.sources.values()) <= set(common.WHERE)
    objective = Objective.build(config.loss)
    hyper = {
        f"{term}.{key}"
        for term, loss in zip(objective.names, objective.losses, strict=True)
        for key in ("weight", *registry.hyper_parameters(loss))
    }
    unknown = [key for key in about.sources if key not in hyper and not has(config, key)]
    assert not unknown, "neither a setting nor a hyper-parameter"
    needed = {f"{term['name']}.{key}" for term in config.loss for key in term if key != "name"}
    needed |= {"steps", "batch_size", "optimizer.learning_rate"}
    assert not needed - set(about.sources), "it does not say where these come from"


def has(config: typing.Mapping, key: str) -> bool:
    first, _, rest = key.partition(".")
    return first in config and (not rest or has(config[first], rest))


def test_what_a_record_needs_is_what_the_loss_reads():
    for name, about, config in METHODS.values():
        reads = Objective.build(config.loss).batch.reads
        own = {"chosen", "rejected"}
        needs = {n if n in own else f"answers.{n}" for n in reads.completions} | set(reads.numbers)
        needs |= {f"views.{view}" for view in set(reads.views) - set(config.data.views)}
        needs |= {f"spans.{answer}" for answer in reads.spans} | ({"ranked"} if reads.ranked else set())
        missing = [need for need in needs if need not in about.data]
        assert not missing, f"{name}: {about.data}"


@pytest.fixture(autouse=True, scope="module")
def hasty():
    """What runs for two steps need not run fast: compiling takes two thirds of the time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("configs")


@pytest.fixture(scope="module")
def start(folder):
    """Model type -> folder of a tiny checkpoint, made when it is first asked for."""
    made = {}

    def of(model_type: str) -> Path:
        if model_type not in made:
            make = contrastive.checkpoint if model_type == "clip" else lambda f: checkpoint(f, model_type)
            made[model_type] = make(folder / "models" / model_type)
        return made[model_type]

    return of


@pytest.fixture(scope="module")
def rows(folder):
    """Modality -> eight records that have all that any method reads."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    for i in range(8):
        Image.fromarray(rng.integers(0, 255, (28, 28, 3), np.uint8)).save(folder / "data" / f"{i}.png")
        sound = io.BytesIO()
        soundfile.write(sound, rng.normal(size=4000) / 9, 16000, format="WAV")
        (folder / "data" / f"{i}.wav").write_bytes(sound.getvalue())
    media = {
        "image": lambda i: {"images": [f"{i}.png"]},
        "text": lambda i: {},
        "multi-image": lambda i: {"images": [f"{i}.png", f"{(i + 1) % 8}.png"]},
        "video": lambda i: {"videos": [[f"{i}.png", f"{(i + 1) % 8}.png"]]},
        "audio": lambda i: {"sounds": [f"{i}.wav"]},
    }
    media["audio-video"] = media["video"]
    return {modality: [row(i, of(i)) for i in range(8)] for modality, of in media.items()}


def row(i: int, media: dict) -> dict:
    texts = ["a red circle", "a table", "a cat", "a blue triangle"]
    chosen, rejected, third, fourth = (texts[(i + k) % 4] for k in range(4))
    first = {"start": 0, "end": 1}
    return media | {
        "id": str(i),
        "prompt": "What is it?",
        "chosen": f"{chosen} and {third}",
        "rejected": f"{rejected} and {third}",
        "answers": {"revised": f"{fourth} and {third}", "truth": fourth, "other_chosen": third},
        "ranked": [chosen, third, fourth, rejected][: 2 + i % 3],
        "scores": [0.9, 0.7, 0.4, 0.1][: 2 + i % 3],
        "views": {name: [f"{(i + 3) % 8}.png"] for name in ("corrupted", "other")},
        "spans": {
            "chosen": [first | {"label": "accurate"}, {"start": 2, "end": 6, "label": "inaccurate"}],
            "rejected": [first | {"label": 1.5}, {"start": 2, "end": 6, "label": 2.5}],
            "revised": [first | {"label": "image_recognition_error"}, {"start": 2, "end": 6, "label": 2.0}],
        },
        "margin": 0.3 + i,
        "clip_gap": 0.01 * i,
        "relevance": 0.1 + 0.1 * i,
        "rejected_score": 0.5 + 0.1 * i,
    }


def plain(row: dict) -> dict:
    """A text without a preference."""
    return {key: row[key] for key in ("id", "prompt", "images", "chosen")}


def tiny(name: str, start: typing.Callable, rows: dict, folder: Path):
    """The config, of a model and data that fit it. What is compiled shall depend on the objective alone."""
    config = MODULES[name].get_config()
    modality = METHODS[name].about.modality if name in METHODS else "image"
    if name == "contrastive_po":
        data, model_type = contrastive.write(folder / "attacked"), "clip"
        config.data.completion_length = contrastive.CONTEXT - 1
    else:
        texts = issubclass(Objective.build(config.loss).batch, PairsAndTextsBatch)
        data, model_type = folder / "data" / f"{modality}{texts}.jsonl", MODELS[modality]
        found = [plain(r) if texts and i % 3 == 1 else r for i, r in enumerate(rows[modality])]
        data.write_text("\n".join(map(json.dumps, found)))
        config.data.update(prompt_length=96, completion_length=24)
    config.data.source = dict(name="jsonl", path=str(data))
    config.data.max_reject_fraction = 0.0
    config.update(steps=2, batch_size=4, log_every=1, init_from=str(start(model_type)))
    config.optimizer.update(
        learning_rate=1e-3, warmup=0.0, schedule="constant", weight_decay=0.0, b2=0.999, clip_norm=1.0
    )
    config.compute.update(dtype="float32", param_dtype="float32", remat=False)
    return config


@pytest.mark.parametrize("name", TRAINED)
def test_it_trains(name, start, rows, folder, monkeypatch):
    monkeypatch.setattr(build, "mesh", lambda config: sharding.one_device())
    run.train(tiny(name, start, rows, folder), folder / "runs" / name)
    lines = log.read(folder / "runs" / name / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert all(
        np.isfinite(line["loss"]) and np.isfinite(line["grad_norm"]) and line["grad_norm"] > 0 for line in lines
    )
