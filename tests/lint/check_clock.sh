#!/bin/sh
# Time comes from base/clock.h only, or tests could not move it.
cd "$(dirname "$0")/../.." || exit 2
calls='(^|[^A-Za-z0-9_])(time|gettimeofday|clock_gettime|timespec_get|uv_hrtime|uv_now|uv_clock_gettime)[(]'
found=$(find engine -name '*.[ch]' ! -path 'engine/base/clock.*' -exec awk -v calls="$calls" '
	{ line = $0; gsub(/"([^"\\]|\\.)*"/, "\"\"", line); sub(/\/\/.*/, "", line); gsub(/\/\*.*(\*\/|$)/, "", line) }
	line ~ /^[ \t]*\*/ { next }
	line ~ calls { print FILENAME ":" FNR ": " $0 }' {} +)
if [ -n "$found" ]; then
	echo "the time is asked for outside base/clock.c:" >&2
	echo "$found" >&2
	exit 1
fi
