/*
 * schedules.c - recurring schedules from the command line, straight in Redis
 */
#include "cli/schedules.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/queue_link.h"
#include "schedule/schedule.h"

static const char usage[] =
	"usage: hermod schedules list [--json]\n"
	"       hermod schedules show|delete|pause|resume|run NAME\n"
	"       hermod schedules create FILE|-\n\n"
	"Recurring schedules. A document for create is what POST /v1/schedules takes.\n\n"
	"  --json              print JSON\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

enum verb { LIST, SHOW, CREATE, DELETE, PAUSE, RESUME, RUN, VERBS };
static const char *const verbs[VERBS] = {"list", "show", "create", "delete", "pause", "resume", "run"};

struct cmd {
	struct hm_conf_args conf;
	const char *redis, *name, *by;
	bool json;
	enum verb verb;
	struct hm_queue_link q;
	struct hm_arena arena;
	struct hm_err e;
	msgpack_zone zone;
	/* of one question */
	struct hm_schedule s;
	struct hm_str doc;
	uint64_t next_ms, now_ms;
};

static void ask(struct hm_queue_link *q, void *what, hm_reply_fn fn, void *arg)
{
	struct cmd *c = what;
	struct hm_str prefix = q->cfg->settings.queue.prefix, name = hm_str_c(c->name ? c->name : "");

	switch (c->verb) {
	case CREATE:
		hm_schedule_create(q->redis, prefix, c->s.name, c->next_ms, c->doc, c->now_ms,
				   hm_str_c(c->by), fn, arg);
		break;
	case DELETE: hm_schedule_delete(q->redis, prefix, name, fn, arg); break;
	case PAUSE:
	case RESUME: hm_schedule_pause(q->redis, prefix, name, c->next_ms, fn, arg); break;
	default: hm_schedule_list(q->redis, prefix, name, fn, arg); break;
	}
}

static int fail(struct cmd *c)
{
	fprintf(stderr, "hermod: %s\n", c->e.text);
	return 1;
}

static int missing(const struct cmd *c)
{
	fprintf(stderr, "hermod: there is no schedule \"%s\"\n", c->name);
	return 1;
}

static int read_doc(struct cmd *c, struct hm_str json)
{
	struct hm_buf mp;
	msgpack_object root;
	int rc;

	hm_buf_init_arena(&mp, &c->arena, HM_SCHEDULE_DOC_MAX * 2);
	rc = hm_json_to_msgpack(json, &mp, &c->e);
	if (rc == 0)
		rc = hm_msgpack_decode(&c->zone, hm_buf_str(&mp), &root, &c->e);
	if (rc == 0)
		rc = hm_schedule_read(&root, &c->s, &c->e);
	return rc;
}

static int create(struct cmd *c)
{
	FILE *f = strcmp(c->name, "-") == 0 ? stdin : fopen(c->name, "rb");
	struct hm_reply reply;
	struct hm_buf b;
	char piece[4096];
	size_t n;

	if (f == NULL) {
		fprintf(stderr, "hermod: %s cannot be read\n", c->name);
		return 1;
	}
	hm_buf_init_arena(&b, &c->arena, HM_SCHEDULE_DOC_MAX);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
		hm_buf_put(&b, piece, n);
	if (f != stdin)
		fclose(f);
	if (b.err) {
		fprintf(stderr, "hermod: a schedule may have %u bytes\n", HM_SCHEDULE_DOC_MAX);
		return 1;
	}
	c->doc = hm_str_trim(hm_buf_str(&b));
	if (read_doc(c, c->doc))
		return fail(c);
	c->next_ms = hm_schedule_next(&c->s, c->now_ms, c->now_ms);
	if (c->next_ms == HM_SCHEDULE_NEVER) {
		fprintf(stderr, "hermod: until: nothing of it lies ahead\n");
		return 1;
	}
	if (hm_queue_ask(&c->q, ask, c, &c->arena, &reply, &c->e))
		return fail(c);
	if (reply.i == 1) {
		fprintf(stderr, "Schedule %.*s is stored.\n", HM_STRF(c->s.name));
		return 0;
	}
	fprintf(stderr, reply.i == 0 ? "hermod: there is a schedule of this name already\n"
				     : "hermod: there are too many schedules already\n");
	return 1;
}

struct fired {
	bool done;
	struct hm_err err;
};

static void on_fired(void *arg, const struct hm_err *err)
{
	struct fired *f = arg;

	f->done = true;
	if (err)
		f->err = *err;
}

