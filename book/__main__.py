"""Make the book: ``python -m book`` (or ``make book``). The site is then ``outputs/book/site/index.html``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from book.making.executing import execute
from book.making.site import SITE, build
from book.making.staging import ROOT, chapters


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m book", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "outputs" / "book", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="run no notebook: take what was run before, or none")
    parser.add_argument("--full", action="store_true", help="with the notebooks' own settings; takes much longer")
    parser.add_argument("--workers", type=int, default=2, help="how many notebooks run at once (2)")
    parser.add_argument("--only", action="append", metavar="NAME", help="run these notebooks only")
    options = parser.parse_args()
    started = time.perf_counter()
    if not options.quick:
        execute(options.only or list(chapters()), options.to, options.workers, options.full)
    failed = build(options.to)
    print(f"{time.perf_counter() - started:.0f} s; the book: {options.to / SITE / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
