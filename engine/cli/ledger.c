/*
 * ledger.c - hermod ledger: look messages up on disk
 */
#include <stdio.h>

#include "base/clock.h"
#include "cli/ledger_args.h"
#include "cli/report.h"

#define LIMIT_DEFAULT 100

struct ask {
	struct hm_ledger *l;
	bool json;
	const char *id, *to, *campaign, *state, *limit, *after;
	size_t shown, max;
	struct hm_buf out;
};

static int usage(void)
{
	printf("usage: hermod ledger COMMAND [options]\n\n"
	       "  get ID                          one message, with its attempts\n"
	       "  find --to ADDRESS               messages to an address or user, newest first\n"
	       "  list --campaign C [--state S]   messages of a campaign, newest first\n"
	       "  dump                            every message as JSON Lines, oldest first\n\n"
	       "  --json              JSON Lines instead of a table\n"
	       "  --limit N           at most N (default 100; 0 = all)\n"
	       "  --after ID          go on behind this message\n" HM_LEDGER_ARGS_HELP);
	return 0;
}

static int failed(const struct hm_err *e)
{
	fprintf(stderr, "hermod: %s\n", e->text);
	return 1;
}

static void print_json_line(struct ask *q, const struct hm_ledger_msg *m)
{
	hm_buf_reset(&q->out);
	hm_ledger_msg_json(m, &q->out);
	hm_buf_putc(&q->out, '\n');
	fwrite(q->out.p, 1, q->out.len, stdout);
}

static bool show_row(void *arg, const struct hm_ledger_msg *m)
{
	char id[HM_ULID_TEXT + 1], when[25];
	struct ask *q = arg;

	if (q->json) {
		print_json_line(q, m);
	} else {
		if (q->shown == 0)
			printf("%-26s  %-10s  %-24s  %-20s  %-24s  reason\n", "id", "state", "updated",
			       "channel", "address");
		hm_ulid_text(&m->id, id);
		hm_clock_rfc3339(m->updated_ms, when);
		printf("%s  %-10s  %s  ", id, hm_state_name(m->state), when);
		hm_print_padded(m->channel, 20);
		fputs("  ", stdout);
		hm_print_padded(m->address.len ? m->address : m->user, 24);
		fputs("  ", stdout);
		hm_print_padded(m->reason, hm_text_width(m->reason));
		putchar('\n');
	}
	q->shown++;
	return !ferror(stdout);
}

static void print_field(const char *name, struct hm_str v)
{
	if (v.len == 0)
		return;
	printf("%-10s ", name);
	hm_print_padded(v, hm_text_width(v));
	putchar('\n');
}

static void print_attempt(size_t nth, const struct hm_ledger_attempt *t)
{
	char when[25];

	hm_clock_rfc3339(t->at_ms, when);
	printf("%3zu  %s  ", nth, when);
	hm_print_padded(t->channel, 20);
	printf("  %-17s", hm_outcome_name(t->outcome));
	if (t->status)
		printf("  %u", t->status);
	printf("  %u.%03u ms", t->took_us / 1000, t->took_us % 1000);
	if (t->reason.len) {
		fputs("  ", stdout);
		hm_print_padded(t->reason, hm_text_width(t->reason));
	}
	if (t->provider_id.len) {
		fputs("  ", stdout);
		hm_print_padded(t->provider_id, hm_text_width(t->provider_id));
	}
	putchar('\n');
}

static void print_msg(const struct hm_ledger_msg *m)
{
	char id[HM_ULID_TEXT + 1], when[25];

	hm_ulid_text(&m->id, id);
	printf("%-10s %s\n%-10s %s\n", "message", id, "state", hm_state_name(m->state));
	print_field("reason", m->reason);
	hm_ulid_text(&m->job, id);
	printf("%-10s %s\n%-10s %s\n", "job", id, "lane", hm_lane_name(m->lane));
	hm_clock_rfc3339(m->accepted_ms, when);
	printf("%-10s %s\n", "accepted", when);
	hm_clock_rfc3339(m->updated_ms, when);
	printf("%-10s %s\n", "updated", when);
	if (m->has_of) {
		hm_ulid_text(&m->of, id);
		printf("%-10s %s\n", "replays", id);
	}
	print_field("campaign", m->campaign);
	print_field("user", m->user);
	print_field("address", m->address);
	print_field("channel", m->channel);
	print_field("template", m->template_ref);
	print_field("facts", m->facts);
	printf("%-10s %zu\n", "attempts", m->n_attempts);
	for (size_t i = 0; i < m->n_attempts; i++)
		print_attempt(i + 1, &m->attempts[i]);
}

static int get(struct ask *q)
{
	struct hm_err e = {.code = 0};
	struct hm_ledger_msg m;
	struct hm_ledger_job j;
	struct hm_arena a;
	struct hm_str node;
	struct hm_ulid id;
	int rc;

	if (!hm_ulid_parse(hm_str_c(q->id), &id)) {
		fprintf(stderr, "hermod: \"%s\" is not a message id (26 letters and digits)\n", q->id);
		return 2;
	}
	hm_arena_init(&a, NULL, 0);
	if (hm_ledger_moved_to(q->l, &id, &a, &node, NULL) == 0) {
		if (q->json)
			printf("{\"id\":\"%s\",\"state\":\"moved\",\"node\":\"%.*s\"}\n", q->id,
			       HM_STRF(node));
		else
			printf("%-10s %s\n%-10s moved\n%-10s %.*s: its ledger has the rest\n", "message",
			       q->id, "state", "node", HM_STRF(node));
		hm_arena_fini(&a);
		return 0;
	}
	rc = hm_ledger_get_msg(q->l, &id, &a, &m, &e);
	if (rc == HM_ENOENT && hm_ledger_job_of(q->l, &id, &a, &j, NULL) == 0) {
		/* accepted, and nothing has happened to it yet */
		m = (struct hm_ledger_msg){.id = id,
					   .job = j.id,
					   .state = HM_ST_QUEUED,
					   .lane = j.lane,
					   .accepted_ms = j.accepted_ms,
					   .updated_ms = j.accepted_ms,
					   .campaign = j.campaign,
					   .channel = j.channel,
					   .template_ref = j.template_ref,
					   .has_of = j.has_of,
					   .of = j.of};
		rc = 0;
	}
	if (rc == 0 && q->json)
		print_json_line(q, &m);
	else if (rc == 0)
		print_msg(&m);
	hm_arena_fini(&a);
	return rc < 0 ? failed(&e) : 0;
}

