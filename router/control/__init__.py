"""The control API: what operators and programs may ask and change."""
