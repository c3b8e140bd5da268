"""Filter pruning: ``importance`` scores filters, ``plan`` chooses what stays, ``surgery`` removes the rest."""
