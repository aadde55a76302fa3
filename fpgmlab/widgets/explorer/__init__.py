"""`FilterExplorer`: the filters of a group as distances, as points and as pictures, at once."""
