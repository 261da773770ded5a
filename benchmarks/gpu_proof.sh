#!/usr/bin/env bash
# Tests and measures the GPU path, in two runs of at most 9.5 minutes each.
#
#     benchmarks/gpu_proof.sh A OUT VIDEOS              correctness first, then how fast clips and prepare are
#     benchmarks/gpu_proof.sh B OUT VIDEOS              how fast training is
#     DEVICE=cpu benchmarks/gpu_proof.sh A OUT VIDEOS   a dry run on small sizes: every part, without a GPU
#
# VIDEOS is a folder of videos such as gpu_carry.py makes. They are prepared on the CPU, so that a GPU without NVDEC can
# be tested too. OUT gets one file, proof_A.tar.gz: written anew after every part, and every ARCHIVE_EVERY seconds within
# one, aside and then renamed, so that a run cut off at any moment leaves what it had. In it, for each part: PART.log,
# PART.part.json (exit code, seconds, limit, command) and the part's own figures; and proof.md, the table that is printed
# last. A part that fails or runs out of time does not stop the others; the exit code is 1 if one did.
#
# Nothing need be installed: the checkout is put on PYTHONPATH. The GPU's settings are left as they are.
set -u
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
RUN=${1:?A or B}
OUT=$(realpath -m "${2:?OUT, a folder to write}")
VIDEOS=$(realpath "${3:?VIDEOS, a folder of videos}")
DEVICE=${DEVICE:-gpu}
PYTHON=${PYTHON:-python3}
TOTAL=570          # seconds of all parts together
STRETCH=1          # what these and the parts' limits are multiplied by
ARCHIVE_EVERY=${ARCHIVE_EVERY:-15}  # seconds
LARGEST_LOG=1000000
[[ $RUN == A || $RUN == B ]] || { echo "run $RUN is neither A nor B" >&2; exit 2; }
WORK=$(mktemp -d)
DATA=$WORK/data
mkdir -p "$OUT" "$DATA" "$WORK/files"

if [ "$DEVICE" = gpu ]; then
    export ERUV_REQUIRE_GPU=1  # a test skipped for lack of a GPU fails
    LOADING=(--batch-size 64 --seconds 15 --rounds 2)
    NVDEC_VIDEO=(--clips 256 --decoders 7 14 28) NVDEC_NONE=(--clips 256 --decoders 14)
    CHECK=(--copies 6)
    STEP=(--batch-size 32 --steps 200 --rounds 2)
    PRETRAIN=(--steps 400 --batch-size 32)
    TRANSFORM=(--rounds 5)
    SANITIZER=(compute-sanitizer --error-exitcode 9)
else
    LOADING=(--batch-size 2 --crop 56 --seconds 0.5 --rounds 2)
    NVDEC_VIDEO=(--clips 32) NVDEC_NONE=(--clips 32)
    CHECK=(--copies 2)
    STEP=(--batch-size 1 --width 4 --crop 32 --steps 4 --rounds 1)
    PRETRAIN=(--steps 6 --batch-size 2 --width 4 --crop 32 --skipped 2 --every 1 --val-pairs 7)
    TRANSFORM=(--batch 2 --rounds 1 --runs 2)
    SANITIZER=()
    STRETCH=6
fi
TOTAL=$((TOTAL * STRETCH))
TEST=("$PYTHON" -m pytest -v --durations=15 -o addopts=-ra -p no:cacheprovider)

archive() {
    local aside="$OUT/proof_$RUN.aside.$BASHPID"
    tar czf "$aside" -C "$WORK/files" . 2> /dev/null  # 1: a log grew meanwhile
    mv "$aside" "$OUT/proof_$RUN.tar.gz"
}

part() {  # NAME SECONDS COMMAND...
    local name=$1 limit=$(($2 * STRETCH)) left=$((TOTAL - SECONDS)) began rc tenths log="$WORK/files/$1.log"
    shift 2
    ((limit < left)) || limit=$((left > 1 ? left : 1))
    began=${EPOCHREALTIME/[.,]/}  # microseconds
    timeout --kill-after=3 "$limit" "$@" > "$log" 2>&1
    rc=$?
    tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
    if [ "$(stat -c %s "$log")" -gt $LARGEST_LOG ]; then
        tail -c $LARGEST_LOG "$log" > "$log.end" && mv "$log.end" "$log"
    fi
    printf '{"part": "%s", "exit_code": %d, "limit": %d, "seconds": %d.%d, "command": "%s"}\n' \
        "$name" "$rc" "$limit" $((tenths / 10)) $((tenths % 10)) "$(echo "$*" | tr '"\\\n' "'' ")" \
        > "$WORK/files/$name.part.json"
    printf '%-12s exit code %3d, %d.%d of %d s\n' "$name" "$rc" $((tenths / 10)) $((tenths % 10)) "$limit"
    "$PYTHON" benchmarks/proof_table.py "$WORK/files" > /dev/null
    archive
}

