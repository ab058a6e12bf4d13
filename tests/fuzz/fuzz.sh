#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A fuzzer of libanykvm's for half a minute, from its corpus: fuzz.sh FUZZER CORPUS [OPTION]...
# What it finds is left in the present directory; to see it again, give that file to the fuzzer.
set -eu
fuzzer=$1
corpus=$2
shift 2
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
"$fuzzer" -max_total_time=25 -timeout=20 -rss_limit_mb=2000 -max_len=1000 -len_control=0 \
	-verbosity=0 "$@" "$new" "$corpus"
