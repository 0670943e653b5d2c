"""Asks a model about a picture: one of ours, or a published one.

python experiments/generate.py --run=runs/quickstart/sft --image=picture.png --prompt="describe the image."
python experiments/generate.py --published=llava-1.5-7b-hf --dtype=bfloat16 --prompt_length=640 --image=picture.png
"""

from absl import flags

from align_jax.ask import ask, open_published, open_run
from align_jax.data.records import Record
from experiments import console

RUN = flags.DEFINE_string("run", None, "Workdir of a run.")
PUBLISHED = flags.DEFINE_string("published", None, "A Hugging Face folder, in place of a run.")
DTYPE = flags.DEFINE_string("dtype", "float32", "Of a published model's parameters and activations.")
PROMPT_LENGTH = flags.DEFINE_integer("prompt_length", 2048, "Tokens of a published model's prompt, pictures included.")
SOUNDS = flags.DEFINE_multi_string("sound", [], "A recording; may be given several times.")
IMAGES = flags.DEFINE_multi_string("image", [], "A picture file; may be given several times, or not at all.")
PROMPT = flags.DEFINE_string("prompt", "describe the image.", "What to ask; <image> marks where a picture goes.")
SAMPLES = flags.DEFINE_integer("samples", 1, "Answers to draw.")
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 gives the most likely answer.")
TOP_K = flags.DEFINE_integer("top_k", 0, "Draw from the k most likely tokens; 0 from all.")
TOP_P = flags.DEFINE_float("top_p", 1.0, "Draw from the most likely tokens up to this probability.")
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 64, "Where an answer is cut off.")
SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same answers.")


def main(_):
    if bool(RUN.value) == bool(PUBLISHED.value):
        raise ValueError("give one of --run and --published")
    records = [Record("question", PROMPT.value, tuple(IMAGES.value), sounds=tuple(SOUNDS.value))]
    if RUN.value:
        trained = open_run(RUN.value)
    else:
        trained = open_published(PUBLISHED.value, prompt_length=PROMPT_LENGTH.value, dtype=DTYPE.value)
    found = ask(
        trained,
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
