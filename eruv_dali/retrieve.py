"""Retrieve videos by a video (Tables V and VI): which training videos are most similar to each test video?

    python -m eruv_dali.retrieve --dataset ucf101 --root UCF-101 --splits ucfTrainTestlist --init runs/c3d \\
        --out runs/c3d_ucf101_retrieval
    python -m eruv_dali.retrieve --dataset folder --root my_actions --groups '/([a-z]+)_' --leave-one-out \\
        --init none --backbone r3d --out runs/random_retrieval

Each video is described by its pool5 features (9,216 numbers at full size), the mean of 10 clips; similarity is the
cosine. A test video is a hit at k if any of the k training videos most similar to it has its class. With --queries clip
each clip of a test video is a query by itself, against all clips of the training videos.

The videos are prepared once, into a folder dataset_… next to RUN that the next run there finds again. Writes into RUN
result.json (fractions of 1: topk, per_split) and, for each split (with several, in RUN/split_N):

    features_train.npy, features_test.npy    float32, (videos, 9216); with --queries clip (videos, clips, 9216)
    index.csv                                video,class,split,row: which row of which file is which video
    neighbours.json                          each query, and the 10 training videos most similar to it:
        {"dataset": DATASET folder, "queries": [{"video": path, "class": name, "neighbours":
            [{"video": path, "class": name, "similarity": cosine, "hit": true or false}, …]}, …]}
        with --queries clip each video also has "start", the first frame of the clip, and the file "clip_length", the
        frames of a clip
"""

import logging

from eruv_dali.actions.arguments import add_network_arguments, add_split_arguments
from eruv_dali.errors import run_program
from eruv_dali.options import add_quiet, program

QUERIES = ("video", "clip")


def main() -> None:
    logging.basicConfig(format="%(message)s")
    parser = program("retrieve", __doc__)
    add_split_arguments(parser)
    add_network_arguments(parser)
    parser.add_argument("--queries", choices=QUERIES, default="video", help="what is searched for: each test video, or "
                        "each clip of it (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="write RUN again if it is a finished run of retrieve")
    add_quiet(parser)
    args = parser.parse_args()
    from eruv_dali.actions.retrieval import run  # PyTorch takes seconds, and --help need not wait for it

    run(args)


if __name__ == "__main__":
    run_program(main)
