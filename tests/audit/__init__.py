"""The audit trail: what is signed, what is found, what is exported."""
