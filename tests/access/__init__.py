"""Tests of who may ask what: the pure parts, and the keys of an issuer."""
