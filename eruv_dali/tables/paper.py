"""The figures that the paper prints (Luo et al., "Exploring Relations in Untrimmed Videos for Self-Supervised
Learning"), tables I to VI, as fractions of 1.

A method is the name of a pretext, or RANDOM for random weights. A network is the name of a backbone; the paper does not
say which ones the methods from other papers' tables (Jigsaw, OPN, Büchler: 2D; MAS, 3D ST-puzzle: C3D) were used with.
All networks are of full width, PAPER_WIDTH.
"""

from eruv_dali.evaluate.pretrained import NONE

RANDOM = NONE
PAPER_WIDTH = 64

METHODS = {RANDOM: "random", "jigsaw": "Jigsaw", "opn": "OPN", "buchler": "Büchler", "mas": "MAS",
           "puzzle3d": "3D ST-puzzle", "vcop": "VCOP", "vcp": "VCP", "eruv": "ERUV"}
TOPS = ("top1", "top5", "top10", "top20", "top50")


def _fractions(*percent: float) -> tuple[float, ...]:
    return tuple(round(value / 100, 3) for value in percent)


# Table I: accuracy of C3D for each relation, THUMOS14.
RELATION_ACCURACY = {"CS": 0.712, "CV": 0.893, "CD": 0.845, "CR": 0.762, "PI": 0.505, "PD": 0.443, "PS": 0.485,
                     "overall": 0.667}

# Table II: relations of the pre-training (THUMOS14) → recognition on UCF101, split 1, C3D. () is random weights.
ABLATIONS = {
    (): 0.621,
    ("CS", "CD"): 0.650,
    ("CS", "CR"): 0.663,
    ("CS", "CV"): 0.679,
    ("CS", "CV", "CD", "CR"): 0.688,
    ("PD", "PS"): 0.660,
    ("PI", "PS"): 0.650,
    ("PI", "PD"): 0.654,
    ("PI", "PD", "PS"): 0.664,
    ("CS", "CV", "CD", "CR", "PI", "PD", "PS"): 0.704,
}

# Table III: (method, whether its videos are trimmed: UCF101, or THUMOS14) → recognition on UCF101, split 1. The paper
# names no network; ERUV's 70.4 is C3D's in Table II.
PRETRAINING_DATA = {
    ("vcop", True): 0.667, ("vcop", False): 0.649,
    ("vcp", True): 0.697, ("vcp", False): 0.687,
    ("eruv", True): 0.712, ("eruv", False): 0.704,
}

# Table IV: (network, method) → recognition on UCF101, on HMDB51; means over three splits.
_TABLE_4 = {
    ("caffenet", "jigsaw"): _fractions(51.5, 22.5),
    ("caffenet", "opn"): _fractions(56.3, 22.1),
    ("caffenet", "buchler"): _fractions(58.6, 25.0),
    ("c3d", "mas"): _fractions(58.8, 32.6),
    ("c3d", "puzzle3d"): _fractions(65.0, 31.3),
    ("c3d", RANDOM): _fractions(61.8, 24.7),
    ("c3d", "vcop"): _fractions(65.6, 28.4),
    ("c3d", "vcp"): _fractions(68.5, 32.5),
    ("c3d", "eruv"): _fractions(69.6, 33.7),
    ("r3d", RANDOM): _fractions(54.5, 23.4),
    ("r3d", "vcop"): _fractions(64.9, 29.5),
    ("r3d", "vcp"): _fractions(66.0, 31.5),
    ("r3d", "eruv"): _fractions(68.8, 31.6),
    ("r2plus1d", RANDOM): _fractions(55.8, 22.0),
    ("r2plus1d", "vcop"): _fractions(72.4, 30.9),
    ("r2plus1d", "vcp"): _fractions(66.3, 32.2),
    ("r2plus1d", "eruv"): _fractions(68.4, 31.9),
}
RECOGNITION = {(data, *key): figures[place] for place, data in enumerate(("ucf101", "hmdb51"))
               for key, figures in _TABLE_4.items()}

# Tables V and VI: (data, network, method) → retrieval, TOPS.
RETRIEVAL = {
    ("ucf101", "caffenet", "jigsaw"): _fractions(19.7, 28.5, 33.5, 40.0, 49.4),
    ("ucf101", "caffenet", "opn"): _fractions(19.9, 28.7, 34.0, 40.6, 51.6),
    ("ucf101", "caffenet", "buchler"): _fractions(25.7, 36.2, 42.2, 49.2, 59.5),
    ("ucf101", "c3d", RANDOM): _fractions(16.7, 27.5, 33.7, 41.4, 53.0),
    ("ucf101", "c3d", "vcop"): _fractions(12.5, 29.0, 39.0, 50.6, 66.9),
    ("ucf101", "c3d", "vcp"): _fractions(17.3, 31.5, 42.0, 52.6, 67.7),
    ("ucf101", "c3d", "eruv"): _fractions(25.2, 40.5, 48.3, 57.6, 70.4),
    ("ucf101", "r3d", RANDOM): _fractions(9.9, 18.9, 26.0, 35.5, 51.9),
    ("ucf101", "r3d", "vcop"): _fractions(14.1, 30.3, 40.4, 51.1, 66.5),
    ("ucf101", "r3d", "vcp"): _fractions(18.6, 33.6, 42.5, 53.5, 68.1),
    ("ucf101", "r3d", "eruv"): _fractions(21.4, 35.2, 43.8, 53.1, 68.3),
    ("ucf101", "r2plus1d", RANDOM): _fractions(10.6, 20.7, 27.4, 37.4, 53.1),
    ("ucf101", "r2plus1d", "vcop"): _fractions(10.7, 25.9, 35.4, 47.3, 63.9),
    ("ucf101", "r2plus1d", "vcp"): _fractions(19.9, 33.7, 42.0, 50.5, 64.4),
    ("ucf101", "r2plus1d", "eruv"): _fractions(22.0, 35.1, 42.6, 51.5, 64.9),
    ("hmdb51", "c3d", RANDOM): _fractions(7.4, 20.5, 31.9, 44.5, 66.3),
    ("hmdb51", "c3d", "vcop"): _fractions(7.4, 22.6, 34.4, 48.5, 70.1),
    ("hmdb51", "c3d", "vcp"): _fractions(7.8, 23.8, 35.3, 49.3, 71.6),
    ("hmdb51", "c3d", "eruv"): _fractions(8.6, 25.3, 37.0, 53.7, 75.7),
    ("hmdb51", "r3d", RANDOM): _fractions(6.7, 18.3, 28.3, 43.1, 67.9),
    ("hmdb51", "r3d", "vcop"): _fractions(7.6, 22.9, 34.4, 48.8, 68.9),
    ("hmdb51", "r3d", "vcp"): _fractions(7.6, 24.4, 36.3, 53.6, 76.4),
    ("hmdb51", "r3d", "eruv"): _fractions(8.6, 24.3, 35.5, 53.0, 75.9),
    ("hmdb51", "r2plus1d", RANDOM): _fractions(4.5, 14.8, 23.4, 38.9, 63.0),
    ("hmdb51", "r2plus1d", "vcop"): _fractions(5.7, 19.5, 30.7, 45.8, 67.0),
    ("hmdb51", "r2plus1d", "vcp"): _fractions(6.7, 21.3, 32.7, 49.2, 73.3),
    ("hmdb51", "r2plus1d", "eruv"): _fractions(9.3, 26.4, 38.5, 51.8, 73.9),
}
