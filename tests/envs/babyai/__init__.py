"""Tests of BabyAI."""
