"""The fixtures of these tests: one house with a router and its neighbours."""

from tests.edge.house import fresh_id, house, router

__all__ = ["fresh_id", "house", "router"]