bench() {  # NAME SECONDS PROGRAM ARGUMENTS...: a program of benchmarks/ that writes its figures with --json
    local name=$1 limit=$2 program=$3
    shift 3
    part "$name" "$limit" "$PYTHON" "benchmarks/$program.py" "$@" --json "$WORK/files/$name.json"
}

packs() {  # SECONDS PACK...
    local limit=$1
    shift
    part packs "$limit" bash -c 'for pack in "${@:3}"; do
        "$0" -m eruv_dali.prepare "$1" --out "$2/$pack" --pack "$pack" --device cpu || exit 1
    done' "$PYTHON" "$VIDEOS" "$DATA" "$@"
}

gpu_tests() {  # the files with tests of the GPU, cheap ones first
    local cheap=(tests/shots/test_hog.py tests/loader/test_clip_transform.py tests/shots/test_difference_curves.py
                 tests/evaluate/test_search.py tests/video/test_decode.py)
    { printf '%s\n' "${cheap[@]}"; grep -rlE 'mark\.gpu' tests --include='test_*.py' | sort; } | awk '!seen[$0]++'
}

run_A() {
    bench machine 30 machine
    part doctor 55 "$PYTHON" -m eruv_dali.doctor
    packs 35 raw jpeg video none
    mapfile -t files < <(gpu_tests)
    part tests 160 "${TEST[@]}" -m gpu --junitxml="$WORK/files/tests.xml" "${files[@]}"
    bench nvdec_video 25 raw_nvdec --data "$DATA/video" --device "$DEVICE" "${NVDEC_VIDEO[@]}"
    bench nvdec_none 30 raw_nvdec --data "$DATA/none" --device "$DEVICE" "${NVDEC_NONE[@]}"
    bench loading 140 loading --data "$DATA/raw" "$DATA/jpeg" "$DATA/video" "$DATA/none" --device "$DEVICE" "${LOADING[@]}"
    bench prepare 45 prepare_check --videos "$VIDEOS" --device "$DEVICE" "${CHECK[@]}"
    # One test of HOG and one of the operator; what the other parts left of the time is added to the limit.
    part sanitizer $((TOTAL - SECONDS > 50 ? TOTAL - SECONDS : 50)) "${SANITIZER[@]}" "${TEST[@]}" -m gpu \
        -k "test_gpu_frames_need_the_gpu_device or test_gpu_single_frames_and_builtin or (test_gpu_matches_host and 8-8)" \
        tests/shots/test_hog.py tests/loader/test_clip_transform.py
}

run_B() {
    bench machine 30 machine
    part doctor 55 "$PYTHON" -m eruv_dali.doctor  # builds the operators, so that no other part's time holds that
    packs 25 raw jpeg
    bench step_c3d 150 train_step --data "$DATA/raw" --device "$DEVICE" --backbone c3d "${STEP[@]}"
    bench step_r3d 100 train_step --data "$DATA/raw" --device "$DEVICE" --backbone r3d "${STEP[@]}"
    bench pretrain 150 pretrain_wait --data "$DATA/jpeg" "$DATA/raw" --device "$DEVICE" \
        --cached "$WORK/files/step_c3d.json" "${PRETRAIN[@]}"
    bench hog 20 hog_speed --device "$DEVICE"
    bench transform 40 clip_transform --device "$DEVICE" "${TRANSFORM[@]}"
}

(while sleep $ARCHIVE_EVERY; do archive; done) &
archiver=$!
"run_$RUN"
kill $archiver
wait $archiver 2> /dev/null
rm -f "$OUT/proof_$RUN.aside."*
"$PYTHON" benchmarks/proof_table.py "$WORK/files"
rc=$?
archive
rm -rf "$WORK"
exit $rc
