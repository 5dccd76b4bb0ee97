#!/usr/bin/env bash
# Ten minutes on a machine with one large GPU and many cores: renders on all cores, trains on what is there by
# then, and leaves the model in files under 16 MB, from which a machine without a GPU goes on.
#
#   bash runs/gpu.sh BASE OUT [ASSETS [PREPARED]]
#
# BASE      what the training begins from: a model folder, or dinov2:FOLDER (runs/dinov2_from_wheel.py)
# OUT       gets model.tar.00, model.tar.01, ... and the logs; `cat model.tar.* | tar x` gives the model folder
# ASSETS    furniture for the rooms, as `stablenormal synth --assets` takes it; PREPARED its --asset-cache
# Wheels that the machine lacks are installed from WHEELS (a folder) into a folder of the work alone.
#
# Seconds and sizes are variables, so that a minute on a CPU shows whether everything is in place:
#   RENDER_SECONDS=20 TRAIN_SECONDS=20 SIZE=64 TRAIN_SIZE=56 BATCH=2 WORKERS=2 LOADERS=1 HELDOUT=4 bash runs/gpu.sh ...
# A later run with the same WORK and another SEED renders more and trains on all of it.
set -euo pipefail
repo=$(realpath "$(dirname "$0")/..")
base=$1 out=$2 assets=${3:-} prepared=${4:-}
work=${WORK:-$PWD/gpu-work} python=${PYTHON:-python3} seed=${SEED:-1001}
render_seconds=${RENDER_SECONDS:-200} train_seconds=${TRAIN_SECONDS:-260}
size=${SIZE:-384} train_size=${TRAIN_SIZE:-336} batch=${BATCH:-64} shard_size=${SHARD_SIZE:-16}
workers=${WORKERS:-$(nproc)} loaders=${LOADERS:-12} heldout=${HELDOUT:-64}
mkdir -p "$work" "$out"
export PYTHONPATH="$repo/src${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
if [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --target "$work/site" "$WHEELS"/*.whl
  export PYTHONPATH="$PYTHONPATH:$work/site"
fi
stablenormal() { "$python" -m stablenormal "$@"; }
for_seconds() { # SECONDS COMMAND...: stopped by the clock is as good as finished
  local code=0
  timeout --signal=TERM --kill-after=30 "$@" || code=$?
  case $code in 0 | 124 | 130 | 143) ;; *) echo "gpu.sh: $2 $3 $4 $5 failed with exit code $code" >&2; return "$code" ;; esac
}

if [ ! -f "$work/heldout/corpus.json" ]; then
  stablenormal synth -o "$work/shards-heldout" --count "$heldout" --seed 900002 --size "$size" \
    --shard-size "$(((heldout + workers - 1) / workers))" --workers "$workers"
  stablenormal pack "$work/shards-heldout" -o "$work/heldout" --count "$heldout"
fi
for_seconds "$render_seconds" "$python" -m stablenormal synth -o "$work/shards-$seed" --count 1000000 \
  --seed "$seed" --size "$size" --shard-size "$shard_size" --workers "$workers" \
  ${assets:+--assets "$assets"} ${prepared:+--asset-cache "$prepared"} 2>&1 | tee "$out/render.log"
folders=("$work"/shards-[0-9]*) shards=("$work"/shards-[0-9]*/*.tar)
if [ ! -e "${shards[0]}" ]; then
  echo "gpu.sh: no shard was ready after $render_seconds s; see $out/render.log, or raise RENDER_SECONDS" >&2
  exit 1
fi
images=$((${#shards[@]} * shard_size))
rm -rf "$work/train"
stablenormal pack "${folders[@]}" -o "$work/train" --count "$images"
sed -e "s|BASE|$base|; s|DATA|$work/train|; s|HELDOUT|$work/heldout|; s|size: 336|size: $train_size|" \
  -e "s|batch: 64|batch: $batch|; s|loader_threads: 12|loader_threads: $loaders|" \
  "$repo/configs/small-v2/gpu.yaml" >"$work/gpu-$seed.yaml"
for_seconds "$train_seconds" "$python" -m stablenormal train angular "$work/gpu-$seed.yaml" \
  -o "$work/run-$seed" 2>&1 | tee "$out/train.log"
rm -rf "$work/model" "$out"/model.tar.*
"$python" "$repo/runs/from_checkpoint.py" "$work/run-$seed" "$work/model" --float16
cp "$work/run-$seed/log.jsonl" "$out/" 2>/dev/null || true
tar c -C "$work" model | split --bytes=15000000 --numeric-suffixes - "$out/model.tar."
echo "gpu.sh: $images images rendered in all; $(ls "$out"/model.tar.* | wc -l) files of the model in $out"
