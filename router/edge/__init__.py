"""HTTP in and out: limits, deadlines, header hygiene, request ids and the protocol codecs."""
