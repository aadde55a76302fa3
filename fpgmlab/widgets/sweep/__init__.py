"""`SweepPanel`: sensitivity curves that sharpen while one looks on."""
