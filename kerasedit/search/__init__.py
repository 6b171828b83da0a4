"""Many edits tried out, each on a copy of its own: sweeps, and which layers matter.

Nothing here imports Keras: a worker has to know of the backend first (see `job`).
"""
