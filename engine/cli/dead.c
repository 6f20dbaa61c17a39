/*
 * dead.c - dead letters from the command line, straight in Redis
 *
 * The engine need not run: what is replayed stands in its lane until one does.
 */
#include "cli/dead.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "cli/ledger_args.h"
#include "cli/queue_link.h"
#include "ingest/dead_letter.h"
#include "ingest/job_encode.h"

#define LIST_DEFAULT 100
#define SHOWN_MAX    20 /* letters refused that are named; all are counted */
#define MESSAGE_MAX  (16u << 20)
#define GROUPS_MAX   10000

#define FILTERS                                                                               \
	"  --reason TEXT       whose reason holds this text\n"                                \
	"  --outcome O         of the last attempt: provider_down, bad_request ... or none\n" \
	"  --campaign C, --channel X, --category C, --tenant T, --lane L\n"                   \
	"  --since T, --until T   when they became letters: 2h (ago), RFC 3339, or ms of Unix time\n"
#define TARGETS                                                                         \
	"  --via CHANNEL       through this channel instead\n"                          \
	"  --via-route ROUTE   or by this route\n"                                      \
	"  --in-lane LANE      in this lane instead\n"                                  \
	"  --renew             also what names an expiry that has passed, without it\n" \
	"  --dry-run           only say what would be done\n"                           \
	"  --rate N            at most N messages per second\n"

static const char usage[] =
	"usage: hermod dead list [filters] [--limit N] [--json]\n"
	"       hermod dead show ID\n"
	"       hermod dead count [--by WHAT] [filters] [--json]\n"
	"       hermod dead replay ID... | --all | filters  [options]\n"
	"       hermod dead drop   ID... | --all | filters  [--dry-run]\n\n"
	"Dead letters: messages that failed for good, and entries that are no messages. A replay sends\n"
	"a letter as a new message with a new id; the letter goes in the same step.\n\n" FILTERS
	"  --limit N           at most N (list: 100; 0 = all)\n"
	"  --by WHAT           reason, outcome, channel, route, campaign, category, tenant, lane or "
	"node\n" TARGETS "  --message FILE      replay: this message (JSON; -: standard input) instead of "
	"what the letter holds\n"
	"  --json              JSON instead of a table\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

static const char campaigns_usage[] =
	"usage: hermod campaigns resend-failed NAME [options]\n\n"
	"Sends again what failed of a campaign, each as a new message (hermod dead replay --campaign "
	"NAME).\n\n" TARGETS "  --limit N           at most N\n"
	"  --json              JSON instead of a sentence\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

struct group {
	struct hm_str name;
	uint64_t n;
};

struct cli {
	struct hm_conf_args conf;
	const char *redis, *limit, *rate, *by, *since, *until, *via, *via_route, *in_lane, *message;
	const char *filter[7];
	struct hm_str *ids;
	size_t n_ids;
	bool json, all, dry_run, renew;
	struct hm_queue_link q;
	struct hm_arena arena;
	struct hm_buf buf;
	struct hm_dead_opts o;
	struct hm_dead_totals t;
	struct hm_err err;
	bool done, show;
	size_t shown;
	struct group *groups;
	size_t n_groups, cap_groups;
};

static const char *const filter_names[] = {"--reason",	 "--outcome", "--campaign", "--channel",
					   "--category", "--tenant",  "--lane"};

/* -- arguments ------------------------------------------------------------------------------------------ */