static int with_row(struct cmd *c, const struct hm_reply *row)
{
	struct fired f = {0};
	struct hm_reply reply;
	uint64_t created;
	struct hm_buf b;

	if (c->verb == SHOW) {
		hm_buf_init_arena(&b, &c->arena, HM_SCHEDULE_DOC_MAX * 2);
		hm_schedule_json(row, &b);
		printf("%.*s\n", HM_STRF(hm_buf_str(&b)));
		return 0;
	}
	if (!hm_str_u64(row->v[4].s, &created) || read_doc(c, row->v[2].s))
		return fail(c);
	if (c->verb == RUN) {
		hm_schedule_fire(c->q.redis, c->q.cfg->settings.queue.prefix,
				 (uint32_t)c->q.cfg->settings.queue.partitions, &c->s, row->v[3].s, c->now_ms,
				 on_fired, &f);
		while (!f.done)
			hm_queue_turn(&c->q);
		c->e = f.err;
		return f.err.code ? fail(c) : 0;
	}
	c->next_ms = hm_schedule_next(&c->s, created, c->now_ms);
	return hm_queue_ask(&c->q, ask, c, &c->arena, &reply, &c->e) ? fail(c) : 0;
}

static int work(struct cmd *c)
{
	struct hm_reply reply;
	enum verb verb = c->verb;

	if (verb == CREATE)
		return create(c);
	c->next_ms = HM_SCHEDULE_NEVER;
	if (verb == RESUME) {
		c->verb = SHOW; /* its document first */
		if (hm_queue_ask(&c->q, ask, c, &c->arena, &reply, &c->e))
			return fail(c);
		c->verb = RESUME;
		return reply.n == 0 ? missing(c) : with_row(c, &reply.v[0]);
	}
	if (hm_queue_ask(&c->q, ask, c, &c->arena, &reply, &c->e))
		return fail(c);
	if (verb == DELETE)
		return reply.i == 0 ? missing(c) : 0;
	if (verb == PAUSE)
		return reply.i < 0 ? missing(c) : 0;
	if (verb != LIST)
		return reply.n == 0 ? missing(c) : with_row(c, &reply.v[0]);
	for (size_t i = 0; i < reply.n; i++) {
		const struct hm_reply *row = &reply.v[i];
		struct hm_arena_mark m = hm_arena_mark(&c->arena);
		struct hm_buf b;

		if (!c->json) {
			printf("%-24.*s next %-14.*s runs %.*s%s\n", HM_STRF(row->v[0].s),
			       HM_STRF(row->v[1].s), HM_STRF(row->v[7].s), row->v[6].s.len ? "  paused" : "");
			continue;
		}
		hm_buf_init_arena(&b, &c->arena, HM_SCHEDULE_DOC_MAX * 2);
		hm_schedule_json(row, &b);
		printf("%.*s\n", HM_STRF(hm_buf_str(&b)));
		hm_arena_rewind(&c->arena, m);
	}
	return 0;
}

int hm_cli_schedules(int argc, char **argv)
{
	struct cmd c = {.verb = VERBS};
	char who[HM_QUEUE_WHO_MAX];
	bool bad = false;
	int rc;

	if (argc < 2 || hm_wants_help(argv[1])) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	for (int v = 0; v < VERBS; v++)
		if (strcmp(argv[1], verbs[v]) == 0)
			c.verb = (enum verb)v;
	hm_conf_args_init(&c.conf);
	for (int i = 2; i < argc && !bad; i++) {
		if (hm_conf_args_take(&c.conf, argc, argv, &i, &bad) ||
		    hm_option_take("--redis", &c.redis, argc, argv, &i, &bad))
			continue;
		if (strcmp(argv[i], "--json") == 0)
			c.json = true;
		else if ((argv[i][0] != '-' || argv[i][1] == '\0') && c.name == NULL)
			c.name = argv[i];
		else
			bad = true;
	}
	if (bad || c.verb == VERBS || (c.verb == LIST) != (c.name == NULL)) {
		fputs(usage, stderr);
		return 2;
	}
	if (!msgpack_zone_init(&c.zone, MSGPACK_ZONE_CHUNK_SIZE))
		return 1;
	if (hm_queue_open(&c.q, &c.conf, c.redis)) {
		msgpack_zone_destroy(&c.zone);
		return 1;
	}
	hm_arena_init(&c.arena, NULL, 0);
	hm_queue_who(who);
	c.by = who;
	c.now_ms = hm_clock_wall_ms();
	rc = work(&c);
	hm_arena_fini(&c.arena);
	hm_queue_close(&c.q);
	msgpack_zone_destroy(&c.zone);
	return rc;
}
