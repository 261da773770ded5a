"""The demo corpus: a few drawn untrimmed videos, so that `python -m eruv_dali.pretrain` runs without any others."""
