"""Processes for what comes from outside: bounded in memory and processor time, without files, sockets or programs."""
