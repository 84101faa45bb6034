"""Queues, batches and connections towards replicas: the only HTTP client of the gateway."""
