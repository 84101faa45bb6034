"""The suite; a package, so that tests/services does not hide services."""
