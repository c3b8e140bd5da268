"""Corpora: recordings by the million become a Parquet data set, on one machine or on many (docs/scaling.md).

``source`` lists recordings; ``dataset`` writes part files and reads what is done; ``work`` processes a part; ``run`` makes the parts, and ``processes`` and
``cluster`` are the workers.
"""
