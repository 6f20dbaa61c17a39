/*
 * hold.c - messages paused, resumed and cancelled from the command line
 *
 * As POST /v1/pause and its sisters: a mark on the control stream of Redis, which every process follows.
 */
#include "cli/hold.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/queue_link.h"
#include "ingest/cancel_mark.h"

static const char usage[] =
	"usage: hermod pause|resume|cancel --campaign X | --tag X | --tenant X | --message ID | --job ID\n"
	"       hermod pauses [--json]\n\n"
	"pause: nothing of it leaves any more, until resume; what is queued waits in Redis.\n"
	"cancel: what was accepted so far and has not left ends as cancelled.\n\n"
	"  --json              print JSON\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

static const char *const names[] = {"--message", "--job", "--campaign", "--tag", "--tenant"};
#define N_NAMES 5

struct args {
	struct hm_conf_args conf;
	const char *redis, *what[N_NAMES];
	bool json;
};

/* 0: go on; else the exit code plus 1. */
static int parse(struct args *a, int argc, char **argv, bool mark)
{
	bool bad = false, took;

	memset(a, 0, sizeof(*a));
	hm_conf_args_init(&a->conf);
	for (int i = 1; i < argc && !bad; i++) {
		if (hm_wants_help(argv[i])) {
			fputs(usage, stdout);
			return 1;
		}
		if (hm_conf_args_take(&a->conf, argc, argv, &i, &bad) ||
		    hm_option_take("--redis", &a->redis, argc, argv, &i, &bad))
			continue;
		took = false;
		for (size_t k = 0; k < N_NAMES && mark && !took; k++)
			took = hm_option_take(names[k], &a->what[k], argc, argv, &i, &bad);
		if (took)
			continue;
		if (!mark && strcmp(argv[i], "--json") == 0) {
			a->json = true;
			continue;
		}
		if (!bad)
			fprintf(stderr, "hermod: %s does not know \"%s\"; hermod %s --help shows its use\n",
				argv[0], argv[i], argv[0]);
		bad = true;
	}
	return bad ? 3 : 0;
}

static int failed(const struct hm_err *e)
{
	fprintf(stderr, "hermod: %s\n", e->text);
	return 1;
}

static void send_mark(struct hm_queue_link *q, void *what, hm_reply_fn fn, void *arg)
{
	const struct hm_ctl_event *ev = what;
	struct hm_str prefix = q->cfg->settings.queue.prefix;

	if (ev->type == HM_CTL_CANCEL)
		hm_ctl_send(q->redis, prefix, ev, fn, arg);
	else
		hm_ctl_pause(q->redis, prefix, ev, fn, arg);
}

static int mark(int argc, char **argv, enum hm_ctl_type type)
{
	static const char *const done[] = {"Paused", "Resumed", "Cancelled"};
	struct hm_ctl_event ev = {.type = type};
	char who[HM_QUEUE_WHO_MAX];
	struct hm_queue_link q;
	struct hm_reply reply;
	struct hm_arena arena;
	struct hm_err e = {0};
	struct args a;
	size_t at = N_NAMES;
	int rc = parse(&a, argc, argv, true);

	if (rc)
		return rc - 1;
	for (size_t k = 0; k < N_NAMES; k++) {
		if (a.what[k] == NULL)
			continue;
		if (at != N_NAMES) {
			fprintf(stderr, "hermod: give %s or %s, not both\n", names[at], names[k]);
			return 2;
		}
		at = k;
	}
	if (at == N_NAMES) {
		fprintf(stderr, "hermod: %s needs --campaign, --tag, --tenant, --message or --job\n",
			argv[0]);
		return 2;
	}
	ev.kind = at < 2 ? HM_STR("id") : hm_str_c(names[at] + 2);
	ev.what = hm_str_c(a.what[at]);
	if (!hm_ctl_name_ok(ev.kind, ev.what)) {
		fprintf(stderr, "hermod: %s %s\n", names[at],
			at < 2 ? "must be a ULID: 26 characters" : "must have 1 to 64 bytes");
		return 2;
	}
	if (hm_queue_open(&q, &a.conf, a.redis))
		return 1;
	hm_arena_init(&arena, NULL, 0);
	hm_queue_who(who);
	ev.by = hm_str_c(who);
	ev.at_ms = hm_clock_wall_ms();
	if (hm_queue_ask(&q, send_mark, &ev, &arena, &reply, &e))
		rc = failed(&e);
	else
		fprintf(stderr, "%s: %s %s%s\n",
			done[type == HM_CTL_PAUSE    ? 0
			     : type == HM_CTL_RESUME ? 1
						     : 2],
			names[at] + 2, a.what[at],
			type != HM_CTL_CANCEL && reply.i == 0 ? " (it was so already)" : "");
	hm_arena_fini(&arena);
	hm_queue_close(&q);
	return rc;
}

int hm_cli_pause(int argc, char **argv)
{
	return mark(argc, argv, HM_CTL_PAUSE);
}

int hm_cli_resume(int argc, char **argv)
{
	return mark(argc, argv, HM_CTL_RESUME);
}

int hm_cli_cancel(int argc, char **argv)
{
	return mark(argc, argv, HM_CTL_CANCEL);
}

static void ask_pauses(struct hm_queue_link *q, void *what, hm_reply_fn fn, void *arg)
{
	(void)what;
	hm_ctl_pauses(q->redis, q->cfg->settings.queue.prefix, fn, arg);
}

int hm_cli_pauses(int argc, char **argv)
{
	const struct hm_reply *list;
	struct hm_queue_link q;
	struct hm_reply reply;
	struct hm_arena arena;
	struct hm_err e = {0};
	struct hm_buf b;
	struct args a;
	int rc = parse(&a, argc, argv, false);

	if (rc)
		return rc - 1;
	if (hm_queue_open(&q, &a.conf, a.redis))
		return 1;
	hm_arena_init(&arena, NULL, 0);
	if (hm_queue_ask(&q, ask_pauses, NULL, &arena, &reply, &e)) {
		rc = failed(&e);
	} else {
		list = hm_reply_at(&reply, 1);
		hm_buf_init(&b, 64u << 20);
		for (size_t i = 0; list != NULL && i + 1 < list->n; i += 2) {
			struct hm_str what = list->v[i].s, kind;

			if (!hm_str_split(&what, ':', &kind))
				continue;
			if (!a.json) {
				printf("%.*s %.*s  %.*s\n", HM_STRF(kind), HM_STRF(what),
				       HM_STRF(list->v[i + 1].s));
				continue;
			}
			hm_buf_reset(&b);
			hm_buf_printf(&b, "{\"%.*s\":\"", HM_STRF(kind));
			hm_buf_json(&b, what);
			hm_buf_printf(&b, "\",\"note\":%.*s}\n", HM_STRF(list->v[i + 1].s));
			fwrite(b.p, 1, b.len, stdout);
		}
		hm_buf_fini(&b);
	}
	hm_arena_fini(&arena);
	hm_queue_close(&q);
	return rc;
}
