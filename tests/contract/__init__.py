"""The contract, held against a running installation over HTTP, raw sockets and the `pointsman` command only."""
