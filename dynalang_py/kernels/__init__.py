"""Faster replacements of layers, each equal to the plain operations that stand beside its use and serve without it."""
