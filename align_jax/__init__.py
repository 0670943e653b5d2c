"""Alignment of multimodal language models with human preference, in JAX."""
