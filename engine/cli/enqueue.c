/*
 * enqueue.c - hermod enqueue
 *
 *   file -> lines.c -> checked -> packer -> chunks -> Redis, up to WINDOW of them unanswered
 *
 * A chunk is added by a script that leaves a mark under the chunk's id for a while: when
 * the connection breaks between command and answer, the chunk is sent again and cannot
 * end up in the queue twice.
 */
#include "cli/enqueue.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "cli/lines.h"
#include "cli/queue_link.h"
#include "ingest/job_encode.h"

#define WINDOW	    64
#define RETRY_MS    200
#define GIVE_UP_MS  60000    /* without any chunk taken */
#define MARK_MS	    "300000" /* longer than a chunk is retried */
#define PROGRESS_MS 100

static const char usage[] =
	"usage: hermod enqueue FILE|- [options]\n\n"
	"Puts messages from a file into the queue: JSON Lines (a message per line, as POST\n"
	"/v1/messages takes it) or CSV with a header row (to, user, locale, tz, addr.<medium>,\n"
	"data.<name>[:number|bool|json], and any key of a message).\n\n"
	"What a line leaves out comes from:\n"
	"  --channel C  --route R  --template T  --lane critical|high|normal|bulk\n"
	"  --campaign X  --category X  --tenant X  --tag T  --at TIME  --expires TIME  --dedupe X\n"
	"  --at-local 2026-12-01T09:00  --local-past now|skip|next_day  --over 2h\n\n"
	"  --format jsonl|csv  when the name does not end in .jsonl, .ndjson or .csv\n"
	"  --rate N            at most N messages per second\n"
	"  --rejects FILE      refused records go there, with line and reason\n"
	"  --no-progress       no progress bar\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

static struct hm_redis_script add_once = {
	.name = "enqueue-once",
	.source = "if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then\n"
		  "  return redis.call('XADD', KEYS[2], '*', 'j', ARGV[2])\n"
		  "end\n"
		  "return false\n",
};

