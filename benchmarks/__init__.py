"""Measured, never asserted: what things cost, as ratios taken in one run."""
