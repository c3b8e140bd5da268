"""What outlives a page run."""
