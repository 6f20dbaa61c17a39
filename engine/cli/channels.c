/*
 * channels.c - channels from the command line
 *
 * What is shared by all processes stands in Redis: who is paused by hand, and what the shards said when their breaker opened or
 * a provider told them to wait (shape/share.c). The rest (rates right now, counters) is in GET /v1/channels of each process.
 */
#include "cli/channels.h"

#include <stdio.h>
#include <stdlib.h>

#include "adapter/adapter.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/queue_link.h"
#include "shape/pauses.h"

static const char usage[] =
	"usage: hermod channels list [--json]\n"
	"       hermod channels pause NAME [--reason TEXT]\n"
	"       hermod channels resume NAME\n\n"
	"Channels: which are paused or not used at present, and why.\n\n"
	"  --reason TEXT       why it is paused, shown in the list\n"
	"  --json              print JSON\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

struct args {
	struct hm_conf_args conf;
	const char *redis, *reason, *name;
	bool json;
};

static int parse(struct args *a, int argc, char **argv)
{
	bool bad = false;

	memset(a, 0, sizeof(*a));
	hm_conf_args_init(&a->conf);
	for (int i = 2; i < argc && !bad; i++) {
		if (hm_conf_args_take(&a->conf, argc, argv, &i, &bad) ||
		    hm_option_take("--redis", &a->redis, argc, argv, &i, &bad) ||
		    hm_option_take("--reason", &a->reason, argc, argv, &i, &bad))
			continue;
		if (strcmp(argv[i], "--json") == 0) {
			a->json = true;
		} else if (argv[i][0] != '-' && !a->name) {
			a->name = argv[i];
		} else {
			fprintf(stderr,
				"hermod: channels does not know \"%s\"; hermod channels --help shows its "
				"use\n",
				argv[i]);
			bad = true;
		}
	}
	return bad ? 2 : 0;
}

static int failed(const struct hm_err *e)
{
	fprintf(stderr, "hermod: %s\n", e->text);
	return 1;
}

/* -- pause, resume ------------------------------------------------------------------------------------ */

struct wish {
	struct hm_str name, reason, by;
	bool paused;
};

static void send_wish(struct hm_queue_link *q, void *what, hm_reply_fn fn, void *arg)
{
	const struct wish *w = what;

	hm_pauses_store(q->redis, q->cfg->settings.queue.prefix, w->name, w->paused, w->by, w->reason,
			hm_clock_wall_ms(), fn, arg);
}

static int change(const struct args *a, bool paused)
{
	const char *verb = paused ? "pause" : "resume";
	char who[HM_QUEUE_WHO_MAX];
	struct hm_queue_link q;
	struct hm_reply reply;
	struct hm_arena arena;
	struct hm_err e;
	struct wish w;
	int rc;

	if (!a->name) {
		fprintf(stderr, "hermod: channels %s needs the name of a channel\n", verb);
		return 2;
	}
	if (a->reason && (strlen(a->reason) > HM_PAUSE_REASON_MAX || !hm_utf8_valid(hm_str_c(a->reason)))) {
		fprintf(stderr, "hermod: --reason may have %d bytes of UTF-8\n", HM_PAUSE_REASON_MAX);
		return 2;
	}
	if (hm_queue_open(&q, &a->conf, a->redis))
		return 1;
	hm_err_clear(&e);
	hm_arena_init(&arena, NULL, 0);
	hm_queue_who(who);
	w = (struct wish){.name = hm_str_c(a->name),
			  .reason = hm_str_c(a->reason ? a->reason : ""),
			  .by = hm_str_c(who),
			  .paused = paused};
	/* What was paused under another configuration can be resumed; a typo cannot be paused. */
	if (paused && hm_config_channel(q.cfg, w.name) == NULL)
		rc = hm_err_set(&e, HM_ENOENT, "the configuration has no channel \"%.60s\"", a->name);
	else
		rc = hm_queue_ask(&q, send_wish, &w, &arena, &reply, &e);
	if (rc)
		rc = failed(&e);
	else
		fprintf(stderr, "Channel %s %s.\n", a->name,
			reply.i == 0 ? paused ? "was paused already" : "was not paused"
			: paused     ? "is paused"
				     : "is resumed");
	hm_arena_fini(&arena);
	hm_queue_close(&q);
	return rc;
}

