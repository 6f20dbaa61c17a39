/*
 * suppressions_import.c - hermod suppressions import
 *
 *   file -> lines.c -> checked -> chunks of BATCH -> Redis, up to WINDOW of them unanswered
 *
 * A chunk keeps its entries until Redis has answered; one that failed is sent again, which changes nothing twice. So an
 * import that was interrupted is simply started again.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "cli/suppressions_int.h"

#define BATCH	    4000
#define WINDOW	    4
#define RETRY_MS    200
#define GIVE_UP_MS  60000 /* without any chunk taken */
#define PROGRESS_MS 100

struct run;
struct chunk {
	struct hm_node node; /* run.idle or run.waiting; on none while Redis has it, or while it is filled */
	struct run *r;
	struct hm_arena arena;
	size_t n;
	struct hm_suppress_entry v[BATCH];
};
struct run {
	struct scli c;
	const struct scli_args *a;
	struct hm_lines lines;
	struct hm_buf defaults; /* msgpack of the values */
	msgpack_zone zone;
	const char *file;
	FILE *in, *rejects;
	uint64_t size; /* of the file, 0 = unknown */
	struct chunk *chunks[WINDOW], *filling;
	struct hm_list idle, waiting;
	uint32_t pending; /* given to Redis or waiting for it */
	uint64_t read, stored, changed, refused;
	uint64_t started_ns, last_shown_ns, failing_ns;
	struct hm_err redis_err;
	bool bar, gave_up;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

/* -- progress --------------------------------------------------------------------------------------------- */

static void show(struct run *r, bool last)
{
	uint64_t now = hm_clock_mono_ns(), ms = (now - r->started_ns) / 1000000;
	unsigned long long per_s = ms ? r->stored * 1000 / ms : 0;

	if (!r->bar || (!last && now - r->last_shown_ns < PROGRESS_MS * UINT64_C(1000000)))
		return;
	r->last_shown_ns = now;
	fputc('\r', stderr);
	if (r->size)
		fprintf(stderr, "%3u%%  ", (unsigned)hm_min(r->lines.bytes * 100 / r->size, (uint64_t)100));
	fprintf(stderr, "%llu done  %llu/s  %llu refused ", (unsigned long long)r->stored, per_s,
		(unsigned long long)r->refused);
	if (last)
		fputc('\n', stderr);
}

static void clear_bar(struct run *r)
{
	if (r->bar && r->last_shown_ns)
		fprintf(stderr, "\r\033[K");
}

static void refuse(struct run *r, const struct hm_err *e)
{
	r->refused++;
	hm_lines_refused(&r->lines, r->file, r->refused, r->bar && r->last_shown_ns, r->rejects, e);
}

/* -- chunks to Redis ----------------------------------------------------------------------------------------- */

static void chunk_send(struct chunk *c);

static void on_stored(void *arg, size_t changed, const struct hm_err *err)
{
	struct chunk *c = arg;
	struct run *r = c->r;

	r->changed += changed; /* also of one that failed in part: the repeat does not count those again */
	if (err) {
		r->redis_err = *err;
		if (!r->failing_ns)
			r->failing_ns = hm_clock_mono_ns();
		hm_list_push(&r->waiting, &c->node);
		return;
	}
	r->failing_ns = 0;
	r->pending--;
	r->stored += c->n;
	c->n = 0;
	hm_arena_reset(&c->arena);
	hm_list_push(&r->idle, &c->node);
}

static void chunk_send(struct chunk *c)
{
	struct run *r = c->r;

	hm_tick_refresh(&r->c.q.tick); /* reading may have taken longer than a command may */
	(r->a->remove ? hm_suppress_remove : hm_suppress_add)(r->c.q.redis, r->c.prefix, hm_clock_wall_ms(),
							      c->v, c->n, on_stored, c);
}

/* Lets the loop run until at most `most` chunks are unanswered. */
static void settle(struct run *r, uint32_t most)
{
	while (r->pending > most && !r->gave_up) {
		struct hm_list again;
		uint64_t until;

		hm_queue_turn(&r->c.q);
		show(r, false);
		if (!r->waiting.len)
			continue;
		if (interrupted ||
		    (r->failing_ns && hm_clock_mono_ns() - r->failing_ns > GIVE_UP_MS * UINT64_C(1000000))) {
			r->gave_up = true;
			break;
		}
		if (!hm_redis_up(r->c.q.redis))
			continue;
		until = hm_clock_mono_ns() + RETRY_MS * UINT64_C(1000000);
		while (hm_clock_mono_ns() < until)
			hm_queue_turn(&r->c.q);
		hm_list_init(&again);
		hm_list_splice(&again, &r->waiting);
		for (struct hm_node *n; (n = hm_list_pop(&again)) != NULL;)
			chunk_send(hm_container_of(n, struct chunk, node));
	}
}

static void flush(struct run *r)
{
	struct chunk *c = r->filling;

	if (c == NULL || c->n == 0)
		return;
	r->filling = NULL;
	r->pending++;
	chunk_send(c);
}

/* The one to fill; NULL: it was given up. */
static struct chunk *filling(struct run *r)
{
	struct hm_node *n;

