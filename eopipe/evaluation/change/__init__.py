"""How good a map of change is, by DynamicEarth's protocol (spec 03 §4): pairs of pictures, and finished mosaics.

`cards` say what a set is, `pairs` find and read it, `methods` are what is judged, `figures` the published formulas,
`published` what others got, `mosaics` judge a run's map against label rasters.
"""
