#!/usr/bin/env bash
# Run everything that needs a GPU, most important first: bash benchmarks/gpu_all.sh [FOLDER]
#
# Each part writes its results to FOLDER (default runs/gpu) as soon as it has them. The script ends after LIMIT seconds
# (default 520). Started again with the same FOLDER, it skips finished parts and resumes the trainings. Needs torch,
# timm, Lightning and Triton, but no internet; a part whose packages or data are missing says so and ends.
# The trainings read DATA (default runs/gpu_data), with the folders CamVid, super_resolution (T91, BSDS200, Set5) and
# mini_imagenet (or mini_imagenet.tar.gz, from `make gpu-data`); those without their folder are left out.
# `make gpu-dry` runs all parts on a CPU, the kernels in Triton's interpreter, with small networks and inputs.
set -u
cd "$(dirname "$0")/.." || exit
out=${1:-runs/gpu}
data=${DATA:-runs/gpu_data}
limit=${LIMIT:-520}
dry=${DRY:-}
mkdir -p "$out"
export PYTHONPATH=src:benchmarks PYTHONUNBUFFERED=1 TORCHINDUCTOR_COMPILE_THREADS=4
python=${PYTHON:-python3}
failed=0

part() { # NAME SECONDS COMMAND...: run a part once, within its limit and the script's
    local name=$1 seconds=$2 left=$((limit - SECONDS))
    shift 2
    [ -e "$out/$name.done" ] && return
    ((left < 15)) && { echo "== $name: no time left"; return; }
    seconds=$((seconds < left && !${dry:-0} ? seconds : left))
    echo "== $name (at most $seconds s, from second $SECONDS)"
    if timeout -s INT -k 10 "$seconds" "$@" >"$out/$name.log" 2>&1; then
        touch "$out/$name.done"
    else
        echo "   stopped with $?: $out/$name.log"
        failed=1
    fi
    grep -vi warn "$out/$name.log" | tail -n "${LINES_SHOWN:-14}" | cut -c1-200
}

benchmark() { # NAME SECONDS FILE OPTION...: a part that is a file of benchmarks/
    local name=$1 seconds=$2 file=$3
    shift 3
    part "$name" "$seconds" "$python" "benchmarks/$file.py" --out "$out/$name" "$@"
}

train() { # NAME SECONDS RECIPE OPTION...: a training that resumes
    local name=$1 seconds=$2 recipe=$3
    shift 3
    part "$name" "$seconds" "$python" -m metamixer fit --config "recipes/$recipe.yaml" --out "$out/$name" \
        --resume auto --trainer.enable_progress_bar false "$@"
}

if [ -e "$data/mini_imagenet.tar.gz" ] && [ ! -d "$data/mini_imagenet" ]; then
    mkdir -p "$data/unpacked" && tar -xzf "$data/mini_imagenet.tar.gz" -C "$data/unpacked" &&
        mv "$data/unpacked" "$data/mini_imagenet" # whole, if the script is stopped here
fi

if [ -n "$dry" ]; then
    device=cpu size=32 batch=2 ours=ffnet_nano others=(ffnet_nano test_convnext) quick=(--quick)
    rounds=(--rounds 1 --warmup 1)
    best=("timm's loop, fp32" "metamixer fit")
    all=("${best[@]}" "metamixer fit, kernels, bf16-mixed")
    choices=("metamixer fit, channels-last" "metamixer fit, NCHW, bf16-mixed")
    fitting=(--trainer.accelerator cpu --trainer.precision 32 --trainer.max_epochs 1 --data.num_workers 0
        --trainer.limit_train_batches 1 --trainer.limit_val_batches 1 --data.batch_size 2)
    zero=(recipes/forecasting/ffnet_ts_zero.yaml --minutes 0.02 --device cpu)
else
    device=cuda size=224 batch=128 ours=ffnet_1 quick=()
    others=(ffnet_1 ffnet_2 ffnet_3 convnext_tiny caformer_s18 fastvit_sa12 repvit_m1_5)
    rounds=(--rounds 9 --warmup 4)
    best=("timm's loop, bf16, compiled" "metamixer fit, compile: true, bf16-mixed")
    all=("plain PyTorch, fp32" "timm's loop, fp32" "metamixer fit" "${best[@]}"
        "metamixer fit --trainer.precision bf16-mixed" "metamixer fit, kernels, bf16-mixed"
        "metamixer fit, kernels, compile: true, bf16-mixed")
    choices=("metamixer fit" "metamixer fit, channels-last" "metamixer fit --trainer.precision bf16-mixed"
        "metamixer fit, NCHW, bf16-mixed" "metamixer fit, benchmark: true, bf16-mixed"
        "metamixer fit, compile: true, bf16-mixed" "metamixer fit, compile: reduce-overhead, bf16-mixed")
    fitting=()
    zero=(recipes/forecasting/ffnet_ts_zero_gpu.yaml --minutes 6 --device cuda)
fi
kernels() { TRITON_INTERPRET=${dry:+1} benchmark "$@" --device "$device"; }

benchmark equality 60 gpu --parts equality --device "$device" "${quick[@]}"
kernels kernels 100 kernels --shapes 3 --seconds 85
[ -e "$out/kernels.json" ] && export METAMIXER_KERNELS_TABLE="$out/kernels.json" # launched as measured from now on
METAMIXER_KERNELS=always kernels token_mixer 100 token_mixer --shapes 2 --rounds 5
benchmark training_ffnet_1 110 training_step --device "$device" --model "$ours" --size "$size" --batch "$batch" \
    "${rounds[@]}" --only "${all[@]}"
benchmark training_all 150 training_step --device "$device" --model "${others[@]}" --size "$size" --batch "$batch" \
    "${rounds[@]}" --only "${best[@]}"
benchmark inference 90 gpu --parts images --device "$device" "${quick[@]}"
benchmark points 40 gpu --parts points --device "$device" "${quick[@]}"
benchmark training_choices 70 training_step --device "$device" --model "$ours" --size "$size" --batch "$batch" \
    "${rounds[@]}" --only "${choices[@]}"
[ -d "$data/CamVid" ] && train camvid 300 segmentation/camvid_gpu --data.root "$data/CamVid" "${fitting[@]}"
[ -d "$data/super_resolution" ] && train sr_light 300 super_resolution/291_images_light_x2 \
    --data.root "$data/super_resolution" "${fitting[@]}"
[ -d "$data/mini_imagenet" ] && train mini_imagenet 480 classification/mini_imagenet_gpu \
    --data.root "$data/mini_imagenet" "${fitting[@]}"
part zero_shot 380 "$python" -m metamixer.training.zero_shot "${zero[@]}" --out "$out/zero_shot" --checkpoint-seconds 20
exit $failed
