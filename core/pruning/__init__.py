"""Filter pruning: ``criteria`` score filters, a ``plan`` chooses what stays, ``surgery`` removes the rest. Import from the modules."""
