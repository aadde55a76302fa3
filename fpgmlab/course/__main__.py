"""For who writes exercises: ``python -m fpgmlab.course NAME ANSWER`` prints the digest for ``exercises.toml``."""

from __future__ import annotations

import argparse
import ast

from fpgmlab.course.answers import digest, forms
from fpgmlab.course.exercises import exercise_of


def main() -> None:
    """Print an answer's digest, by the kind and grid that ``exercises.toml`` has of the exercise."""
    parser = argparse.ArgumentParser(prog="python -m fpgmlab.course", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="an exercise that stands in exercises.toml, such as 06-2")
    parser.add_argument("answer", metavar="ANSWER", help="a number, a word, or several: [1, 2]")
    options = parser.parse_args()
    try:
        answer = ast.literal_eval(options.answer)
    except (ValueError, SyntaxError):
        answer = options.answer
    print(digest(options.name, next(iter(forms(exercise_of(options.name), answer)))))


if __name__ == "__main__":
    main()
