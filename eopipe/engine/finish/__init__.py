"""What is made of all tiles, and what is said of a run afterwards."""
