"""The book: chapters, API, glossary and bibliography as a site that needs no network. ``python -m book`` makes it."""
