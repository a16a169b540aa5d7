#!/usr/bin/env bash
# Everything that needs a GPU, in order of worth, in at most nine minutes: bash benchmarks/gpu_all.sh [FOLDER]
# Results lie in FOLDER (runs/gpu) after each part; what is there is not run again, so it goes on where it was stopped.
# Needs nothing from the network: torch, timm, Lightning and Triton; parts whose packages are missing say so and end.
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
