"""Tests of router/route, module by module."""
