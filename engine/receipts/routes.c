/*
 * routes.c - /v1/callbacks/{channel}: providers report here, without an API key
 *
 *   channel ─▶ rate ─▶ size ─▶ hm_channel_callback ─┬▶ handshake: answered
 *                                                   ├▶ forged: 403, counted
 *                                                   ├▶ certificate, confirmation: fetched first (fetch.c)
 *                                                   └▶ events ─▶ hm_callbacks_take ─▶ acknowledged, or 503
 */
#include <stdio.h>
#include <stdlib.h>

#include "ingest/http_int.h"
#include "receipts/callbacks_int.h"
#include "receipts/fetch.h"

#define ROUTE "/v1/callbacks/{channel}"

struct ask {		       /* in the request's arena */
	struct hm_http_req *r; /* held */
	struct hm_callbacks *cb;
	struct hm_channel_set *set; /* referenced */
	const struct hm_channel *c;
	struct hm_cb_call call;
	struct hm_cb_result result;
	bool fetched;
};

static void ask_done(struct ask *a)
{
	hm_channel_set_unref(a->set);
	a->set = NULL;
	hm_http_release(a->r);
}

static void later(struct ask *a, const char *why)
{
	if (!a->r->answered)
		hm_http_problem(a->r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 2}, "%s",
				why);
}

static void answer(struct ask *a)
{
	const struct hm_cb_result *x = &a->result;
	struct hm_http_answer h = {.status = x->status, .body = x->body};

	if (a->r->answered)
		return;
	h.type = x->type.len ? hm_arena_strdup(&a->r->arena, x->type) : "text/plain; charset=utf-8";
	for (const char *p = h.type; p != NULL && *p != '\0'; p++)
		if ((unsigned char)*p < ' ')
			h.type = "text/plain";
	/* The text may have come from anybody: no browser is to guess what it is. */
	h.headers = HM_STR("X-Content-Type-Options: nosniff\r\n");
	hm_http_reply(a->r, &h);
}

static void on_taken(void *arg, const struct hm_callbacks_sum *s)
{
	struct ask *a = arg;

	if (s->failed)
		later(a, "the receipts could not be stored; send them again");
	else
		answer(a);
	ask_done(a);
}

static void refuse(struct ask *a)
{
	struct hm_tick *t = a->cb->deps.tick;
	struct hm_cb_result *x = &a->result;

	if (x->verdict == HM_CB_FORGED) {
		hm_stats_inc(t->stats, HM_CT_CB_FORGED);
		HM_WARN(INGEST, "a callback that cannot be proved genuine",
			HM_SV("channel", hm_channel_info(a->c)->name), HM_S("reason", x->why));
		/* Not why: that would tell a forger. */
		hm_http_problem(a->r, HM_PROBLEM_FORBIDDEN, NULL, "the callback cannot be proved genuine");
	} else if (x->verdict == HM_CB_METHOD) {
		hm_http_problem(a->r, HM_PROBLEM_METHOD, NULL, "this provider does not call with %s",
				llhttp_method_name((llhttp_method_t)a->r->method));
	} else if (x->verdict == HM_CB_NOT_HERE) {
		hm_http_problem(a->r, HM_PROBLEM_NOT_FOUND, NULL,
				"the adapter of this channel takes no callbacks");
	} else {
		hm_stats_inc(t->stats, HM_CT_CB_UNREADABLE);
		HM_WARN(INGEST, "a callback that is not what the adapter describes",
			HM_SV("channel", hm_channel_info(a->c)->name), HM_S("reason", x->why));
		hm_http_problem(a->r, HM_PROBLEM_BAD_SYNTAX, NULL, "%s", x->why);
	}
}

static void judge(struct ask *a);

static void on_certificate(void *arg, struct hm_str body, const struct hm_err *err)
{
	struct ask *a = arg;

	if (err != NULL) {
		HM_WARN(INGEST, "the certificate of a callback cannot be fetched",
			HM_SV("channel", hm_channel_info(a->c)->name), HM_E(err));
		later(a, "the certificate cannot be fetched now");
		ask_done(a);
		return;
	}
	a->call.certificate = hm_arena_str(&a->r->arena, body);
	judge(a);
}

static void on_confirmed(void *arg, struct hm_str body, const struct hm_err *err)
{
	struct ask *a = arg;

	(void)body;
	if (err != NULL) {
		HM_WARN(INGEST, "a subscription cannot be confirmed",
			HM_SV("channel", hm_channel_info(a->c)->name), HM_E(err));
		later(a, "the subscription cannot be confirmed now");
	} else {
		HM_INFO(INGEST, "a subscription was confirmed",
			HM_SV("channel", hm_channel_info(a->c)->name));
		answer(a);
	}
	ask_done(a);
}