struct run {
	struct hm_conf_args conf;
	const char *redis, *file, *format, *rate_text, *rejects_path;
	bool no_progress;
	uint64_t rate;
	struct hm_queue_link q;
	struct hm_lines lines;
	msgpack_zone zone;
	struct hm_packer *packer;
	FILE *in, *rejects;
	uint64_t size; /* of the file, 0 = unknown */
	/* counts, in messages */
	uint64_t read, queued, refused, lost, entries;
	uint32_t pending;
	struct hm_list waiting; /* chunks to send again */
	uint64_t started_ns, last_shown_ns;
	uint64_t failing_ns; /* since when no chunk is taken, 0 = all is well */
	struct hm_err queue_err;
	bool gave_up, bar;
	struct hm_buf defaults; /* msgpack of the values */
};
struct chunk {
	struct hm_node node;
	struct run *r;
	struct hm_ulid id;
	enum hm_lane lane;
	uint32_t n;
	size_t len;
	char entry[];
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

/* -- progress ------------------------------------------------------------------------ */

static void show(struct run *r, bool last)
{
	uint64_t now = hm_clock_mono_ns(), ms = (now - r->started_ns) / 1000000;
	unsigned long long per_s = ms ? r->queued * 1000 / ms : 0;
	char bar[31];

	if (!r->bar || (!last && now - r->last_shown_ns < PROGRESS_MS * UINT64_C(1000000)))
		return;
	r->last_shown_ns = now;
	if (r->size) {
		unsigned percent = (unsigned)hm_min(r->lines.bytes * 100 / r->size, (uint64_t)100);
		unsigned full = percent * (unsigned)(sizeof(bar) - 1) / 100;

		memset(bar, '.', sizeof(bar) - 1);
		memset(bar, '#', full);
		bar[sizeof(bar) - 1] = '\0';
		fprintf(stderr, "\r[%s] %3u%%  %llu queued  %llu/s  %llu refused ", bar, percent,
			(unsigned long long)r->queued, per_s, (unsigned long long)r->refused);
	} else {
		fprintf(stderr, "\r%llu queued  %llu/s  %llu refused ", (unsigned long long)r->queued, per_s,
			(unsigned long long)r->refused);
	}
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

/* -- chunks to Redis ------------------------------------------------------------------ */

static void chunk_send(struct chunk *c);

static void on_added(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct chunk *c = arg;
	struct run *r = c->r;

	if (err) {
		/* Away, lost, full: all pass, and the mark makes a repeat harmless. */
		r->queue_err = *err;
		if (!r->failing_ns)
			r->failing_ns = hm_clock_mono_ns();
		hm_list_push(&r->waiting, &c->node);
		return;
	}
	r->pending--;
	r->queued += c->n;
	r->entries++;
	r->failing_ns = 0;
	free(c);
}

static void chunk_send(struct chunk *c)
{
	const struct hm_settings *st = &c->r->q.cfg->settings;
	uint32_t p = hm_job_partition(&c->id, (uint32_t)st->queue.partitions);
	char mark[120], stream[120], what[40], text[HM_ULID_TEXT + 1];
	struct hm_str keys[2], args[2];

	hm_ulid_text(&c->id, text);
	(void)snprintf(what, sizeof(what), "once:%s", text);
	keys[0] = hm_str_n(mark, hm_job_key(st->queue.prefix, p, what, mark, sizeof(mark)));
	keys[1] = hm_str_n(stream, hm_job_stream_key(st->queue.prefix, p, c->lane, stream, sizeof(stream)));
	args[0] = HM_STR(MARK_MS);
	args[1] = hm_str_n(c->entry, c->len);
	hm_redis_eval(c->r->q.redis, &add_once, keys, 2, args, 2, on_added, c);
}

static void on_packed(void *arg, const struct hm_packed *p)
{
	struct run *r = arg;
	struct chunk *c = malloc(sizeof(*c) + p->entry.len);

	if (!c || !p->entry.p) {
		free(c);
		r->lost += p->n;
		hm_err_set(&r->queue_err, HM_ENOMEM, "out of memory");
		return;
	}
	memset(c, 0, sizeof(*c));
	c->r = r;
	c->id = p->id;
	c->lane = p->lane;
	c->n = p->n;
	c->len = p->entry.len;
	memcpy(c->entry, p->entry.p, p->entry.len);
	r->pending++;
	chunk_send(c);
}

/* Lets the loop run until at most `most` chunks are unanswered. */
static void settle(struct run *r, uint32_t most)
{
	while (r->pending > most && !r->gave_up) {
		hm_queue_turn(&r->q);
		show(r, false);
		if (!r->waiting.len)
			continue;
		if (interrupted ||
		    (r->failing_ns && hm_clock_mono_ns() - r->failing_ns > GIVE_UP_MS * UINT64_C(1000000))) {
			r->gave_up = true;
			break;
		}
		if (hm_redis_up(r->q.redis)) {
			uint64_t until = hm_clock_mono_ns() + RETRY_MS * UINT64_C(1000000);
			struct hm_list again;

			while (hm_clock_mono_ns() < until)
				hm_queue_turn(&r->q);
			hm_list_init(&again);
			hm_list_splice(&again, &r->waiting);
			for (struct hm_node *n; (n = hm_list_pop(&again)) != NULL;)
				chunk_send(hm_container_of(n, struct chunk, node));
		}
	}
}

/* Holds the rate: waits until `read` messages are due. */
static void pace(struct run *r)
{
	uint64_t due_ns;

	if (r->rate == 0)
		return;
	due_ns = r->started_ns + r->read * UINT64_C(1000000000) / r->rate;
	if (hm_clock_mono_ns() + 50000000 >= due_ns)
		return;
	hm_packer_flush(r->packer);
	while (hm_clock_mono_ns() < due_ns && !interrupted) {
		hm_queue_turn(&r->q);
		show(r, false);
	}
}

/* -- the file --------------------------------------------------------------------------- */

static void on_placed(void *arg, const struct hm_packed_at *at)
{
}

static int check_names(struct run *r, const struct hm_job_spec *s, struct hm_err *e)
{
	const struct hm_config *cfg = r->q.cfg;

	/* Without channels in the configuration it is not the engine's: nothing can be said. */
	if (cfg->n_channels == 0)
		return 0;
	if (s->channel.len && !hm_config_channel(cfg, s->channel)) {
		hm_err_set(e, HM_EINVAL, "channel: there is no channel \"%.*s\" in %s", HM_STRF(s->channel),
			   cfg->file);
		hm_err_field(e, "channel");
	} else if (s->route.len && !hm_config_route(cfg, s->route)) {
		hm_err_set(e, HM_EINVAL, "route: there is no route \"%.*s\" in %s", HM_STRF(s->route),
			   cfg->file);
		hm_err_field(e, "route");
	}
	return e->code;
}

static int read_all(struct run *r)
{
	struct hm_job_spec spec;
	msgpack_object root;
	struct hm_err e;
	int rc;

	while (!interrupted && !r->gave_up) {
		rc = hm_lines_next(&r->lines, &r->zone, &root, &e);
		if (rc == 0)
			return 0;
		if (rc == HM_EIO) {
			clear_bar(r);
			fprintf(stderr, "hermod: %s: %s\n", r->file, e.text);
			return 1;
		}
		if (rc == 1)
			rc = hm_job_read_message(&root, &spec, &e);
		if (rc == 0)
			rc = check_names(r, &spec, &e);
		if (rc == 0)
			rc = hm_packer_put(r->packer, &spec, hm_clock_wall_ms(), on_placed, r, &e);
		if (rc < 0)
			refuse(r, &e);
		else
			r->read += spec.n_rcpts;
		if (r->pending >= WINDOW)
			settle(r, WINDOW / 2);
		pace(r);
		show(r, false);
	}
	return 0;
}

/* -- arguments -------------------------------------------------------------------------- */

static int parse(struct run *r, int argc, char **argv, struct hm_lines_default *d, size_t *n_d)
{
	static const char *const keys[] = {"channel",  "route",	     "template", "lane",    "campaign",
					   "category", "tenant",     "at",	 "expires", "dedupe",
					   "at_local", "local_past", "over"};
	const char *values[hm_countof(keys)] = {0}, *tags[HM_JOB_MAX_TAGS], *v;
	size_t n_tags = 0, offs[HM_LINES_DEFAULTS + 1];
	bool bad = false;

	hm_conf_args_init(&r->conf);
	for (int i = 1; i < argc && !bad; i++) {
		bool taken = hm_conf_args_take(&r->conf, argc, argv, &i, &bad) ||
			     hm_option_take("--redis", &r->redis, argc, argv, &i, &bad) ||
			     hm_option_take("--format", &r->format, argc, argv, &i, &bad) ||
			     hm_option_take("--rate", &r->rate_text, argc, argv, &i, &bad) ||
			     hm_option_take("--rejects", &r->rejects_path, argc, argv, &i, &bad);

		for (size_t k = 0; k < hm_countof(keys) && !taken; k++) {
			char name[32];

			(void)snprintf(name, sizeof(name), "--%s", keys[k]);
			for (char *c = name; *c; c++)
				if (*c == '_')
					*c = '-';
			taken = hm_option_take(name, &values[k], argc, argv, &i, &bad);
		}
		if (taken)
			continue;
		if (hm_option_take("--tag", &v, argc, argv, &i, &bad)) {
			if (!bad && n_tags == HM_JOB_MAX_TAGS) {
				fprintf(stderr, "hermod: a message has at most %d tags\n", HM_JOB_MAX_TAGS);
				bad = true;
			} else if (!bad) {
				tags[n_tags++] = v;
			}
		} else if (strcmp(argv[i], "--no-progress") == 0) {
			r->no_progress = true;
		} else if ((argv[i][0] != '-' || strcmp(argv[i], "-") == 0) && !r->file) {
			r->file = argv[i];
		} else {
			fprintf(stderr,
				"hermod: enqueue does not know \"%s\"; hermod enqueue --help lists its "
				"options\n",
				argv[i]);
			bad = true;
		}
	}
	if (bad)
		return 2;
	if (!r->file) {
		fprintf(stderr, "hermod: enqueue needs a file (or - for standard input)\n");
		return 2;
	}
	if (r->rate_text && (!hm_str_u64(hm_str_c(r->rate_text), &r->rate) || r->rate == 0)) {
		fprintf(stderr, "hermod: --rate must be a number of messages per second\n");
		return 2;
	}
	/* The values as msgpack, in one buffer that no longer moves when the defaults point into it. */
	hm_buf_init(&r->defaults, 1u << 16);
	*n_d = 0;
	for (size_t k = 0; k < hm_countof(keys); k++) {
		uint64_t ms;

		if (!values[k])
			continue;
		d[*n_d].key = hm_str_c(keys[k]);
		offs[(*n_d)++] = r->defaults.len;
		if ((strcmp(keys[k], "at") == 0 || strcmp(keys[k], "expires") == 0) &&
		    hm_str_u64(hm_str_c(values[k]), &ms))
			hm_mp_put_u64(&r->defaults, ms);
		else
			hm_mp_put_str(&r->defaults, hm_str_c(values[k]));
	}
	if (n_tags) {
		d[*n_d].key = HM_STR("tags");
		offs[(*n_d)++] = r->defaults.len;
		hm_mp_put_array(&r->defaults, (uint32_t)n_tags);
		for (size_t k = 0; k < n_tags; k++)
			hm_mp_put_str(&r->defaults, hm_str_c(tags[k]));
	}
	offs[*n_d] = r->defaults.len;
	for (size_t k = 0; k < *n_d; k++)
		d[k].value = hm_str_n(r->defaults.p + offs[k], offs[k + 1] - offs[k]);
	return r->defaults.err ? 1 : 0;
}

static int format_of(const struct run *r, enum hm_lines_format *f)
{
	struct hm_str name = hm_str_c(r->file);

	if (r->format) {
		if (strcmp(r->format, "csv") == 0)
			*f = HM_LINES_CSV;
		else if (strcmp(r->format, "jsonl") == 0 || strcmp(r->format, "ndjson") == 0)
			*f = HM_LINES_JSON;
		else {
			fprintf(stderr, "hermod: --format must be jsonl or csv\n");
			return 2;
		}
		return 0;
	}
	*f = hm_str_ends(name, HM_STR(".csv")) ? HM_LINES_CSV : HM_LINES_JSON;
	return 0;
}

static int open_files(struct run *r, enum hm_lines_format f, const struct hm_lines_default *d, size_t n_d)
{
	struct stat st;
	struct hm_err e;

	if (strcmp(r->file, "-") == 0) {
		r->in = stdin;
		r->file = "stdin";
	} else {
		r->in = fopen(r->file, "re");
	}
	if (!r->in || fstat(fileno(r->in), &st) || S_ISDIR(st.st_mode)) {
		fprintf(stderr, "hermod: cannot read %s: %s\n", r->file,
			r->in ? "it is a folder" : strerror(errno));
		return 1;
	}
	if (S_ISREG(st.st_mode))
		r->size = (uint64_t)st.st_size;
	if (r->rejects_path) {
		r->rejects = fopen(r->rejects_path, "we");
		if (!r->rejects) {
			fprintf(stderr, "hermod: cannot write %s: %s\n", r->rejects_path, strerror(errno));
			return 1;
		}
	}
	hm_err_clear(&e);
	if (hm_lines_open(&r->lines, r->in, f, &e)) {
		fprintf(stderr, "%s:%llu: %s\n", r->file,
			(unsigned long long)hm_max(r->lines.line, (uint64_t)1), e.text);
		return 1;
	}
	memcpy(r->lines.defaults, d, n_d * sizeof(*d));
	r->lines.n_defaults = n_d;
	return 0;
}

static int summary(struct run *r, int rc)
{
	double s = (double)(hm_clock_mono_ns() - r->started_ns) / 1e9;

	for (struct hm_node *n; (n = hm_list_pop(&r->waiting)) != NULL;) {
		struct chunk *c = hm_container_of(n, struct chunk, node);

		r->lost += c->n;
		free(c);
	}
	show(r, true);
	printf("%llu queued in %llu entries, %llu refused, %.1f s", (unsigned long long)r->queued,
	       (unsigned long long)r->entries, (unsigned long long)r->refused, s);
	if (r->lost)
		printf(", %llu not queued", (unsigned long long)r->lost);
	printf("\n");
	if (r->lost)
		fprintf(stderr, "hermod: the queue did not take %llu messages: %s\n",
			(unsigned long long)r->lost, r->queue_err.text);
	if (interrupted)
		fprintf(stderr,
			"hermod: interrupted; what was read before line %llu is accounted for above\n",
			(unsigned long long)r->lines.next_line);
	return rc || r->refused || r->lost || interrupted ? 1 : 0;
}

int hm_cli_enqueue(int argc, char **argv)
{
	struct hm_lines_default defaults[HM_LINES_DEFAULTS];
	enum hm_lines_format format;
	struct hm_packer_opts po = {.max_held_bytes = 8u << 20, .emit = on_packed};
	static struct run run;
	struct run *r = &run;
	size_t n_defaults = 0;
	int rc;

	memset(r, 0, sizeof(*r));
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(usage, stdout);
			return 0;
		}
	rc = parse(r, argc, argv, defaults, &n_defaults);
	if (rc == 0)
		rc = format_of(r, &format);
	if (rc)
		goto out_args;
	hm_list_init(&r->waiting);
	rc = open_files(r, format, defaults, n_defaults);
	if (rc)
		goto out_files;
	if (hm_queue_open(&r->q, &r->conf, r->redis)) {
		rc = 1;
		goto out_files;
	}
	po.max_rcpts = (uint32_t)r->q.cfg->settings.queue.max_chunk;
	po.max_entry_bytes = hm_min((size_t)r->q.cfg->settings.queue.max_entry_bytes, (size_t)(1u << 20));
	po.arg = r;
	r->packer = hm_packer_new(&po);
	if (!r->packer || !msgpack_zone_init(&r->zone, 64u << 10)) {
		fprintf(stderr, "hermod: out of memory\n");
		rc = 1;
		goto out;
	}
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	r->bar = !r->no_progress && isatty(STDERR_FILENO);
	r->started_ns = hm_clock_mono_ns();
	rc = read_all(r);
	hm_packer_flush(r->packer);
	settle(r, 0);
	msgpack_zone_destroy(&r->zone);
out:
	hm_packer_free(r->packer);
	hm_queue_close(&r->q); /* commands still unanswered fail now and join r->waiting */
	if (r->started_ns)
		rc = summary(r, rc);
out_files:
	hm_lines_close(&r->lines);
	if (r->in && r->in != stdin)
		(void)fclose(r->in);
	if (r->rejects && fclose(r->rejects)) {
		fprintf(stderr, "hermod: cannot write %s: %s\n", r->rejects_path, strerror(errno));
		rc = 1;
	}
out_args:
	hm_buf_fini(&r->defaults);
	return rc;
}
