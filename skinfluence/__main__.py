"""``python -m skinfluence``: the same as the command ``skinfluence``."""

import sys

from skinfluence.cli import main

if __name__ == "__main__":
    sys.exit(main())
