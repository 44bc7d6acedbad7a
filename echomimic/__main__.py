"""`python -m echomimic` is the command `echomimic`."""

import sys

from echomimic.cli import main

if __name__ == "__main__":
    sys.exit(main())
