"""The Corpus page: a data set of `pannscope batch`, its labels, and the clips over which two networks differ."""
