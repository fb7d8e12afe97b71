"""The area of interest: read in longitude and latitude, projected, laid on the grid, and back."""
