"""Tests of router/control: the real app and server, real Redis; only the routers are coroutines."""
