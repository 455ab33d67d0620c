"""Whatever a model says: chat models behind an address, local causal language models, encoders."""
