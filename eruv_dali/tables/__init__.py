"""The paper's tables with our figures; see `python -m eruv_dali.tables`."""
