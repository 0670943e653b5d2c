"""Benchmarks as plain functions: one file each. They read predictions, never a model."""
