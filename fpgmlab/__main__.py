"""``python -m fpgmlab``: see `fpgmlab.runs`, and for the notebooks `fpgmlab.course`."""

import sys

from fpgmlab.course.copying import add_arguments, command
from fpgmlab.runs.command import Other, main

OTHERS = {"notebooks": Other("copy the course's notebooks into a folder to work in", add_arguments, command)}

if __name__ == "__main__":
    sys.exit(main(others=OTHERS))
