"""The request log of one host: append before the reply, read, ship; knows no HTTP and no routes."""
