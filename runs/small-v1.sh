#!/usr/bin/env bash
# The bundled weights, version 1, from nothing: renders, trainings, export, measurement. Eight hours on two cores.
# Run it in an empty folder with `stablenormal` and `torchrun` on the path; every step resumes where it stopped.
# bash REPO/runs/small-v1.sh REPO [PAIRS]     PAIRS: a folder of NAME_rgb.jpg and NAME_normal.png, measured only
set -euo pipefail
repo=$(realpath "$1")
pairs=${2:-}
export OMP_NUM_THREADS=1
stablenormal synth -o shards/heldout-2 --count 512 --seed 900002 --size 256 --workers 2
stablenormal synth -o shards/v1 --count 16384 --seed 101 --size 256 --workers 2
stablenormal synth -o shards/one --count 6144 --seed 1 --size 256 --workers 2
[ -f corpus/heldout-2/corpus.json ] || stablenormal pack shards/heldout-2 -o corpus/heldout-2 --count 512
[ -f corpus/train-2-128/corpus.json ] ||
  stablenormal pack shards/v1 shards/one -o corpus/train-2-128 --count 22528 --size 128
stablenormal synth -o shards/v2 --count 12288 --seed 103 --size 192 --workers 2
[ -f corpus/train-3/corpus.json ] || stablenormal pack shards/v2 -o corpus/train-3 --count 12288
stablenormal synth -o shards/v3 --count 6144 --seed 104 --size 192 --workers 2
# The released run packed 9 600 of seed 103 and 6 144 of seed 104.
[ -f corpus/train-4/corpus.json ] || stablenormal pack shards/v2 shards/v3 -o corpus/train-4 --count 15744
train() { # PART CONFIG RUN
  torchrun --standalone --nproc-per-node 2 -m stablenormal train "$1" "$repo/configs/small-v1/$2.yaml" -o "models/$3"
}
train autoencoder autoencoder ae-1
train angular angular angular-3
train semantic semantic semantic-3
train angular angular-4 angular-4 # a fresh, wider image encoder
train angular angular-5 angular-5 # 128 px, whole maps decoded
train refiner refiner-4 refiner-4
train refiner refiner-5 refiner-5 # lower rate, larger windows decoded
train angular angular-6 angular-6 # other scenes, 128 px; began from refiner-5's model as float16, as bundled then
train angular angular-7 angular-7 # 160 px
[ -d models/carried-6 ] ||
  python "$repo/runs/carry_over.py" models/refiner-5/model models/angular-7/model models/carried-6
train refiner refiner-6 refiner-6 # 160 px, whole maps decoded, edges count double
train refiner refiner-7 refiner-7 # edges count five times
train angular angular-8 angular-8 # more scenes; began from refiner-7's model as float16, as bundled then
[ -d models/carried-8 ] ||
  python "$repo/runs/carry_over.py" models/refiner-7/model models/angular-8/model models/carried-8
train refiner refiner-8 refiner-8 # more coarse maps, for `enhance`
python "$repo/runs/export.py" models/refiner-8/model small
python "$repo/runs/choose.py" small --heldout corpus/heldout-2 --sizes 144 160 176 192 224 --t-plus 11 101 --steps 1 2 -o small-v1-choice.json
python "$repo/runs/measure.py" --model small --heldout corpus/heldout-2 ${pairs:+--pairs "$pairs"} -o small-v1.json
