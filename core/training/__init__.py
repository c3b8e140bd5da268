"""Training and scoring on labelled clips: ``data``, ``augment`` and ``train`` make a network, ``metrics`` and ``evaluate`` score it."""
