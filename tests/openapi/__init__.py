"""The OpenAPI documents against running listeners: schemathesis makes the requests."""
