"""The map of an embedding: every sample in two dimensions, and clusters with titles."""
