"""The Compare page: one recording, two networks, and what pruning changed."""