/* -- list --------------------------------------------------------------------------------------------- */

struct row {
	struct hm_str name, adapter, note; /* note: JSON of the pause, p == NULL: not paused */
	struct hm_reply states;		   /* node, "state since why", ... */
};

static int ask_states(struct hm_queue_link *q, struct row *row, struct hm_arena *a, struct hm_err *e)
{
	struct hm_str argv[2] = {HM_STR("HGETALL"),
				 hm_arena_printf(a, "{%.*s:ch:%.*s}:state",
						 HM_STRF(q->cfg->settings.queue.prefix), HM_STRF(row->name))};

	return hm_queue_call(q, argv[1], argv, 2, a, &row->states, e);
}

/* "state since why" */
static void split_state(struct hm_str s, struct hm_str *state_r, uint64_t *since_r, struct hm_str *why_r)
{
	struct hm_str since = HM_STR_NULL;

	*since_r = 0;
	if (!hm_str_split(&s, ' ', state_r) || !hm_str_split(&s, ' ', &since) || !hm_str_u64(since, since_r))
		*since_r = 0;
	*why_r = s;
}

static struct hm_str note_part(const msgpack_object *note, struct hm_str key)
{
	const msgpack_object *v = note ? hm_mp_get(note, key) : NULL;
	struct hm_str s;

	return v != NULL && hm_mp_str(v, &s) ? s : HM_STR_NULL;
}

static void print_row(const struct row *r, struct hm_buf *b)
{
	struct hm_buf packed;
	struct hm_arena a;
	msgpack_zone zone;
	msgpack_object o;
	struct hm_err e = {0};
	bool read = false, any = false;

	hm_arena_init(&a, NULL, 0);
	hm_buf_init_arena(&packed, &a, 1u << 16);
	if (r->note.p != NULL && msgpack_zone_init(&zone, 1024)) {
		struct hm_str by = HM_STR_NULL, reason = HM_STR_NULL;

		read = hm_json_to_msgpack(r->note, &packed, &e) == 0 &&
		       hm_msgpack_decode(&zone, hm_buf_str(&packed), &o, &e) == 0;
		if (read) {
			by = note_part(&o, HM_STR("by"));
			reason = note_part(&o, HM_STR("reason"));
		}
		hm_buf_printf(b, "%-24.*s  %-22.*s  %-10s  by %.*s%s%.*s\n", HM_STRF(r->name),
			      HM_STRF(r->adapter), "paused", HM_STRF(by), reason.len ? ": " : "",
			      HM_STRF(reason));
		msgpack_zone_destroy(&zone);
		any = true;
	}
	for (size_t i = 0; i + 1 < r->states.n; i += 2) {
		struct hm_str state, why;
		uint64_t since;

		split_state(r->states.v[i + 1].s, &state, &since, &why);
		if (hm_str_is(state, "paused"))
			continue;
		hm_buf_printf(b, "%-24.*s  %-22.*s  %-10.*s  %.*s: %.*s\n",
			      HM_STRF(any ? HM_STR("") : r->name), HM_STRF(any ? HM_STR("") : r->adapter),
			      HM_STRF(state), HM_STRF(r->states.v[i].s), HM_STRF(why));
		any = true;
	}
	if (!any)
		hm_buf_printf(b, "%-24.*s  %-22.*s  %s\n", HM_STRF(r->name), HM_STRF(r->adapter), "ok");
	hm_arena_fini(&a);
}

