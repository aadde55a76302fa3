"""Store: how the progress of a sweep is kept on disk and spread over workers.

In: a job (model, task, points). Out: its parts, in any order and after any interruption the same table.
"""