/* Holds a until the end. */
static void judge(struct ask *a)
{
	struct hm_cb_result *x = &a->result;

	hm_channel_callback(a->c, &a->call, &a->r->arena, x);
	switch (x->verdict) {
	case HM_CB_TAKEN:
		hm_stats_add(a->cb->deps.tick->stats, HM_CT_CB_IGNORED, x->ignored);
		if (x->n == 0)
			break;
		if (hm_callbacks_take(a->cb, a->c, x->events, x->n, on_taken, a))
			return;
		later(a, "too many callbacks at once");
		ask_done(a);
		return;
	case HM_CB_CHALLENGE: break;
	case HM_CB_CERTIFICATE:
		if (!a->fetched) {
			a->fetched = true;
			hm_fetch(a->cb, a->c, x->fetch, true, on_certificate, a);
			return;
		}
		x->verdict = HM_CB_FORGED;
		refuse(a);
		ask_done(a);
		return;
	case HM_CB_CONFIRM: hm_fetch(a->cb, a->c, x->fetch, false, on_confirmed, a); return;
	default:
		refuse(a);
		ask_done(a);
		return;
	}
	answer(a);
	ask_done(a);
}

static bool headers_of(struct ask *a)
{
	struct hm_header *v = hm_arena_zalloc(&a->r->arena, HTTP_HEADERS_MAX * sizeof(*v));
	size_t at = 0, n = 0;

	while (v != NULL && n < HTTP_HEADERS_MAX && hm_http_header_next(a->r, &at, &v[n].name, &v[n].value))
		n++;
	a->call.headers = v;
	a->call.n_headers = n;
	return v != NULL;
}

/* As the provider knows it: what it signed. */
static struct hm_str url_of(struct ask *a, const struct hm_settings *set)
{
	struct hm_str base = set->callbacks.public_url;

	while (hm_str_ends(base, HM_STR("/")))
		base.len--;
	if (base.len == 0)
		return HM_STR("");
	return hm_arena_printf(&a->r->arena, "%.*s%.*s", HM_STRF(base), HM_STRF(a->r->target));
}

void hm_callback_any(struct hm_http_req *r)
{
	struct hm_callbacks *cb = hm_http_server_callbacks(r->srv);
	struct hm_str name = hm_http_unescape(&r->arena, r->params[0], false);
	struct ask *a = hm_arena_zalloc(&r->arena, sizeof(*a));
	struct hm_callbacks_now now;
	uint64_t wait;

	if (cb == NULL || cb->stopped || a == NULL) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"no callbacks are taken now");
		return;
	}
	cb->deps.now(cb->deps.arg, &now);
	a->c = name.p != NULL ? hm_channel_find(now.channels, name) : NULL;
	if (a->c == NULL) {
		hm_http_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "there is no such channel");
		return;
	}
	wait = hm_http_shared_take(r->srv->deps.shared,
				   hm_arena_printf(&r->arena, "callback %.*s", HM_STRF(name)),
				   (uint32_t)now.settings->callbacks.rate, cb->deps.tick->now_ns);
	if (wait > 0) {
		hm_http_problem(r, HM_PROBLEM_TOO_MANY,
				&(struct hm_problem_info){.retry_after_s = (uint32_t)(wait / 1000 + 1)},
				"more than callbacks.rate callbacks of this channel a second");
		return;
	}
	if (r->body.len > now.settings->callbacks.max_body) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, NULL,
				"a callback has at most %llu bytes (callbacks.max_body)",
				(unsigned long long)now.settings->callbacks.max_body);
		return;
	}
	a->r = r;
	a->cb = cb;
	a->call.method = hm_str_c(llhttp_method_name((llhttp_method_t)r->method));
	a->call.path = r->path;
	a->call.query = r->query;
	a->call.url = url_of(a, now.settings);
	a->call.body = hm_arena_str(&r->arena, r->body); /* of this call only otherwise */
	a->call.wall_ms = cb->deps.tick->wall_ms;
	if (!headers_of(a) || (r->body.len > 0 && a->call.body.p == NULL)) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	a->set = hm_channel_set_ref(now.channels);
	hm_http_hold(r);
	judge(a);
}

const struct hm_http_route hm_callbacks_routes[] = {
	{.method = HTTP_GET, .scope = HM_SCOPE_NONE, .pattern = ROUTE, .run = hm_callback_any},
	{.method = HTTP_POST, .scope = HM_SCOPE_NONE, .pattern = ROUTE, .run = hm_callback_any},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/replies", .run = hm_replies_get},
};
const size_t hm_callbacks_routes_n = hm_countof(hm_callbacks_routes);
