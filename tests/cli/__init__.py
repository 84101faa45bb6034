"""Tests of router/cli against a real control listener."""
