"""`python -m kerasedit`."""

import sys

from .cli import main

sys.exit(main())
