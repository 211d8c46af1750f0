"""The pure render pipeline, for the renderer: a file in, encoded thumbnails and facts out.

sniff -> check limits -> decode -> resize (crop and orient folded in) -> colour to sRGB -> encode.
Orientation and colour come after the resize because they are the same work on far fewer pixels.
"""
