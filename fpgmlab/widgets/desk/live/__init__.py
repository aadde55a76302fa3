"""What the desk measures by itself: the plan on it, as cut and repaired, on more and more pictures.

`networks` makes the networks, `measurer` shows them pictures, `memory` keeps what was measured of each plan, `agenda`
says what is measured next, `engine` does it in the thread of `stepping`, which the next edit interrupts.
"""
