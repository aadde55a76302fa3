"""What all panels share: the bundle for the browser, messages while a cell runs, errors and durations in words."""
