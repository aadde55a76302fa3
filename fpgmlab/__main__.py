"""``python -m fpgmlab``: see `fpgmlab.runs`."""

import sys

from fpgmlab.runs.command import main

if __name__ == "__main__":
    sys.exit(main())
