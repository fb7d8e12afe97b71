"""What a tile is made of: scenes, kept window features, or stored scores."""
