"""CLIP encoders for open-vocabulary maps: the image tower's patch tokens, the text tower's prompt ensembles."""
