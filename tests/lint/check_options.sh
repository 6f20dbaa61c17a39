#!/bin/sh
# The manual's tables of standard options and the adapters speak of the same ones.
cd "$(dirname "$0")/../.." || exit 2
bad=0
used=$(sed 's/^ *#.*//' adapters/*/*.yaml | grep -oE '\boptions\.[a-z_]+' | sed 's/.*\.//' | sort -u)
told=$(sed '1,/^## What a message offers/d' adapters/README.md | sed -nE 's/^\| (`[^|]*) \|.*/\1/p' | grep -oE '[a-z_]+' | sort -u)
for o in $used; do
	echo "$told" | grep -qx "$o" && continue
	echo "adapters/README.md: an adapter uses options.$o, and no table of standard options names it" >&2
	bad=1
done
for o in $told; do
	echo "$used" | grep -qx "$o" && continue
	echo "adapters/README.md: names the option $o, and no adapter uses it" >&2
	bad=1
done
exit $bad
