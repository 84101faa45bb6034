"""The wire protocols against a running installation, with the clients people use."""
