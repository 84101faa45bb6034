"""locust scenarios and their runner; only the scenarios import locust, which patches the process it is in."""
