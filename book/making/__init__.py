"""How the book is made: run the notebooks, lay all pages beside each other, let Sphinx write the site."""
