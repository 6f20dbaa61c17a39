#!/bin/sh
# Every object's magic is its own: two structs that share one would pass each other's HM_CHECK.
cd "$(dirname "$0")/../.." || exit 2
found=$(grep -rhoE '#define[[:space:]]+HM_[A-Z0-9_]*_MAGIC[[:space:]]+0x[0-9a-fA-F]+' engine bench --include='*.h' --include='*.c')
if [ -z "$found" ]; then
	echo "check_magics: found no magics at all; has the naming changed?" >&2
	exit 1
fi
twice=$(echo "$found" | awk '{ v = tolower($3); n[v]++; who[v] = who[v] " " $2 } END { for (v in n) if (n[v] > 1) print v who[v] }')
if [ -n "$twice" ]; then
	echo "magics used twice:" >&2
	echo "$twice" >&2
	exit 1
fi
# 0xdeadbeef means "was freed" (base/obj.h).
if echo "$found" | grep -qi 0xdeadbeef; then
	echo "a magic has the value of a freed object" >&2
	exit 1
fi
