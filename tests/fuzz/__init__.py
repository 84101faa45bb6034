"""Coverage-guided fuzzing of every parser: a target a file, run by `python -m tests.fuzz`, replayed by pytest."""
