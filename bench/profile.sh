#!/usr/bin/env bash
# A profiling session: the server under a scenario with github.com/pkg/profile on, then the top of
# what it measured. Usage: profile.sh BINARY; MODE, SCENARIO, CONNS and DURATION are variables.
set -eu
binary=$1
mode=${MODE:-cpu} scenario=${SCENARIO:-tick} conns=${CONNS:-9000} duration=${DURATION:-10s}
dir=$(mktemp -d "${TMPDIR:-/tmp}/stillpool-profile.XXXXXX")

"$binary" serve --addr 127.0.0.1:0 --profile "$mode" --profile-dir "$dir" >"$dir/server.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
url=
for _ in $(seq 100); do
	url=$(sed -nE 's/.*(http:[^ ]+).*/\1/p' "$dir/server.log" | head -n 1)
	[ -n "$url" ] && break
	sleep 0.05
done
[ -n "$url" ] || { cat "$dir/server.log" >&2; exit 1; }
addr=${url#http://}

"$binary" bench "$scenario" --addr "${addr%/}" --conns "$conns" --duration "$duration" --pid $server
kill $server
wait $server || true
trap - EXIT

file=$(find "$dir" -type f ! -name server.log | head -n 1)
echo
if [ "$mode" = trace ]; then
	echo "Look at it with: go tool trace $file"
	exit
fi
go tool pprof -top -nodecount=25 "$binary" "$file" 2>/dev/null
if command -v dot >/dev/null; then
	go tool pprof -svg -output "$dir/graph.svg" "$binary" "$file" >/dev/null 2>&1 && echo "Call graph: $dir/graph.svg"
fi
echo "Profile: $file  (flame graph: go tool pprof -http localhost:0 $binary $file)"
