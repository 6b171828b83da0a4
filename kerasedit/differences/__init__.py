"""What differs between two models: an editor's source and copy, or any two models or files.

`sides` reads what is compared, `match` finds which layer is which, `compare` looks at each pair,
`result` is what comes out and `show` how it reads.
"""

from .compare import compare, diff
from .result import Diff

__all__ = ["Diff", "compare", "diff"]
