"""`python -m metamixer` is `metamixer`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
