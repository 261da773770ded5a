#!/usr/bin/env bash
# Tests the GPU path in one go, in ten minutes: every part with its own time limit, log and figures, and a final table.
#
#     benchmarks/gpu_proof.sh OUT VIDEOS              on a machine with a GPU
#     DEVICE=cpu benchmarks/gpu_proof.sh OUT VIDEOS   a dry run, on small sizes: shows that the script itself works
#
# VIDEOS is a folder of videos; they are prepared on the CPU, so that a GPU without NVDEC can be tested too. A part that
# fails or runs out of time does not stop the others; the exit code is 1 if one did. All parts share TOTAL seconds. OUT
# gets, for each part, PART.log, PART.part.json (exit code, seconds) and what the part itself writes, and proof.md, the
# table.
set -u
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"  # a bare checkout is not installed
OUT=$(realpath -m "${1:?OUT, a folder to write}")
VIDEOS=$(realpath "${2:?VIDEOS, a folder of videos}")
DEVICE=${DEVICE:-gpu}
PYTHON=${PYTHON:-python3}
TOTAL=${TOTAL:-590}
mkdir -p "$OUT/data"

if [ "$DEVICE" = gpu ]; then
    export ERUV_REQUIRE_GPU=1  # a test skipped for lack of a GPU fails
    MARK=gpu CLIPS=384 FULL=() BATCH=(--batch-size 32)
else
    MARK=""  CLIPS=8 FULL=(--width 8 --crop 56 --steps 3 --rounds 1) BATCH=()
fi

part() {  # NAME SECONDS COMMAND...
    local name=$1 limit=$2 left=$((TOTAL - SECONDS)) began rc tenths
    shift 2
    ((limit < left)) || limit=$((left > 1 ? left : 1))
    began=${EPOCHREALTIME/[.,]/}  # microseconds
    timeout --kill-after=5 "$limit" "$@" > "$OUT/$name.log" 2>&1
    rc=$?
    tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
    printf '{"part": "%s", "exit_code": %d, "limit": %d, "seconds": %d.%d, "command": "%s"}\n' \
        "$name" "$rc" "$limit" $((tenths / 10)) $((tenths % 10)) "$(echo "$*" | tr '"\\' "''")" \
        > "$OUT/$name.part.json"
    printf '%-12s exit code %d\n' "$name" "$rc"
}

part environment 30 bash -c "$PYTHON -m eruv_dali.doctor; nvidia-smi -q 2>/dev/null | head -200; ldconfig -p | grep -E 'nvcuvid|nvjpeg' || echo no NVDEC, no nvJPEG"
for pack in raw jpeg; do
    part "prepare_$pack" 60 "$PYTHON" -m eruv_dali.prepare "$VIDEOS" --out "$OUT/data/$pack" --pack $pack --device cpu
done
# One process for the tests: they share one GPU, and pytest-xdist need not be there.
part tests 180 "$PYTHON" -m pytest -q -o addopts=-ra -p no:cacheprovider ${MARK:+-m "$MARK"} tests/shots tests/video \
    tests/loader/test_clip_transform.py tests/pretext/test_relation_loader.py tests/train/test_devices.py \
    tests/evaluate/test_search.py
for backbone in c3d r3d r2plus1d; do
    part "step_$backbone" 60 "$PYTHON" benchmarks/train_step.py --data "$OUT/data/raw" --device "$DEVICE" \
        --backbone $backbone "${FULL[@]}" "${BATCH[@]}" --json "$OUT/step_$backbone.json"
done
part throughput 120 "$PYTHON" benchmarks/throughput.py --data "$OUT/data/raw" "$OUT/data/jpeg" --device "$DEVICE" \
    --peers memmap simplejpeg --clips $CLIPS --repeats 2 --json "$OUT/throughput.json"
for device in $(printf '%s\n' cpu "$DEVICE" | sort -u); do
    part "shots_$device" 40 "$PYTHON" benchmarks/shots.py --videos "$VIDEOS" --device "$device" --speed 2 \
        --detectors prepare prepare-jpeg --json "$OUT/shots_$device.json"
done
part transform 40 "$PYTHON" benchmarks/clip_transform.py --device "$DEVICE" --rounds 3 --json "$OUT/transform.json"
if [ "$DEVICE" = gpu ]; then
    part sanitizer 120 compute-sanitizer --error-exitcode 9 "$PYTHON" -m pytest -q -o addopts=-ra -p no:cacheprovider \
        -m gpu tests/shots/test_hog.py tests/loader/test_clip_transform.py
fi
rm -rf "$OUT/data"
"$PYTHON" benchmarks/proof_table.py "$OUT"
