"""The Trade-off page: what each network costs, and how good it is."""
