"""The plan editor's plain data and its work in the background."""
