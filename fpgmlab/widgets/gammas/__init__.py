"""`GammaPanel`: one threshold for all batch norms' scales, and its cliff."""
