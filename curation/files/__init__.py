"""From the bytes of a file to samples, and from samples to rows in a trainer's words."""
