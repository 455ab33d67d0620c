"""The DuckDB file below a corpus: its process, its tables, its statements, its search."""