	if (r->filling)
		return r->filling;
	if (hm_list_empty(&r->idle))
		settle(r, WINDOW - 1);
	n = hm_list_pop(&r->idle);
	r->filling = n ? hm_container_of(n, struct chunk, node) : NULL;
	return r->filling;
}

static bool keep(struct run *r, const struct hm_suppress_entry *x)
{
	struct chunk *c = filling(r);
	struct hm_str *texts[5];
	struct hm_suppress_entry *to;

	if (c == NULL)
		return false;
	to = &c->v[c->n];
	*to = *x;
	if (to->by.len == 0)
		to->by = hm_str_c(r->c.by);
	texts[0] = &to->subject;
	texts[1] = &to->category;
	texts[2] = &to->reason;
	texts[3] = &to->proof;
	texts[4] = &to->by;
	for (size_t i = 0; i < hm_countof(texts); i++)
		if (texts[i]->len && (*texts[i] = hm_arena_str(&c->arena, *texts[i])).p == NULL)
			hm_panic(__FILE__, __LINE__, __func__, "out of memory");
	if (++c->n == BATCH)
		flush(r);
	return true;
}

/* -- the file ------------------------------------------------------------------------------------------------------ */

static int read_all(struct run *r)
{
	uint64_t now_ms = hm_clock_wall_ms(); /* of all lines without a time: the import is one event */

	while (!interrupted && !r->gave_up) {
		struct hm_suppress_entry x;
		struct hm_err e;
		msgpack_object root;
		int rc = hm_lines_next(&r->lines, &r->zone, &root, &e);

		if (rc == 0)
			return 0;
		if (rc == HM_EIO) {
			clear_bar(r);
			fprintf(stderr, "hermod: %s: %s\n", r->file, e.text);
			return 1;
		}
		r->read++;
		if (rc == 1)
			rc = hm_suppress_read(&root, r->a->consents, r->a->remove, now_ms, &x, &e);
		if (rc < 0)
			refuse(r, &e);
		else if (!keep(r, &x))
			break;
		show(r, false);
	}
	return 0;
}

static int format_of(const struct run *r, enum hm_lines_format *f)
{
	struct hm_str name = hm_str_c(r->file);
	const char *word = r->a->format;

	if (word == NULL)
		word = hm_str_ends(name, HM_STR(".csv"))   ? "csv"
		       : hm_str_ends(name, HM_STR(".txt")) ? "txt"
							   : "jsonl";
	if (strcmp(word, "csv") == 0)
		*f = HM_LINES_CSV;
	else if (strcmp(word, "txt") == 0)
		*f = HM_LINES_PLAIN;
	else if (strcmp(word, "jsonl") == 0 || strcmp(word, "ndjson") == 0)
		*f = HM_LINES_JSON;
	else {
		fprintf(stderr, "hermod: --format must be csv, jsonl or txt\n");
		return 2;
	}
	return 0;
}

/* What the options say of every line that does not say it itself; checked once here, before the file is. */
static int defaults(struct run *r)
{
	size_t offs[SCLI_KEYS + 1], n = 0;
	struct hm_suppress_filter f;

	if (r->a->value[SCLI_ADDRESS] || r->a->value[SCLI_USER]) {
		fprintf(stderr, "hermod: import takes addresses and users from the file\n");
		return 2;
	}
	if (scli_filter(r->a, &f))
		return 2;
	hm_buf_init(&r->defaults, 64u << 10);
	for (size_t k = 0; k < SCLI_KEYS; k++)
		if (r->a->value[k]) {
			offs[n] = r->defaults.len;
			r->lines.defaults[n++].key = hm_str_c(hm_suppress_keys[k]);
			hm_mp_put_str(&r->defaults, hm_str_c(r->a->value[k]));
		}
	offs[n] = r->defaults.len;
	for (size_t k = 0; k < n; k++)
		r->lines.defaults[k].value = hm_str_n(r->defaults.p + offs[k], offs[k + 1] - offs[k]);
	r->lines.n_defaults = n;
	return r->defaults.err ? 1 : 0;
}

static int open_files(struct run *r)
{
	const char *key = r->a->kind && strcmp(r->a->kind, "user") == 0 ? "user" : "address";
	enum hm_lines_format format;
	struct stat st;
	struct hm_err e = {0};

	if (!r->file) {
		fprintf(stderr, "hermod: suppressions import needs a file (or - for standard input)\n");
		return 2;
	}
	if (format_of(r, &format))
		return 2;
	r->in = strcmp(r->file, "-") == 0 ? stdin : fopen(r->file, "re");
	if (r->in == stdin)
		r->file = "stdin";
	if (!r->in || fstat(fileno(r->in), &st) || S_ISDIR(st.st_mode)) {
		fprintf(stderr, "hermod: cannot read %s: %s\n", r->file,
			r->in ? "it is a folder" : strerror(errno));
		return 1;
	}
	if (S_ISREG(st.st_mode))
		r->size = (uint64_t)st.st_size;
	if (r->a->rejects && (r->rejects = fopen(r->a->rejects, "we")) == NULL) {
		fprintf(stderr, "hermod: cannot write %s: %s\n", r->a->rejects, strerror(errno));
		return 1;
	}
	if (hm_lines_open_flat(&r->lines, r->in, format, hm_suppress_keys, key, &e)) {
		fprintf(stderr, "%s:%llu: %s\n", r->file,
			(unsigned long long)hm_max(r->lines.line, (uint64_t)1), e.text);
		return 1;
	}
	return defaults(r);
}

static int summary(struct run *r, int rc)
{
	double s = (double)(hm_clock_mono_ns() - r->started_ns) / 1e9;
	uint64_t lost = r->read - r->refused - r->stored;

	show(r, true);
	printf("%llu read, %llu %s, %llu unchanged, %llu refused, %.1f s\n", (unsigned long long)r->read,
	       (unsigned long long)r->changed, r->a->remove ? "removed" : "added",
	       (unsigned long long)(r->stored > r->changed ? r->stored - r->changed : 0),
	       (unsigned long long)r->refused, s);
	if (lost)
		fprintf(stderr, "hermod: %llu entries were not confirmed%s%s; run the same command again\n",
			(unsigned long long)lost, r->redis_err.code ? ": " : "", r->redis_err.text);
	if (interrupted)
		fprintf(stderr, "hermod: interrupted before line %llu; run the same command again\n",
			(unsigned long long)r->lines.next_line);
	return rc || r->refused || lost || interrupted ? 1 : 0;
}

static int chunks_new(struct run *r)
{
	hm_list_init(&r->idle);
	hm_list_init(&r->waiting);
	for (size_t i = 0; i < WINDOW; i++) {
		struct chunk *c = r->chunks[i] = calloc(1, sizeof(*c));

		if (c == NULL) {
			fprintf(stderr, "hermod: out of memory\n");
			return 1;
		}
		c->r = r;
		hm_arena_init(&c->arena, NULL, 0);
		hm_list_push(&r->idle, &c->node);
	}
	return 0;
}

int scli_import(const struct scli_args *a)
{
	static struct run run;
	struct run *r = &run;
	int rc;

	memset(r, 0, sizeof(*r));
	r->a = a;
	r->file = a->file;
	rc = open_files(r);
	if (rc == 0)
		rc = chunks_new(r);
	if (rc == 0)
		rc = scli_open(&r->c, a);
	if (rc)
		goto out;
	if (!msgpack_zone_init(&r->zone, 64u << 10))
		hm_panic(__FILE__, __LINE__, __func__, "out of memory");
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	r->bar = !a->no_progress && isatty(STDERR_FILENO);
	r->started_ns = hm_clock_mono_ns();
	rc = read_all(r);
	flush(r);
	settle(r, 0);
	msgpack_zone_destroy(&r->zone);
	scli_close(&r->c); /* what is still unanswered fails now */
	rc = summary(r, rc);
out:
	for (size_t i = 0; i < WINDOW; i++)
		if (r->chunks[i]) {
			hm_arena_fini(&r->chunks[i]->arena);
			free(r->chunks[i]);
		}
	hm_lines_close(&r->lines);
	hm_buf_fini(&r->defaults);
	if (r->in && r->in != stdin)
		(void)fclose(r->in);
	if (r->rejects && fclose(r->rejects)) {
		fprintf(stderr, "hermod: cannot write %s: %s\n", a->rejects, strerror(errno));
		rc = 1;
	}
	return rc;
}
