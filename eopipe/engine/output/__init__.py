"""What stands in a run's folder, and who may write it."""
