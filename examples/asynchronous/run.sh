#!/bin/sh
# Four participants, two updates a round: nobody waits for the slowest. An update that is
# `staleness` versions behind counts (1 + staleness)^-0.5 as much as a fresh one, and beyond 10
# versions it is refused. More arguments go to `fanfold local`, such as --rounds 10 or --json.
set -eu
exec fanfold local --mode buffered --goal 2 --max-staleness 10 --staleness polynomial:0.5 \
    --participants 4 --rounds 40 --lr 0.02 --until-accuracy 0.9 --out runs/asynchronous "$@"
