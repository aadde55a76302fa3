"""``python -m fpgmlab.widgets.classroom NOTEBOOK`` opens a notebook's desk to a class."""

from fpgmlab.widgets.classroom.server import main

main()
