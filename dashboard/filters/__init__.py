"""The Filters page: which filters of a layer go, and how sure the ranking is."""
