"""Tests of router/registry on a real Redis."""
