/*
 * suppressions_export.c - hermod suppressions export
 *
 * Page by page, so in little memory. A file is written beside its name and put in place when it is whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/suppressions_int.h"

struct run {
	FILE *out;
	bool csv;
	struct hm_buf line;
	uint64_t n;
};

static bool put_entry(void *arg, const struct hm_suppress_entry *x)
{
	struct run *r = arg;

	hm_buf_reset(&r->line);
	if (r->csv) {
		hm_suppress_put_csv(x, &r->line);
	} else {
		hm_suppress_put_json(x, &r->line);
		hm_buf_putc(&r->line, '\n');
	}
	r->n++;
	return fwrite(r->line.p, 1, r->line.len, r->out) == r->line.len;
}

static int format_of(const struct scli_args *a, bool *csv_r)
{
	*csv_r = a->file && hm_str_ends(hm_str_c(a->file), HM_STR(".csv"));
	if (a->format == NULL)
		return 0;
	*csv_r = strcmp(a->format, "csv") == 0;
	if (*csv_r || strcmp(a->format, "jsonl") == 0 || strcmp(a->format, "ndjson") == 0)
		return 0;
	fprintf(stderr, "hermod: --format must be csv or jsonl\n");
	return 2;
}

static int cannot_write(const char *file)
{
	fprintf(stderr, "hermod: cannot write %s: %s\n", file, strerror(errno));
	return 1;
}

int scli_export(const struct scli_args *a)
{
	bool to_file = a->file && strcmp(a->file, "-") != 0;
	char part[4096];
	struct hm_suppress_filter f;
	struct run r = {.out = stdout};
	struct hm_err e;
	struct scli c;
	int rc = scli_filter(a, &f);

	if (rc || (rc = format_of(a, &r.csv)) != 0 || (rc = scli_open(&c, a)) != 0)
		return rc;
	hm_buf_init(&r.line, 64u << 10);
	if (to_file) {
		(void)snprintf(part, sizeof(part), "%.4000s.part", a->file);
		r.out = fopen(part, "we");
		if (r.out == NULL) {
			rc = cannot_write(part);
			goto out;
		}
	}
	if (r.csv) {
		hm_suppress_put_csv_head(&r.line);
		(void)fwrite(r.line.p, 1, r.line.len, r.out);
	}
	if (scli_walk(&c, &f, 5000, put_entry, &r, &e))
		rc = scli_failed(&e);
	if (fflush(r.out) != 0 || ferror(r.out) != 0)
		rc = cannot_write(to_file ? part : "standard output");
	if (to_file && (fclose(r.out) != 0 || (rc == 0 && rename(part, a->file) != 0)))
		rc = cannot_write(a->file);
	if (rc && to_file)
		(void)unlink(part);
	if (rc == 0)
		fprintf(stderr, "%llu entries\n", (unsigned long long)r.n);
out:
	hm_buf_fini(&r.line);
	scli_close(&c);
	return rc;
}
