"""A finished run to take away: adapter, merged weights or GGUF, with a model card; and to the hub."""
