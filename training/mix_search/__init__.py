"""Small runs that say which data to take, and what more of it would bring."""
