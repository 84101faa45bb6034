"""Tests of the edge: protocols, pass-through, upgrades, tasks, headers."""
