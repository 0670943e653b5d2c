"""Models as pure functions. The only package that imports flax."""
