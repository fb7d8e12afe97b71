"""How good a map of change is, by DynamicEarth's protocol (arXiv 2501.12931): pairs of pictures, and finished runs.

`cards` describe sets, `pairs` finds and reads them, `methods` are predictors, `metrics` the published formulas,
`mosaics` judges a run's map against label rasters, `places` runs labelled places and judges their maps.
"""
