"""Asks a trained model about a picture.

python experiments/generate.py --run=runs/quickstart/sft --image=picture.png --prompt="describe the image." --samples=4
"""

from absl import flags

from align_jax.ask import ask, open_run
from align_jax.data.records import Record
from experiments import console

RUN = flags.DEFINE_string("run", None, "Workdir of a run.")
IMAGES = flags.DEFINE_multi_string("image", [], "A picture file; may be given several times, or not at all.")
PROMPT = flags.DEFINE_string("prompt", "describe the image.", "What to ask; <image> marks where a picture goes.")
SAMPLES = flags.DEFINE_integer("samples", 1, "Answers to draw.")
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 gives the most likely answer.")
TOP_K = flags.DEFINE_integer("top_k", 0, "Draw from the k most likely tokens; 0 from all.")
TOP_P = flags.DEFINE_float("top_p", 1.0, "Draw from the most likely tokens up to this probability.")
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 64, "Where an answer is cut off.")
SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same answers.")
flags.mark_flag_as_required("run")


def main(_):
    records = [Record("question", PROMPT.value, tuple(IMAGES.value))]
    found = ask(
        open_run(RUN.value),
        records,
        completions=SAMPLES.value,
        max_tokens=MAX_TOKENS.value,
        temperature=TEMPERATURE.value,
        top_k=TOP_K.value,
        top_p=TOP_P.value,
        seed=SEED.value,
        batch_size=1,
    )
    for _, words in found:
        print("\n".join(words))


if __name__ == "__main__":
    console.start(main)
