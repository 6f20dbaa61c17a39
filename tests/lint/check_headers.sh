#!/bin/sh
# Headers are the manual: each begins with a comment that says what it is, has an include guard unless
# it is a table of rows. Every folder of the engine has a README.
cd "$(dirname "$0")/../.." || exit 2
bad=0
complain() { echo "$@" >&2; bad=1; }
for h in $(find engine -name '*.h' ! -path 'engine/tbl/*'); do
	[ "$(head -c 2 "$h")" = "/*" ] || complain "$h: does not begin with a comment that says what it is"
	# A table of facts is meant to be included again and again: rows only, no guard.
	if sed -e ':a' -e 's|/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/||g' -e '/\/\*/{N;ba' -e '}' "$h" | grep -qE '^(struct|enum|union|static|typedef|#include) '; then
		guards=$(grep -cE '^#ifndef HM_[A-Z0-9_]+_H$' "$h")
		[ "$guards" = 1 ] || complain "$h: has no include guard HM_..._H"
	fi
done
twice=$(grep -rhoE '^#ifndef HM_[A-Z0-9_]+_H$' engine --include='*.h' | sort | uniq -d)
[ -z "$twice" ] || complain "two headers share a guard: $twice"
for dir in engine/*/; do
	[ -f "$dir/README.md" ] || complain "$dir: has no README.md"
done
exit $bad
