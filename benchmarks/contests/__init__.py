"""Comparisons with other programs, one file each; ``benchmarks/peers.py`` runs them.

A file here holds ``CONTESTS``, a list of ``Contest``. It may import scikit-learn, SciPy
and skinfluence at its top; a peer is imported inside the function that uses it.
"""
