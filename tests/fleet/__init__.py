"""Proofs of the main job's guarantees on whole installations."""
