"""Between Hugging Face folders and runs.

    # What a run has trained, as a folder that transformers, vLLM and others open:
    python experiments/export.py --run=runs/mine --out=mine-hf

    # A published checkpoint as the workdir of a run at step 0, for people who want it in Orbax once and for all:
    python experiments/export.py --published=llava-1.5-7b-hf --out=runs/llava

Training can also start from the published folder itself: --config.init_from=llava-1.5-7b-hf.
"""

from absl import flags
from ml_collections import config_flags

from align_jax import exchange
from experiments import console

RUN = flags.DEFINE_string("run", None, "Workdir of a run that started from a published model.")
STEP = flags.DEFINE_integer("step", None, "Of the checkpoint; the newest by default.")
PUBLISHED = flags.DEFINE_string("published", None, "A Hugging Face folder.")
OUT = flags.DEFINE_string("out", None, "What is made; must not exist.")
DTYPE = flags.DEFINE_string("dtype", "", "Of the stored parameters, as float32 or bfloat16; by default as they are.")
CONFIG = config_flags.DEFINE_config_file("config", "configs/published_dpo.py", "Lengths of prompts, for --published.")
flags.mark_flag_as_required("out")


def main(_):
    if bool(RUN.value) == bool(PUBLISHED.value):
        raise ValueError("give one of --run (to Hugging Face) and --published (from Hugging Face)")
    if RUN.value:
        exchange.to_published(RUN.value, OUT.value, step=STEP.value, dtype=DTYPE.value or None)
    else:
        CONFIG.value.compute.param_dtype = DTYPE.value
        exchange.from_published(PUBLISHED.value, OUT.value, CONFIG.value.to_dict())
    print(f"wrote {OUT.value}")


if __name__ == "__main__":
    console.start(main)
