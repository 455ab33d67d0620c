"""The doors: the command, the pages, the jobs. No algorithm lives here."""
