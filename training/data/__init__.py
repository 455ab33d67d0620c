"""From a mix's files to token ids."""