static int parse(struct cli *c, const char *command, int argc, char **argv, int first)
{
	bool bad = false;

	hm_conf_args_init(&c->conf);
	c->ids = calloc((size_t)argc + 1, sizeof(*c->ids));
	if (c->ids == NULL)
		return 1;
	for (int i = first; i < argc && !bad; i++) {
		bool taken = hm_conf_args_take(&c->conf, argc, argv, &i, &bad) ||
			     hm_option_take("--redis", &c->redis, argc, argv, &i, &bad) ||
			     hm_option_take("--limit", &c->limit, argc, argv, &i, &bad) ||
			     hm_option_take("--rate", &c->rate, argc, argv, &i, &bad) ||
			     hm_option_take("--by", &c->by, argc, argv, &i, &bad) ||
			     hm_option_take("--since", &c->since, argc, argv, &i, &bad) ||
			     hm_option_take("--until", &c->until, argc, argv, &i, &bad) ||
			     hm_option_take("--via", &c->via, argc, argv, &i, &bad) ||
			     hm_option_take("--via-route", &c->via_route, argc, argv, &i, &bad) ||
			     hm_option_take("--in-lane", &c->in_lane, argc, argv, &i, &bad) ||
			     hm_option_take("--message", &c->message, argc, argv, &i, &bad);

		for (size_t f = 0; f < hm_countof(filter_names) && !taken; f++)
			taken = hm_option_take(filter_names[f], &c->filter[f], argc, argv, &i, &bad);
		if (taken)
			continue;
		if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else if (strcmp(argv[i], "--all") == 0)
			c->all = true;
		else if (strcmp(argv[i], "--dry-run") == 0)
			c->dry_run = true;
		else if (strcmp(argv[i], "--renew") == 0)
			c->renew = true;
		else if (argv[i][0] != '-')
			c->ids[c->n_ids++] = hm_str_c(argv[i]);
		else {
			fprintf(stderr, "hermod: %s does not know \"%s\"; hermod %s --help shows its use\n",
				command, argv[i], command);
			bad = true;
		}
	}
	return bad ? 2 : 0;
}

/* 2h (ago), RFC 3339, milliseconds. */
static int read_time(const char *option, const char *text, uint64_t *ms_r)
{
	uint64_t ago;

	if (text == NULL || hm_clock_parse_rfc3339(hm_str_c(text), ms_r))
		return 0;
	if (hm_str_u64(hm_str_c(text), ms_r) && *ms_r > 100000000000)
		return 0;
	if (hm_str_duration_ms(hm_str_c(text), &ago) && ago < hm_clock_wall_ms()) {
		*ms_r = hm_clock_wall_ms() - ago;
		return 0;
	}
	fprintf(stderr, "hermod: %s must be 2h (ago), RFC 3339, or milliseconds of Unix time\n", option);
	return 2;
}

static int read_number(const char *option, const char *text, uint64_t *v_r)
{
	if (text == NULL || hm_str_u64(hm_str_c(text), v_r))
		return 0;
	fprintf(stderr, "hermod: %s must be a number\n", option);
	return 2;
}

static struct hm_str given(const char *s)
{
	return s ? hm_str_c(s) : HM_STR_NULL;
}

static int options(struct cli *c)
{
	struct hm_dead_filter *f = &c->o.filter;
	struct hm_str *const at[] = {&f->reason,   &f->outcome, &f->campaign, &f->channel,
				     &f->category, &f->tenant,	&f->lane};
	uint64_t rate = 0;

	for (size_t i = 0; i < hm_countof(at); i++)
		*at[i] = given(c->filter[i]);
	c->o.channel = given(c->via);
	c->o.route = given(c->via_route);
	c->o.lane = given(c->in_lane);
	c->o.renew = c->renew;
	c->o.dry_run = c->dry_run;
	if (read_time("--since", c->since, &f->since_ms) || read_time("--until", c->until, &f->until_ms) ||
	    read_number("--limit", c->limit, &c->o.limit) || read_number("--rate", c->rate, &rate))
		return 2;
	c->o.rate = (uint32_t)hm_min(rate, (uint64_t)10000000);
	if ((f->lane.len && hm_lane_find(f->lane) < 0) || (c->o.lane.len && hm_lane_find(c->o.lane) < 0)) {
		fprintf(stderr, "hermod: lanes are critical, high, normal and bulk\n");
		return 2;
	}
	if (f->outcome.len && !hm_str_is(f->outcome, "none") && hm_outcome_find(f->outcome) < 0) {
		fprintf(stderr, "hermod: there is no outcome \"%.*s\"; outcomes are", HM_STRF(f->outcome));
		for (int o = 0; o < HM_OUT_COUNT; o++)
			fprintf(stderr, " %s", hm_outcome_name((enum hm_outcome)o));
		fprintf(stderr, " none\n");
		return 2;
	}
	if (c->via && c->via_route) {
		fprintf(stderr, "hermod: give --via or --via-route, not both\n");
		return 2;
	}
	return 0;
}