static int list(struct ask *q)
{
	struct hm_err e = {.code = 0};
	int state = -1, rc;
	struct hm_ulid after;

	if (q->after && !hm_ulid_parse(hm_str_c(q->after), &after)) {
		fprintf(stderr, "hermod: --after \"%s\" is not a message id\n", q->after);
		return 2;
	}
	if (q->state && (state = hm_state_find(hm_str_c(q->state))) < 0) {
		fprintf(stderr, "hermod: there is no state \"%s\"; states are", q->state);
		for (int s = 0; s < HM_ST_COUNT; s++)
			fprintf(stderr, " %s", hm_state_name((enum hm_state)s));
		fputc('\n', stderr);
		return 2;
	}
	if (q->to)
		rc = hm_ledger_by_recipient(q->l, hm_str_c(q->to), q->after ? &after : NULL, q->max, show_row,
					    q, &e);
	else
		rc = hm_ledger_by_campaign(q->l, hm_str_c(q->campaign), state, q->after ? &after : NULL,
					   q->max, show_row, q, &e);
	if (rc < 0)
		return failed(&e);
	if (q->shown == 0) {
		fprintf(stderr, "hermod: no message found\n");
		return 1;
	}
	if (q->shown == q->max && !q->json)
		printf("\n%zu shown; there may be more: --after with the last id, or --limit 0\n", q->shown);
	return 0;
}

static int dump(struct ask *q)
{
	struct hm_err e = {.code = 0};

	q->json = true;
	return hm_ledger_each(q->l, show_row, q, &e) < 0 ? failed(&e) : 0;
}

/* What each command needs, in words. */
static const struct command {
	const char *name, *needs;
	int (*run)(struct ask *q);
} commands[] = {
	{"get", "the id of a message: hermod ledger get ID", get},
	{"find", "--to ADDRESS", list},
	{"list", "--campaign C", list},
	{"dump", NULL, dump},
};

static const char *argument_of(const struct ask *q, const struct command *c)
{
	return c->run == get		      ? q->id
	       : c->run == dump		      ? ""
	       : strcmp(c->name, "find") == 0 ? q->to
					      : q->campaign;
}

static int parse(struct ask *q, struct hm_ledger_args *a, const struct command *c, int argc, char **argv)
{
	uint64_t limit = LIMIT_DEFAULT;
	bool bad = false;

	for (int i = 2; i < argc && !bad; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			q->json = true;
		} else if (argv[i][0] != '-' && c->run == get && q->id == NULL) {
			q->id = argv[i];
		} else if (!hm_option_take("--to", &q->to, argc, argv, &i, &bad) &&
			   !hm_option_take("--campaign", &q->campaign, argc, argv, &i, &bad) &&
			   !hm_option_take("--state", &q->state, argc, argv, &i, &bad) &&
			   !hm_option_take("--limit", &q->limit, argc, argv, &i, &bad) &&
			   !hm_option_take("--after", &q->after, argc, argv, &i, &bad) &&
			   !hm_ledger_args_take(a, argc, argv, &i, &bad)) {
			fprintf(stderr,
				"hermod: ledger %s does not know \"%s\"; hermod ledger --help lists the "
				"options\n",
				c->name, argv[i]);
			return 2;
		}
	}
	if (!bad && argument_of(q, c) == NULL) {
		fprintf(stderr, "hermod: ledger %s needs %s\n", c->name, c->needs);
		bad = true;
	}
	if (!bad && q->limit && !hm_str_u64(hm_str_c(q->limit), &limit)) {
		fprintf(stderr, "hermod: --limit takes a number, not \"%s\"\n", q->limit);
		bad = true;
	}
	q->max = limit ? (size_t)limit : SIZE_MAX;
	return bad ? 2 : 0;
}

int hm_cli_ledger(int argc, char **argv)
{
	const struct command *c = NULL;
	struct ask q = {.l = NULL};
	struct hm_ledger_args a;
	int rc;

	if (argc < 2 || hm_wants_help(argv[1])) {
		usage();
		return argc < 2 ? 2 : 0;
	}
	for (size_t i = 0; i < hm_countof(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			c = &commands[i];
	if (c == NULL) {
		fprintf(stderr, "hermod: ledger has no command \"%s\"; it has get, find, list and dump\n",
			argv[1]);
		return 2;
	}
	for (int i = 2; i < argc; i++)
		if (hm_wants_help(argv[i]))
			return usage();
	hm_ledger_args_init(&a);
	rc = parse(&q, &a, c, argc, argv);
	if (rc == 0)
		rc = hm_ledger_args_open(&a, &q.l);
	if (rc != 0)
		return rc;
	hm_buf_init(&q.out, 4u << 20);
	rc = c->run(&q);
	hm_buf_fini(&q.out);
	hm_ledger_close(q.l);
	return rc;
}
