"""How good a model is on a labelled set, by the protocol of its papers, beside the figure they published.

`cards` describe data sets and their published figures, `dataset`, `read_images` and `labels` read them, `preprocess`
and `model` predict, `run` goes through a set, `results_folder` stores counts and maps, `metrics` and `report` sum up.
"""
