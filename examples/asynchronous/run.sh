#!/bin/sh
# Four participants and two updates a round, so no round waits for the slowest. An update that is
# `staleness` versions behind counts (1 + staleness)^-0.5 as much as a fresh one; one that is more
# than 10 versions behind is refused. Arguments are passed to `fanfold local`, such as --seed 1;
# ROUNDS=10 in the environment makes it shorter.
set -eu
exec fanfold local --mode buffered --goal 2 --max-staleness 10 --staleness polynomial:0.5 \
    --participants 4 --rounds "${ROUNDS:-40}" --lr 0.02 --until-accuracy 0.9 \
    --out "${OUT:-runs/asynchronous}" "$@"
