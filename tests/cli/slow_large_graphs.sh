#!/bin/sh
# 100,000 nodes, ten times as many as 10,000, take about ten times as long (cli/run_large_graphs.sh; this is its slow tier). Not `split`: a node has at
# most 65,534 outputs.
exec sh "$(dirname "$0")/run_large_graphs.sh" "$1" 100000 predict train slots tables concat sum squares attributes constants outputs
