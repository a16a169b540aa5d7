#!/usr/bin/env bash
# Run everything that needs a GPU, most important first, in at most nine minutes: bash benchmarks/gpu_all.sh [FOLDER]
# Each part writes its results to FOLDER (default runs/gpu). Finished parts are not run again, so a stopped run resumes.
# Needs torch, timm, Lightning and Triton, but no internet. A part whose packages are missing says so and ends.
set -u
cd "$(dirname "$0")/.." || exit
out=${1:-runs/gpu}
mkdir -p "$out"
export PYTHONPATH=src:benchmarks PYTHONUNBUFFERED=1
python=${PYTHON:-python3}

part() { # NAME SECONDS COMMAND...: run a part once, with a limit
    local name=$1 limit=$2
    shift 2
    [ -e "$out/$name.done" ] && return
    echo "== $name (at most $limit s)"
    if timeout "$limit" "$@" >"$out/$name.log" 2>&1; then touch "$out/$name.done"; else echo "   stopped with $?: $out/$name.log"; fi
    grep -vi warn "$out/$name.log" | tail -n 12 | cut -c1-200
}

part token_mixer 100 "$python" benchmarks/token_mixer.py --shapes 2 --rounds 5 --out "$out/token_mixer"
part kernels 110 "$python" benchmarks/kernels.py --shapes 4 --seconds 90 --out "$out/kernels"
part training_ffnet_1 120 "$python" benchmarks/training_step.py --device cuda --batch 128 --warmup 5 --rounds 10 --out "$out/training_ffnet_1"
part equality_points_images 90 "$python" benchmarks/gpu.py
part forecaster 130 "$python" -m metamixer.training.zero_shot recipes/forecasting/ffnet_ts_zero_gpu.yaml \
    --out "$out/zero_shot" --minutes 1.9 --device cuda --checkpoint-seconds 20
