"""Names that command lines offer: to say them in --help, nothing that defines them need be imported."""

BACKBONES = ("c3d", "r3d", "r2plus1d", "caffenet")  # `models` builds them
INPUTS = ("rgb", "difference")  # what a backbone sees of a clip
MEASURES = {"retrieval": "retrieval, top-1", "knn": "nearest neighbours, top-1", "probe": "linear probe, top-1",
            "finetune": "fine-tuning, top-1"}  # what `compare` evaluates networks by
