"""Load, fault and proof programs: they start the product on loopback, are bounded, and stop by themselves."""
