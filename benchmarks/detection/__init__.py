"""Parts of shots.py."""
