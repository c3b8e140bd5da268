"""The Filters page: which filters of a layer are removed, and how reliable the ranking is."""
