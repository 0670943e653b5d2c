"""From files to batches: NumPy and Grain, on the host. No jax operation runs here: worker processes import it."""
