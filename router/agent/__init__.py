"""The processes of one host: the parent that owns sockets, and the agent that keeps replicas running."""
