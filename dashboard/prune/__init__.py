"""The Prune page: a network, a slider, and what is left of it."""
