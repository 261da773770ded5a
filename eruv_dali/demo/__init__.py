"""The demo corpus: a few untrimmed videos, drawn on the spot: `python -m eruv_dali.pretrain` needs none of its own."""
