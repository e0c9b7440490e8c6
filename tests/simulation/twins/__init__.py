"""In-memory twins of the store, the broker and the gateway, for the simulated world."""
