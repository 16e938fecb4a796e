#!/bin/sh
# 100,000 nodes, ten times as many as 10,000, take about ten times as long (cli/run_large_graphs.sh; this is its slow tier).
exec sh "$(dirname "$0")/run_large_graphs.sh" "$1" 100000
