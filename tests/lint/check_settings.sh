#!/bin/sh
# An option that no code reads is a lie. (That each is documented, and stands in the sample with its
# default, is a unit test: tests/unit/config/test_sample.c.)
cd "$(dirname "$0")/../.." || exit 2
bad=0
for row in $(sed -nE 's/^HM_SETTING\(([a-z]+), ([a-z_0-9]+), ([A-Z]+),.*/\1.\2.\3/p' engine/tbl/settings.h); do
	section=${row%%.*}
	rest=${row#*.}
	key=${rest%.*}
	field=$key
	[ "${rest#*.}" = DURATION ] && field=${key}_ms
	grep -rqE "(\.|->)$section\.$field\\b" engine bench --include='*.c' --include='*.h' --exclude-dir=config --exclude-dir=tbl && continue
	echo "tbl/settings.h: nothing reads $section.$key (field $section.$field)" >&2
	bad=1
done
exit $bad
