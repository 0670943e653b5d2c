"""Twenty steps of DPO on a LLaVA against TRL's DPOTrainer: each side with all of its code, from pixels to AdamW."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers

from align_jax import build, run
from align_jax.data.records import Record
from align_jax.data.stream import Shard
from align_jax.models import architecture, mllm, pretrained
from align_jax.models.peft import module_name
from align_jax.train import log, optimizer
from align_jax.types import PreferenceBatch
from tests import pairs
from tests.published import make_inputs

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

STEPS, ROWS, BETA, RATE, DECAY = 20, 8, 0.1, 5e-4, 0.5
QUESTIONS = ("describe the image.", "What is it?", "Is there a cat on the table, please?")
COMPARED = ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "grad_norm")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Pairs about one picture, two or none, with prompts of several lengths."""
    path = pairs.write(tmp_path_factory.mktemp("data"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for i, row in enumerate(rows):
        row |= {"prompt": QUESTIONS[i % 3], "images": [f"{i}.png", f"{i - 1}.png"][: (1, 2, 1, 0)[i % 4]]}
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A LLaVA with noise on every parameter: fresh norms and biases would hide what is done with them."""
    folder = tmp_path_factory.mktemp("llava")
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(make_inputs(folder, "llava"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def alone(monkeypatch):
    """One thread, since those of tiny matrices only wait for each other; and TRL tells its makers nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("CI", "true")
    yield
    torch.set_num_threads(threads)


def config(data: Path, checkpoint: Path):
    settings = pairs.config(data, init_from=str(checkpoint))
    settings.update(steps=STEPS, batch_size=ROWS, loss=(dict(name="dpo", beta=BETA),))
    settings.data.update(prompt_length=96, completion_length=48)
    settings.optimizer.update(learning_rate=RATE, schedule="constant", warmup=0.0, weight_decay=DECAY, clip_norm=1.0)
    settings.checkpoint.save_every = STEPS
    return settings


def their_trainer(checkpoint: Path, records: list[Record], out: Path):
    model, reference = (transformers.LlavaForConditionalGeneration.from_pretrained(checkpoint) for _ in range(2))
    arguments = trl.DPOConfig(
        output_dir=str(out),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,  # else it might cut placeholders of pictures off
        beta=BETA,
        max_steps=STEPS,
        per_device_train_batch_size=ROWS,
        train_sampling_strategy="sequential",
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=DECAY,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    data, processor = their_dataset(records), their_processor(checkpoint, model.config)
    return trl.DPOTrainer(model, reference, arguments, train_dataset=data, processing_class=processor)


def their_dataset(records: list[Record]):
    """Plain text with its special tokens written out, as Vicuna was trained with them.

    As a conversation, it would lack both: LLaVA's chat template writes neither <s> nor </s> (it ends an answer with a
    space), and TRL's collator has the tokenizer add none.
    """
    rows = [
        {
            "prompt": "<s>USER: " + "<image>\n" * len(record.images) + f"{record.prompt} ASSISTANT:",
            "chosen": f" {record.chosen}</s>",
            "rejected": f" {record.rejected}</s>",
            "images": list(record.images),
        }
        for record in records
    ]
    return datasets.Dataset.from_list(rows).cast_column("images", datasets.List(datasets.Image()))


def their_processor(checkpoint: Path, sizes: Any) -> transformers.LlavaProcessor:
    return transformers.LlavaProcessor(
        transformers.CLIPImageProcessorPil.from_pretrained(checkpoint),
        transformers.AutoTokenizer.from_pretrained(checkpoint),
        patch_size=sizes.vision_config.patch_size,
        vision_feature_select_strategy=sizes.vision_feature_select_strategy,
        num_additional_image_tokens=1,  # of the class, which "default" drops again
    )


def assert_same_inputs(batch: PreferenceBatch, records: list[Record], theirs: dict[str, Any]):
    """Every token of both completions behind their prompt, which of them are scored, and every pixel."""
    tree, rows = batch.tree, len(records)
    for k, row in np.ndindex(2, rows):
        prompt, target = tree.prompt_mask[row] > 0, tree.mask[row, k] > 0
        ours = np.concatenate([tree.prompt[row][prompt], tree.tokens[row, k, :1], tree.targets[row, k][target]])
        ids, mask, labels = (theirs[name][k * rows + row] for name in ("input_ids", "attention_mask", "labels"))
        np.testing.assert_array_equal(ours, ids[mask > 0])
        np.testing.assert_array_equal(tree.targets[row, k][target], labels[labels >= 0])
    shown = [tree.media.pixels[row, i] for row, record in enumerate(records) for i in range(len(record.images))]
    np.testing.assert_array_equal(np.stack([*shown, *shown]), theirs["pixel_values"].permute(0, 2, 3, 1))


def test_twenty_steps(data, checkpoint, alone, tmp_path):
    settings = config(data, checkpoint)
    source, model = build.source(settings), build.published_model(checkpoint, settings.to_dict())
    order = Shard(len(source)).order(settings.seed, epochs=None)
    records = [source[int(order[i])] for i in range(STEPS * ROWS)]
    trainer, given = their_trainer(checkpoint, records, tmp_path / "theirs"), []
    trainer.model.register_forward_pre_hook(lambda _, args, inputs: given.append(inputs), with_kwargs=True)
    trainer.train()
    theirs = trainer.state.log_history[:STEPS]  # and a summary behind them
    run.train(settings, tmp_path / "ours")
    ours = log.read(tmp_path / "ours" / "metrics.jsonl")
    assert len(ours) == len(theirs) == len(given) == STEPS

    encode, packer = model.encode(settings.data.completion_length), model.packer(ROWS, settings.data.completion_length)
    for step, inputs in enumerate(given):
        part = records[step * ROWS :][:ROWS]
        assert_same_inputs(PreferenceBatch.pack([encode(record) for record in part], packer), part, inputs)

    assert theirs[-1]["rewards/margins"] > 0.5, "a model that does not move agrees with anything"
    for a, b in zip(ours, theirs, strict=True):
        for name in COMPARED:
            # Reached are 1.4e-5, and would be 2e-6 if Optax did not correct Adam's bias by 1 - 0.999 in float32. With
            # 1e-3, one would overlook a weight decay of 0.01, or 0.998 for 0.999.
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-4, err_msg=f"{name} at step {a['step']}")


def test_weight_decay_spares_the_same_parameters(data, checkpoint, alone, tmp_path):
    record = build.source(config(data, checkpoint))[0]
    trainer = their_trainer(checkpoint, [record], tmp_path)
    family = architecture.open_family(checkpoint)
    ones = jax.tree.map(lambda x: np.ones(x.shape, np.float32), mllm.param_shapes(family.sizes))
    tx, _ = optimizer.build(learning_rate=1.0, steps=1, weight_decay=0.5)
    updates, _ = jax.jit(lambda params: tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params))(ones)
    decayed = [name for name, update in pretrained.tensors(family, updates) if update.any()]
    for start, published in family.published:
        decayed = [start + x.removeprefix(published) if x.startswith(published) else x for x in decayed]
    ours, theirs = {module_name(family, x) for x in decayed}, set(trainer.get_decay_parameter_names(trainer.model))
    # Features come from the last layer but one of the tower.
    assert {x for x in ours ^ theirs if "layers.2" not in x and "post_layernorm" not in x} == set()
