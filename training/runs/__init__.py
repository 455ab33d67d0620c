"""A run as a folder, and what its process tells."""
