#!/bin/sh
# Every mistake of run_planted.sh is made small.
sh "$(dirname "$0")/run_planted.sh" "$1" --reduce-all