static bool filtered(const struct cli *c)
{
	bool any = c->since || c->until;

	for (size_t i = 0; i < hm_countof(c->filter); i++)
		any |= c->filter[i] != NULL;
	return any;
}

/* Exactly one way to choose. */
static int chosen(const struct cli *c, const char *what)
{
	if ((c->n_ids > 0) + c->all + filtered(c) == 1)
		return 0;
	fprintf(stderr, "hermod: dead %s needs ids, a filter, or --all%s\n", what,
		c->n_ids > 0 || c->all || filtered(c) ? ", and only one of them" : "");
	return 2;
}

static int check_target(const struct cli *c)
{
	const struct hm_config *cfg = c->q.cfg;

	if (cfg->n_channels == 0) /* not the engine's configuration: nothing can be said */
		return 0;
	if (c->via && !hm_config_channel(cfg, hm_str_c(c->via))) {
		fprintf(stderr, "hermod: there is no channel \"%s\" in %s\n", c->via, cfg->file);
		return 2;
	}
	if (c->via_route && !hm_config_route(cfg, hm_str_c(c->via_route))) {
		fprintf(stderr, "hermod: there is no route \"%s\" in %s\n", c->via_route, cfg->file);
		return 2;
	}
	return 0;
}

/* -- a run -------------------------------------------------------------------------------------------- */

static void on_end(void *arg, const struct hm_dead_totals *t, const struct hm_err *err)
{
	struct cli *c = arg;

	c->done = true;
	c->t = *t;
	if (err)
		c->err = *err;
}

static int open_link(struct cli *c)
{
	if (hm_queue_open(&c->q, &c->conf, c->redis))
		return 1;
	hm_arena_init(&c->arena, NULL, 0);
	hm_buf_init(&c->buf, SIZE_MAX / 2);
	c->o.tick = &c->q.tick;
	c->o.redis = c->q.redis;
	c->o.prefix = c->q.cfg->settings.queue.prefix;
	c->o.partitions = (uint32_t)c->q.cfg->settings.queue.partitions;
	c->o.ids = c->ids;
	c->o.n_ids = c->n_ids;
	c->o.arg = c;
	c->o.done = on_end;
	return 0;
}

static void close_link(struct cli *c)
{
	hm_buf_fini(&c->buf);
	hm_arena_fini(&c->arena);
	free(c->groups);
	hm_queue_close(&c->q);
}

static int run(struct cli *c, enum hm_dead_kind kind)
{
	struct hm_err e = {0};

	c->o.kind = kind;
	hm_tick_refresh(&c->q.tick);
	if (hm_dead_run(&c->o, &e) != 0) {
		fprintf(stderr, "hermod: %s\n", e.text);
		return e.code == HM_EINVAL ? 2 : 1;
	}
	while (!c->done)
		hm_queue_turn(&c->q);
	if (c->err.code == 0)
		return 0;
	fprintf(stderr, "hermod: %s\n", c->err.text);
	return 1;
}

static void print_json(struct cli *c, const struct hm_dead_letter *l)
{
	hm_buf_reset(&c->buf);
	hm_dead_json(l, &c->buf);
	hm_buf_putc(&c->buf, '\n');
	fwrite(c->buf.p, 1, c->buf.len, stdout);
}

static void on_listed(void *arg, const struct hm_dead_letter *l, enum hm_dead_result res,
		      const struct hm_ulid *new_id, const struct hm_err *why)
{
	char name[HM_DEAD_PLACE_MAX], when[25];
	struct cli *c = arg;

	if (res == HM_DEAD_GONE) {
		fprintf(stderr, "hermod: there is no dead letter %.*s\n", HM_STRF(l->id));
		return;
	}
	if (c->json || c->show) {
		print_json(c, l);
		return;
	}
	if (c->shown++ == 0)
		printf("%-26s  %-19s  %-17s  %-20s  %-20s  reason\n", "id", "at", "outcome", "channel",
		       "campaign");
	hm_print_padded(hm_dead_name(l, name), 26);
	hm_clock_rfc3339(l->at_ms, when);
	printf("  %.19s  ", when);
	hm_print_padded(l->outcome.len ? l->outcome : HM_STR("malformed"), 17);
	fputs("  ", stdout);
	hm_print_padded(l->channel, 20);
	fputs("  ", stdout);
	hm_print_padded(l->campaign, 20);
	fputs("  ", stdout);
	hm_print_padded(l->reason, hm_text_width(l->reason));
	putchar('\n');
}

