"""A run's model answering beside its base, at an address of this machine."""
