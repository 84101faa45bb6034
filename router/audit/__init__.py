"""The audit trail that shows tampering: signed heads outside Redis, checks, and the folder for an auditor."""