static int list(struct cli *c)
{
	int rc;

	if (c->n_ids) {
		fprintf(stderr, "hermod: dead list takes no ids; hermod dead show ID shows one\n");
		return 2;
	}
	if (c->limit == NULL)
		c->o.limit = LIST_DEFAULT;
	c->o.full = c->json;
	c->o.letter = on_listed;
	rc = run(c, HM_DEAD_LIST);
	if (rc == 0 && !c->json && c->shown == 0)
		fprintf(stderr, "hermod: there are no such dead letters\n");
	if (rc == 0 && c->t.more)
		fprintf(stderr, "hermod: there may be more; --limit 0 lists all\n");
	return rc;
}

static int show(struct cli *c)
{
	int rc;

	if (c->n_ids == 0) {
		fprintf(stderr, "hermod: dead show needs an id; hermod dead list shows them\n");
		return 2;
	}
	c->o.full = c->show = true;
	c->o.letter = on_listed;
	rc = run(c, HM_DEAD_LIST);
	return rc ? rc : c->t.gone > 0;
}

/* -- counting ------------------------------------------------------------------------------------------ */

static void on_counted(void *arg, const struct hm_dead_letter *l, enum hm_dead_result res,
		       const struct hm_ulid *new_id, const struct hm_err *why)
{
	struct cli *c = arg;
	struct hm_str v;

	if (c->by == NULL || !hm_dead_field(l, hm_str_c(c->by), &v))
		return;
	for (size_t i = 0; i < c->n_groups; i++)
		if (hm_str_eq(c->groups[i].name, v)) {
			c->groups[i].n++;
			return;
		}
	if (c->n_groups == c->cap_groups) {
		size_t cap = c->cap_groups ? c->cap_groups * 2 : 64;
		struct group *p = cap > GROUPS_MAX * 2 ? NULL : realloc(c->groups, cap * sizeof(*p));

		if (p == NULL)
			return; /* the total counts them */
		c->groups = p;
		c->cap_groups = cap;
	}
	v = v.len ? hm_arena_str(&c->arena, v) : HM_STR("");
	c->groups[c->n_groups++] = (struct group){v, 1};
}

static int by_number(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	return x->n == y->n ? hm_str_cmp(x->name, y->name) : x->n < y->n ? 1 : -1;
}

static int count(struct cli *c)
{
	struct hm_dead_letter none = {0};
	struct hm_str v;
	int rc;

	if (c->by && !hm_dead_field(&none, hm_str_c(c->by), &v)) {
		fprintf(stderr,
			"hermod: --by must be reason, outcome, channel, route, campaign, category, tenant, "
			"lane or node\n");
		return 2;
	}
	c->o.letter = on_counted;
	rc = run(c, HM_DEAD_LIST);
	if (rc)
		return rc;
	if (c->n_groups)
		qsort(c->groups, c->n_groups, sizeof(*c->groups), by_number);
	if (c->json) {
		hm_buf_reset(&c->buf);
		hm_buf_printf(&c->buf, "{\"letters\":%llu", (unsigned long long)c->t.found);
		for (size_t i = 0; i < c->n_groups; i++) {
			hm_buf_puts(&c->buf,
				    i ? HM_STR(",{\"value\":\"") : HM_STR(",\"groups\":[{\"value\":\""));
			hm_buf_json(&c->buf, c->groups[i].name);
			hm_buf_printf(&c->buf, "\",\"letters\":%llu}", (unsigned long long)c->groups[i].n);
		}
		hm_buf_puts(&c->buf, c->n_groups ? HM_STR("]}\n") : HM_STR("}\n"));
		fwrite(c->buf.p, 1, c->buf.len, stdout);
		return 0;
	}
	for (size_t i = 0; i < c->n_groups; i++) {
		struct hm_str name = c->groups[i].name.len ? c->groups[i].name : HM_STR("(none)");

		hm_print_number(c->groups[i].n, 14);
		fputs("  ", stdout);
		hm_print_padded(name, hm_text_width(name));
		putchar('\n');
	}
	hm_print_number(c->t.found, 14);
	puts("  in total");
	return 0;
}

