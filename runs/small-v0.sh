#!/usr/bin/env bash
# The bundled weights, version 0, from nothing: renders, trainings, export, measurement. Two and a half CPU hours.
# At commit 063339b: later the small architecture is lighter and its settings are version 1's.
# Run it in an empty folder with `stablenormal` on the path; every step resumes where it stopped.
# bash REPO/runs/small-v0.sh REPO [PAIRS]     PAIRS: a folder of NAME_rgb.jpg and NAME_normal.png, measured only
set -euo pipefail
repo=$(realpath "$1")
pairs=${2:-}
stablenormal synth -o shards/heldout --count 256 --seed 900001 --size 256 --workers 2
stablenormal synth -o shards/one --count 5120 --seed 1 --size 256 --workers 2
stablenormal synth -o shards/two --count 4864 --seed 2 --size 256 --workers 2
[ -f corpus/heldout/corpus.json ] || stablenormal pack shards/heldout -o corpus/heldout --count 256
[ -f corpus/train/corpus.json ] || stablenormal pack shards/one shards/two -o corpus/train --count 9984
for run in autoencoder autoencoder-2 semantic yoso yoso-2 refiner decoder decoder-2; do
  part=${run%-2}
  stablenormal train "${part/decoder/autoencoder}" "$repo/configs/small-v0/$run.yaml" -o "models/$run"
done
python "$repo/runs/export.py" models/decoder-2/model small
python "$repo/runs/measure.py" --model small --heldout corpus/heldout ${pairs:+--pairs "$pairs"} -o small-v0.json
