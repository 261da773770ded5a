"""What each relation contributes; see `python -m eruv_dali.ablations`."""
