"""The Models page: every network there is, and installing it."""