static void json_row(const struct row *r, struct hm_buf *b, bool first)
{
	bool some = false;

	hm_buf_printf(b, "%s{\"name\":\"", first ? "" : ",\n ");
	hm_buf_json(b, r->name);
	hm_buf_lit(b, "\",\"adapter\":\"");
	hm_buf_json(b, r->adapter);
	hm_buf_lit(b, "\",\"paused\":");
	hm_buf_puts(b, r->note.p == NULL ? HM_STR("null") : r->note.len ? r->note : HM_STR("{}"));
	hm_buf_lit(b, ",\"shards\":[");
	for (size_t i = 0; i + 1 < r->states.n; i += 2) {
		struct hm_str state, why;
		uint64_t since;

		split_state(r->states.v[i + 1].s, &state, &since, &why);
		hm_buf_printf(b, "%s{\"shard\":\"", some ? "," : "");
		hm_buf_json(b, r->states.v[i].s);
		hm_buf_lit(b, "\",\"state\":\"");
		hm_buf_json(b, state);
		hm_buf_printf(b, "\",\"since\":%llu,\"why\":\"", (unsigned long long)since);
		hm_buf_json(b, why);
		hm_buf_lit(b, "\"}");
		some = true;
	}
	hm_buf_lit(b, "]}");
}

static int list(const struct args *a)
{
	struct hm_queue_link q;
	struct hm_reply paused;
	struct hm_str argv[2];
	struct hm_arena arena;
	struct hm_buf out;
	struct hm_err e;
	size_t shown = 0;
	int rc;

	if (a->name) {
		fprintf(stderr, "hermod: channels list takes no \"%.60s\"\n", a->name);
		return 2;
	}
	if (hm_queue_open(&q, &a->conf, a->redis))
		return 1;
	hm_err_clear(&e);
	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&out, 16u << 20);
	argv[0] = HM_STR("HGETALL");
	argv[1] = hm_arena_printf(&arena, "{%.*s:ctl}:channels", HM_STRF(q.cfg->settings.queue.prefix));
	rc = hm_queue_call(&q, argv[1], argv, 2, &arena, &paused, &e);
	if (rc == 0 && a->json)
		hm_buf_lit(&out, "[");
	else if (rc == 0)
		hm_buf_printf(&out, "%-24s  %-22s  %-10s  %s\n", "CHANNEL", "ADAPTER", "STATE", "WHY");
	for (size_t i = 0; rc == 0 && i < q.cfg->n_channels; i++) {
		struct row row = {.name = q.cfg->channels[i].name, .adapter = q.cfg->channels[i].adapter};

		for (size_t k = 0; k + 1 < paused.n; k += 2)
			if (hm_str_eq(paused.v[k].s, row.name))
				row.note = paused.v[k + 1].s;
		rc = ask_states(&q, &row, &arena, &e);
		if (rc == 0 && a->json)
			json_row(&row, &out, shown++ == 0);
		else if (rc == 0)
			print_row(&row, &out);
	}
	/* Paused, and not in this configuration: another process may have them. */
	for (size_t k = 0; rc == 0 && k + 1 < paused.n; k += 2) {
		struct row row = {.name = paused.v[k].s, .adapter = HM_STR("-"), .note = paused.v[k + 1].s};

		if (hm_config_channel(q.cfg, row.name) != NULL)
			continue;
		if (a->json)
			json_row(&row, &out, shown++ == 0);
		else
			print_row(&row, &out);
	}
	if (rc)
		rc = failed(&e);
	else
		printf("%s%s", hm_buf_cstr(&out), a->json ? "]\n" : "");
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	hm_queue_close(&q);
	return rc;
}

int hm_cli_channels(int argc, char **argv)
{
	struct args a;

	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0) {
			fputs(usage, stdout);
			return 0;
		}
	if (parse(&a, argc, argv))
		return 2;
	if (strcmp(argv[1], "list") == 0)
		return list(&a);
	if (strcmp(argv[1], "pause") == 0)
		return change(&a, true);
	if (strcmp(argv[1], "resume") == 0)
		return change(&a, false);
	fprintf(stderr, "hermod: channels knows list, pause and resume, not \"%.40s\"\n", argv[1]);
	return 2;
}
