"""Scenario steady: one version, a steady pace. See README.md for what to look for."""

from __future__ import annotations

from loadtests.locust import tally
from loadtests.locust.digits import DigitsUser

__all__ = ["Steady", "tally"]


class Steady(DigitsUser):
    """Nothing changes while it runs."""
