"""``python -m fpgmlab.studies [PAGE]``: print the table of claims, or write today's figures into a page."""

import argparse
from pathlib import Path

from fpgmlab.studies.page import claims_table, update

parser = argparse.ArgumentParser(prog="python -m fpgmlab.studies", description=__doc__)
parser.add_argument("page", type=Path, nargs="?", help="such as README.md; printed when left out")
page = parser.parse_args().page
if page is None:
    print(claims_table())
else:
    print(f"{page}: {'has new figures' if update(page) else 'as it was'}")
