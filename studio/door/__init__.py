"""What stands before the pages: who may come in, from which address, and which files pass."""
