"""Benchmarks: costs as ratios within one run; they report and do not assert."""
