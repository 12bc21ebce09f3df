"""Furnished houses from a seed, and instructions for ways through them, as data sets in VLN-CE's format.

plan → furnish → house → mesh: a floor plan, furniture in its places, the files of a scene.
paths → route → grammar → dataset: where to walk, what is noticed on the way, how it is said, and all of it on disk.
"""
