"""The taggers' architectures."""
