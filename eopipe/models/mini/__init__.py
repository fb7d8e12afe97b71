"""``mini``: a small land-cover student in the space of a sentence encoder, so that any phrase can be a prompt."""
