"""Training and scoring: ``train`` learns from labels and ``distil`` from another network, ``loop`` runs both; ``metrics`` and ``evaluate`` score."""
