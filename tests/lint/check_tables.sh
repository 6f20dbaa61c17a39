#!/bin/sh
# The tables of facts: fault names sorted and placed, counters and histograms counted somewhere, error codes
# unique, every row of every table used by something.
cd "$(dirname "$0")/../.." || exit 2
bad=0
complain() { echo "$@" >&2; bad=1; }

# names TABLE MACRO: the first argument of each row
names() { sed -nE "s/^$2\\(([A-Za-z0-9_]+),.*/\\1/p" "engine/tbl/$1"; }

faults=$(names faults.h HM_FAULT)
[ "$faults" = "$(echo "$faults" | LC_ALL=C sort -u)" ] || complain "tbl/faults.h is not sorted, or a name stands there twice"

codes=$(sed -nE 's/^HM_ERR\([A-Z]+, (-[0-9]+),.*/\1/p' engine/tbl/errors.h)
[ -z "$(echo "$codes" | sort | uniq -d)" ] || complain "tbl/errors.h gives one code twice"

# used PREFIX FILE MACRO: each row is named by code outside the table
used() {
	for name in $(names "$2" "$3"); do
		grep -rqwE "$1$name" engine bench --include='*.c' --include='*.h' --exclude-dir=tbl ||
			complain "tbl/$2: nothing in the program uses $1$name"
	done
}
used HM_FAULT_ faults.h HM_FAULT
used HM_CT_ counters.h HM_COUNTER
used HM_HG_ histograms.h HM_HISTOGRAM
used FACT_CT_ fact_counters.h HM_FACT_COUNTER
# Log parts appear inside the macros: HM_INFO(REDIS, ...).
for sub in $(names log_subs.h HM_SUB); do
	grep -rqE "HM_(ERROR|WARN|INFO|DEBUG|TRACE|LOG)\\($sub," engine --include='*.c' || complain "tbl/log_subs.h: nothing logs as $sub"
done

# A metric appears once.
twice=$(sed -nE 's/^HM_(COUNTER|HISTOGRAM|FACT_COUNTER)\([A-Z0-9_]+, "([a-z0-9_]+)".*/\2/p' engine/tbl/counters.h engine/tbl/histograms.h engine/tbl/fact_counters.h | sort | uniq -d)
[ -z "$twice" ] || complain "metrics named twice: $twice"
exit $bad
