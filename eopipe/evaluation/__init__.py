"""How good a model is on a labelled set, by the protocol that its papers used, beside the figure they published.

`metrics` counts, `labels` and `dataset` read the truth, `cards` say what a data set is and how it is run,
`published` what others got, `protocol` prepares pictures, `run` goes through a set and can be stopped and resumed.
"""
