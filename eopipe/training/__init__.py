"""Training of the models that ship: every step is a command, seeded and resumable."""
