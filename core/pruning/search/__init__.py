"""Automatic plans: each layer's sensitivity, the allocation of ratios, and the search."""
