"""Repair of a pruned network without labels."""
