"""Weights: which layer owns them, how they move, and what they look like."""
