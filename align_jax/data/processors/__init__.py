"""What published models see: pictures, videos and recordings into the arrays of their towers and their placeholders.

A processor is an entry `<model_type>(*, folder, ...)` of `<model_type>.py`, found by the `model_type` of a checkpoint.
"""
