"""`PlanEditor`, the mixing desk: plain data for its browser side, and its work in the background."""
