"""One suite that the twins of the simulation and the real adapters have to pass alike."""
