"""Numbers that say how good a model is, and whether two differ."""
