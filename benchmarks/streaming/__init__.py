"""A DATASET in a store beside litdata's and MosaicML streaming's way to train from one."""
