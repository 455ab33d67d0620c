"""The commands of `winnow`: one module for each kind of work, entered in `studio.cli`."""
