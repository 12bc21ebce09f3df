#!/usr/bin/env bash
# From a bare checkout to an agent that follows sentences, in ten minutes on two cores: makes .venv, trains on BabyAI for
# five minutes, evaluates, and says where everything is. Arguments go to `dynalang train` (but for --run-dir): every call
# trains a new agent in a run folder of its own. An earlier one goes on with `dynalang train --resume`.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_venv.sh

setup_venv babyai
run=runs/quickstart
for ((n = 2; ; n++)); do
    [ -e "$run" ] || break
    run=runs/quickstart-$n
done
dynalang train babyai --minutes 5 --run-dir "$run" "$@"
dynalang eval "$run" --episodes 100 || [ $? = 130 ] # Ctrl-C: the table so far will do

cat <<END

What it made, in $run:
  pictures/learning_curve.png   success in training and evaluation, against the random policy
  pictures/episodes.gif         evaluation episodes, with the sentence under the frame
  pictures/open_loop.gif        truth | prediction | difference, with true and predicted tokens
  metrics.jsonl                 every number, one row per line
  events/                       the same for TensorBoard

To go on:
  source .venv/bin/activate
  tensorboard --logdir runs
  dynalang eval $run --env.language shuffled
END
