"""Who may ask what: keys, tokens, roles and the decision about them; knows no HTTP server and no Redis."""
