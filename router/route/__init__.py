"""The immutable routing table, the choice of a version, and the watch that swaps tables."""
