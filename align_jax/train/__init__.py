"""Training: one pure step, and the loop around it."""
