/*
 * stream.c - GET /v1/inbox/stream, and the tickets of those who cannot send a header
 *
 * A browser's EventSource sends no Authorization. For it a page asks for a ticket with its token, POST /v1/inbox/ticket, and opens
 * /v1/inbox/stream?ticket=...: it lets in once, for TICKET_MS, so that what stands in logs of proxies is worth nothing.
 *
 *   {<prefix>:u<k>}:ib:t:<ticket>    "<end of the token, ms> <user>", k by the ticket
 */
#include <openssl/rand.h>
#include <stdio.h>

#include "base/obj.h"
#include "gates/suppress.h"
#include "inbox/live.h"

#define TICKET_MAGIC 0x6962746bu
#define TICKET_BYTES 24
#define TICKET_LEN   32 /* of base64url */
#define TICKET_MS    "60000"

struct ticket { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held */
	struct hm_inbox *ib;
	struct inbox_who who;
	struct inbox_at at;
	struct hm_str text;
};

static struct hm_str ticket_key(struct hm_http_req *r, struct hm_str ticket)
{
	char what[16 + TICKET_LEN], key[HM_SUPPRESS_KEY_MAX + TICKET_LEN];

	snprintf(what, sizeof(what), "ib:t:%.*s", HM_STRF(ticket));
	return hm_arena_str(&r->arena,
			    hm_str_n(key, hm_person_key(hm_http_server_prefix(r->srv), hm_person_slot(ticket),
							what, key, sizeof(key))));
}

static struct ticket *ticket_new(struct hm_http_req *r)
{
	struct ticket *t = hm_arena_zalloc(&r->arena, sizeof(*t));

	if (t == NULL) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
		return NULL;
	}
	HM_MAGIC_SET(t, TICKET_MAGIC);
	t->r = r;
	t->ib = inbox_of(r);
	return t;
}

/* -- giving one ---------------------------------------------------------------------------------------- */

static void on_given(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ticket *t = arg;
	struct hm_http_req *r = t->r;

	HM_CHECK(t, TICKET_MAGIC);
	if (err != NULL)
		inbox_problem_redis(r, err);
	else
		inbox_json(r, hm_arena_printf(&r->arena, "{\"ticket\":\"%.*s\",\"seconds\":60}",
					      HM_STRF(t->text)));
	hm_http_release(r);
}

void inbox_post_ticket(struct hm_http_req *r)
{
	struct ticket *t = ticket_new(r);
	unsigned char random[TICKET_BYTES];
	struct hm_str argv[5] = {HM_STR("SET"), HM_STR_NULL, HM_STR_NULL, HM_STR("PX"), HM_STR(TICKET_MS)};
	struct hm_buf b;

	if (t == NULL || !inbox_user(r, &t->who))
		return;
	hm_buf_init_arena(&b, &r->arena, 64);
	if (RAND_bytes(random, sizeof(random)) == 1)
		hm_buf_base64url(&b, random, sizeof(random));
	t->text = hm_buf_str(&b);
	argv[1] = t->text.len == TICKET_LEN ? ticket_key(r, t->text) : HM_STR_NULL;
	argv[2] = hm_arena_printf(&r->arena, "%llu %.*s", (unsigned long long)t->who.until_ms,
				  HM_STRF(t->who.user));
	if (argv[1].p == NULL || argv[2].p == NULL) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory or random numbers");
		return;
	}
	hm_http_hold(r);
	hm_redis_send(t->ib->redis, argv[1], argv, hm_countof(argv), on_given, t);
}

/* -- the stream ---------------------------------------------------------------------------------------- */

static void on_shown(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ticket *t = arg;
	struct hm_http_req *r = t->r;
	struct hm_str rest, until;

	HM_CHECK(t, TICKET_MAGIC);
	rest = reply != NULL && reply->type == HM_REPLY_STR ? hm_arena_str(&r->arena, reply->s) : HM_STR_NULL;
	if (err != NULL) {
		inbox_problem_redis(r, err);
	} else if (!hm_str_split(&rest, ' ', &until) || !hm_str_u64(until, &t->who.until_ms) ||
		   !hm_inbox_user_ok(rest)) {
		hm_stats_inc(t->ib->deps.tick->stats, HM_CT_INBOX_REFUSED);
		inbox_problem(r, HM_PROBLEM_NO_KEY, "ticket",
			      "the ticket was used, or is older than a minute: ask for a new one");
	} else if (t->ib->closed) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "the inbox is closed here");
	} else {
		t->who.user = rest;
		inbox_listen(t->ib->live, r, &t->who, &t->at);
	}
	hm_http_release(r);
}

static bool is_ticket(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      c == '-' || c == '_'))
			return false;
	}
	return s.len == TICKET_LEN;
}

void inbox_get_stream(struct hm_http_req *r)
{
	struct ticket *t = ticket_new(r);
	struct hm_str ticket = hm_http_query(r, "ticket"), last = inbox_header(r, "last-event-id"), key;
	struct hm_str argv[2] = {HM_STR("GETDEL"), HM_STR_NULL};

	if (t == NULL)
		return;
	if (r->method == HTTP_HEAD) {
		inbox_problem(r, HM_PROBLEM_METHOD, NULL, "a stream has no end that a HEAD could wait for");
		return;
	}
	if (last.len == 0)
		last = hm_http_query(r, "at");
	if (!inbox_at_parse(last, &t->at)) {
		inbox_problem(r, HM_PROBLEM_BAD_REQUEST, "at",
			      "Last-Event-ID (or at) is what an event or a list said, such as 12.15");
		return;
	}
	if (ticket.p == NULL) {
		if (inbox_user(r, &t->who))
			inbox_listen(t->ib->live, r, &t->who, &t->at);
		return;
	}
	if (t->ib == NULL || t->ib->closed) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "the inbox is closed here");
		return;
	}
	key = is_ticket(ticket) ? ticket_key(r, ticket) : HM_STR_NULL;
	if (key.p == NULL) {
		inbox_problem(r, HM_PROBLEM_NO_KEY, "ticket", "that is no ticket of POST /v1/inbox/ticket");
		return;
	}
	argv[1] = key;
	hm_http_hold(r);
	hm_redis_send(t->ib->redis, key, argv, 2, on_shown, t);
}
