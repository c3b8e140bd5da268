"""The taggers' architectures; import from the modules."""
