"""Plans that are found: a layer's sensitivity, the allocation of ratios, and the search."""
