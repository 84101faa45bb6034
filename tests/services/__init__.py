"""Tests of services/, one file a module."""
