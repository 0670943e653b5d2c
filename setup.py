"""Packaging of align_jax. The Makefile installs it; everything else about the tools stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="align-jax",
    version="0.1.0",
    description="Aligning multimodal large language models with human preference, in JAX",
    python_requires=">=3.11,<3.14",
    # Said explicitly, it makes an editable install put the clone itself on sys.path: configs and experiments too.
    package_dir={"": "."},
    packages=find_packages(include=["align_jax", "align_jax.*"]),
    package_data={"align_jax": ["**/*.jinja"]},
    install_requires=[
        "absl-py",
        "easy-vqa",
        "flax",
        "grain",
        "jax>=0.10",  # jax.set_mesh; flax takes nothing older either
        "jinja2",
        "matplotlib",
        "ml-collections",
        "numpy>=2.0",
        "optax",
        "orbax-checkpoint",
        "pillow",
        "pyarrow",
        "rich",
        "safetensors",
        "scipy",
        "soundfile",
        "tensorboardX",
        "tensorflow-datasets>=4.9.10",  # writes and reads array_record without TensorFlow
        "tokenizers",
        "transformers>=5.23",  # configs, tokenizers and processors of published models; none of them needs PyTorch
    ],
    extras_require={
        "test": [
            "pytest",
            "pytest-xdist",
            "ruff==0.17.*",
        ],  # formats differ between minor versions
        "parity": ["peft", "torch", "trl"],  # the oracles that tests compare with
        "cuda": ["jax[cuda12]"],  # cuda13 exists too, but needs a driver of 580 or newer
        "tpu": ["jax[tpu]"],
    },
)