/* -- replay, drop ---------------------------------------------------------------------------------------- */

static void on_done_with(void *arg, const struct hm_dead_letter *l, enum hm_dead_result res,
			 const struct hm_ulid *new_id, const struct hm_err *why)
{
	char name[HM_DEAD_PLACE_MAX], text[HM_ULID_TEXT + 1];
	struct cli *c = arg;
	struct hm_str id = hm_dead_name(l, name);

	if (res == HM_DEAD_REPLAYED && c->n_ids && !c->json) {
		if (new_id)
			hm_ulid_text(new_id, text);
		printf("%.*s is sent again%s%s\n", HM_STRF(id), new_id ? " as " : "", new_id ? text : "");
	} else if (res == HM_DEAD_REFUSED && c->shown++ < SHOWN_MAX) {
		fprintf(stderr, "hermod: %.*s stays: %s\n", HM_STRF(id), why->text);
	} else if (res == HM_DEAD_GONE && c->n_ids) {
		fprintf(stderr, "hermod: there is no dead letter %.*s\n", HM_STRF(id));
	}
}

static int end(struct cli *c, const char *done, uint64_t n)
{
	const struct hm_dead_totals *t = &c->t;

	if (c->json)
		printf("{\"%s\":%llu,\"refused\":%llu,\"gone\":%llu,\"dry_run\":%s}\n", done,
		       (unsigned long long)n, (unsigned long long)t->refused, (unsigned long long)t->gone,
		       c->dry_run ? "true" : "false");
	else if (c->dry_run)
		printf("%llu would be %s, %llu refused\n", (unsigned long long)n, done,
		       (unsigned long long)t->refused);
	else
		printf("%llu %s, %llu refused\n", (unsigned long long)n, done,
		       (unsigned long long)t->refused);
	if (t->more)
		fprintf(stderr, "hermod: there may be more; the same command goes on\n");
	return t->refused || (c->n_ids && t->gone) ? 1 : 0;
}

static int read_file(struct cli *c, struct hm_buf *b)
{
	FILE *f = strcmp(c->message, "-") == 0 ? stdin : fopen(c->message, "re");
	char part[65536];
	size_t n;

	if (f == NULL) {
		fprintf(stderr, "hermod: cannot read %s: %s\n", c->message, strerror(errno));
		return 1;
	}
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		hm_buf_put(b, part, n);
	n = (size_t)ferror(f);
	if (f != stdin)
		(void)fclose(f);
	if (n == 0 && b->err == 0)
		return 0;
	fprintf(stderr, "hermod: cannot read %s: %s\n", c->message,
		b->err ? "it is too large" : strerror(errno));
	return 1;
}

/* The message that goes instead of the letter's. */
static int repair(struct cli *c)
{
	struct hm_err e = {0};
	struct hm_buf text, mp, out;
	struct hm_job_spec spec;
	msgpack_object root;
	msgpack_zone zone;
	struct hm_ulid old;
	int rc;

	if (c->n_ids != 1) {
		fprintf(stderr, "hermod: --message repairs one letter: give its id\n");
		return 2;
	}
	hm_buf_init_arena(&text, &c->arena, MESSAGE_MAX);
	hm_buf_init_arena(&mp, &c->arena, MESSAGE_MAX);
	hm_buf_init_arena(&out, &c->arena, MESSAGE_MAX);
	rc = read_file(c, &text);
	if (rc)
		return rc;
	if (!msgpack_zone_init(&zone, 8192)) {
		fprintf(stderr, "hermod: out of memory\n");
		return 1;
	}
	rc = hm_json_to_msgpack(hm_buf_str(&text), &mp, &e);
	if (rc == 0)
		rc = hm_msgpack_decode(&zone, hm_buf_str(&mp), &root, &e);
	if (rc == 0)
		rc = hm_job_read_message(&root, &spec, &e);
	if (rc == 0) {
		if (hm_ulid_parse(c->ids[0], &old))
			spec.of = hm_str_n((const char *)old.b, sizeof(old.b));
		hm_ulid_new(&c->o.payload_id, hm_clock_wall_ms());
		hm_job_put_entry(&out, &spec, &c->o.payload_id, HM_STR_NULL, 0, spec.n_rcpts);
		c->o.payload = hm_buf_str(&out);
		if (spec.has_lane)
			c->o.lane = hm_str_c(hm_lane_name(spec.lane));
		if (out.err)
			rc = hm_err_set(&e, out.err, "the message is too large");
	}
	msgpack_zone_destroy(&zone);
	if (rc == 0)
		return 0;
	fprintf(stderr, "hermod: %s: %s\n", c->message, e.text);
	return 1;
}

