"""What the selectors and the comparison are built of: rankings, coverage, clusters, tags, diversity."""
