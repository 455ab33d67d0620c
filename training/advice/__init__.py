"""What can be said of a run before it starts, from its mix, its base model and this machine, without loading torch."""
