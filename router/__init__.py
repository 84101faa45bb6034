"""Pointsman's gateway: everything between a caller's socket and a replica, and the controls around it."""

__version__ = "0.1.0"
