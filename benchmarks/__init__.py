"""Measurements: ratios to a bound or a peer in the same run, never a pass or fail. `make bench` runs them all."""
