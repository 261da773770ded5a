"""Pretexts against each other, on the same data and protocol; see `python -m eruv_dali.compare`."""
