"""Sampling from policies."""
