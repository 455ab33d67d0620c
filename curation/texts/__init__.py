"""What a program reads out of a text: counts, patterns, answers, code and its tests, constraints."""
