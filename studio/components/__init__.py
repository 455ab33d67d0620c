"""Parts of pages that run in the browser: each a module with its script beside it."""
