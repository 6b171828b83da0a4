"""Model files looked into without Keras: what a `.keras` or `.h5` file says of its layers.

Nothing here imports Keras or TensorFlow, and nothing that a file holds is run or believed. The files
are read in a process of its own (see `process.py`), so that one that is made to harm harms only that.
"""

from .process import read_arguments, read_detail, read_histograms, read_model

__all__ = ["read_arguments", "read_detail", "read_histograms", "read_model"]
