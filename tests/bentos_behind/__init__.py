"""Users' bentos behind the whole product."""
