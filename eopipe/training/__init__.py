"""How the shipped models were made: every step a command, seeded and resumable."""
