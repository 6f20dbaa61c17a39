/*
 * rows.h - the rows of the conformance files
 */
#ifndef TESTS_TMPL_ROWS_H
#define TESTS_TMPL_ROWS_H

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

/* Calls fn for every line of the file that is not empty. */
static inline void each_row(const char *path, void (*fn)(struct hm_str row, void *arg), void *arg)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	assert_non_null(f);
	while ((n = getline(&line, &cap, f)) > 0) {
		struct hm_str row = hm_str_trim(hm_str_n(line, (size_t)n));

		if (row.len)
			fn(row, arg);
	}
	free(line);
	fclose(f);
}

#endif