static int replay(struct cli *c)
{
	int rc = check_target(c);

	if (rc == 0 && c->message)
		rc = repair(c);
	c->o.letter = on_done_with;
	if (rc == 0)
		rc = run(c, HM_DEAD_REPLAY);
	if (rc == 0 || c->done)
		rc |= end(c, "replayed", c->dry_run ? c->t.found : c->t.replayed);
	return rc;
}

static int drop(struct cli *c)
{
	int rc;

	c->o.letter = on_done_with;
	rc = run(c, HM_DEAD_DROP);
	if (rc == 0 || c->done)
		rc |= end(c, "dropped", c->dry_run ? c->t.found : c->t.dropped);
	return rc;
}

static int with_link(struct cli *c, int (*command)(struct cli *c))
{
	int rc = options(c);
	struct hm_err e = {0};

	if (rc == 0 && hm_fault_init(getenv("HERMOD_FAULTS"), &e) != 0) {
		fprintf(stderr, "hermod: %s\n", e.text);
		return 2;
	}
	if (rc == 0 && open_link(c) != 0)
		return 1;
	if (rc)
		return rc;
	rc = command(c);
	close_link(c);
	return rc;
}

int hm_cli_dead(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(struct cli *c);
		bool chooses;
	} commands[] = {
		{"list", list, false},	  {"show", show, false}, {"count", count, false},
		{"replay", replay, true}, {"drop", drop, true},
	};
	static struct cli cli;
	struct cli *c = &cli;
	int rc;

	memset(c, 0, sizeof(*c));
	for (int i = 1; i < argc; i++)
		if (hm_wants_help(argv[i])) {
			fputs(usage, stdout);
			return 0;
		}
	for (size_t i = 0; argc > 1 && i < hm_countof(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		rc = parse(c, "dead", argc, argv, 2);
		if (rc == 0 && commands[i].chooses)
			rc = chosen(c, commands[i].name);
		if (rc == 0)
			rc = with_link(c, commands[i].run);
		free(c->ids);
		return rc;
	}
	if (argc > 1)
		fprintf(stderr, "hermod: dead has no command \"%.40s\"; hermod dead --help lists them\n",
			argv[1]);
	else
		fputs(usage, stderr);
	return 2;
}

int hm_cli_campaigns(int argc, char **argv)
{
	static struct cli cli;
	struct cli *c = &cli;
	char name[HM_JOB_MAX_LABEL + 2];
	int rc;

	memset(c, 0, sizeof(*c));
	for (int i = 1; i < argc; i++)
		if (hm_wants_help(argv[i])) {
			fputs(campaigns_usage, stdout);
			return 0;
		}
	if (argc < 2 || strcmp(argv[1], "resend-failed") != 0) {
		if (argc > 1)
			fprintf(stderr, "hermod: campaigns has no command \"%.40s\"; it has resend-failed\n",
				argv[1]);
		else
			fputs(campaigns_usage, stderr);
		return 2;
	}
	rc = parse(c, "campaigns", argc, argv, 2);
	if (rc == 0 && (c->n_ids != 1 || c->all || filtered(c) || c->message)) {
		fprintf(stderr, "hermod: campaigns resend-failed needs the name of one campaign\n");
		rc = 2;
	}
	if (rc == 0) {
		snprintf(name, sizeof(name), "%.*s", HM_STRF(c->ids[0]));
		c->n_ids = 0;
		c->filter[2] = name;
		rc = with_link(c, replay);
	}
	free(c->ids);
	return rc;
}
