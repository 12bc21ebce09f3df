"""Tests of the ring of experience on disk."""
