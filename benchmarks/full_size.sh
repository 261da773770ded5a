#!/usr/bin/env bash
# The comparison of docs/representation.md at full size: C3D of width 64, crops of 112x112, a million clips a network.
#
#     benchmarks/full_size.sh OUT VIDEOS LABELLED
#
# VIDEOS: folders or files to pre-train on, unlabelled, in one word or a glob that the shell has not opened. LABELLED: the
# folder with weizmann, ut_interaction, egogestar and asu (representation.py --videos). Prepares VIDEOS, pre-trains each
# recipe with each seed, evaluates all; OUT/evaluation/representation.md has the tables. What is done is not done again:
# run the same command after an interruption. Meant for a machine with a GPU. By environment:
#
#     RECIPES  names of configurations               (default: "thumos14_c3d eruv_plus flow_c3d")
#     SEEDS    (default: "0 1 2 3 4")
#     CLIPS    seen by each network                  (default: 1000000)
#     EPOCHS   that these are spread over            (default: 20)
#     SIZE     of the frames, HxW                    (default: 128x171)
#     WORDS    further key=value of pretrain         (default: none)
#     EVALUATE further words of representation.py    (default: none)
#
# A trial of some minutes on a CPU:
#     SEEDS="0 1" CLIPS=1920 EPOCHS=2 SIZE=48x64 WORDS="model.width=4 data.crop=32 data.batch_size=8 data.val_pairs=16" \
#         EVALUATE="--parts frozen" benchmarks/full_size.sh /tmp/trial "../shared/data/clips" ../shared/data
set -euo pipefail
OUT=$(realpath -m "${1:?OUT, a folder to write}")
VIDEOS=${2:?VIDEOS, what to pre-train on}
LABELLED=$(realpath "${3:?LABELLED, the folder with the labelled sets}")
RECIPES=${RECIPES:-thumos14_c3d eruv_plus flow_c3d}
SEEDS=${SEEDS:-0 1 2 3 4}
CLIPS=${CLIPS:-1000000}
EPOCHS=${EPOCHS:-20}
SIZE=${SIZE:-128x171}
PYTHON=${PYTHON:-python3}
HERE=$(realpath "$(dirname "$0")/..")
export PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$OUT/runs"

# shellcheck disable=SC2086  # VIDEOS, WORDS and EVALUATE are several words
"$PYTHON" -m eruv_dali.prepare $VIDEOS --out "$OUT/dataset" --frame-size "$SIZE" --add
starts=()
for recipe in $RECIPES; do
    case $recipe in
        flow*) each=1 words="" ;;  # clips of a sample
        *) each=2 words="relations=CS,CD,CR,PI,PD,PS" ;;
    esac
    starts+=(--start "$recipe=$OUT/runs/${recipe}_{seed}")
    for seed in $SEEDS; do
        run=$OUT/runs/${recipe}_$seed
        if [ -e "$run/result.json" ]; then
            continue
        elif [ -e "$run/last.pt" ]; then
            "$PYTHON" -m eruv_dali.pretrain --out "$run" --resume
        else
            rm -rf "$run"  # it had not come to its first checkpoint
            "$PYTHON" -m eruv_dali.pretrain --config "$HERE/configs/$recipe.yaml" --data "$OUT/dataset" --out "$run" \
                "seed=$seed" "data.pairs_per_epoch=$((CLIPS / each / EPOCHS))" "optim.epochs=$EPOCHS" \
                optim.schedule=cosine $words "data.frame_size=[${SIZE/x/,}]" ${WORDS:-}
        fi
    done
done
"$PYTHON" "$HERE/benchmarks/representation.py" --out "$OUT/evaluation" --videos "$LABELLED" --seeds $SEEDS \
    "${starts[@]}" ${EVALUATE:-}
