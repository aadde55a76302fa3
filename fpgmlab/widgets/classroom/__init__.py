"""A class at one machine: a desk for each visitor's browser, from one process that has everything loaded.

`warm` prepares the notebook once and forks a kernel for each visitor, `kernels` is how Voila asks for one, `server` the
command behind ``make classroom``. `seats` is what visitors share, `board` the teacher's view of it.
"""
