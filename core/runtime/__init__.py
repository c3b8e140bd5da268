"""Engines that run a network: torch, the reference, and faster ones on a CPU, behind one interface (``engine.Engine``).

``choice.engine_for`` chooses; ``Tagger`` calls it before its first pass.
"""
