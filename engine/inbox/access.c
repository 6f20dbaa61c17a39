/*
 * access.c - who asks for an inbox, and from which page
 *
 * A user's request carries a token of the customer's backend (token.h); it names the user, so that no path or parameter can. A
 * backend's request has an API key, checked before the handler runs, and names the user in the path.
 */
#include <stdarg.h>
#include <stdio.h>

#include "ingest/http_int.h"
#include "inbox/inbox_int.h"

struct hm_inbox *inbox_of(const struct hm_http_req *r)
{
	return hm_http_server_inbox(r->srv);
}

/* -- pages of other origins (the Fetch standard, section 3.2) --------------------------------------------- */

struct hm_str inbox_header(const struct hm_http_req *r, const char *name)
{
	struct hm_str key, value;
	size_t at = 0;

	while (hm_http_header_next(r, &at, &key, &value))
		if (hm_str_ieq(key, hm_str_c(name)))
			return value;
	return HM_STR_NULL;
}

/* The line that names it, or nothing. A listed origin is what stands in the answer, never what was asked with. */
static struct hm_str allowed(struct hm_http_req *r, bool *asked_r)
{
	const struct hm_strs *list = &hm_http_server_settings(r->srv)->inbox.origins;
	struct hm_str origin = inbox_header(r, "origin");

	*asked_r = origin.len > 0;
	for (size_t i = 0; origin.len && i < list->n; i++)
		if (hm_str_eq(list->v[i], origin) || hm_str_is(list->v[i], "*"))
			return hm_arena_printf(&r->arena, "Access-Control-Allow-Origin: %.*s\r\n",
					       HM_STRF(list->v[i]));
	return HM_STR("");
}

struct hm_str inbox_cors(struct hm_http_req *r)
{
	bool asked;
	struct hm_str line = allowed(r, &asked);

	if (!asked)
		return HM_STR("");
	return hm_arena_printf(&r->arena, "%.*sVary: Origin\r\n", HM_STRF(line));
}

void inbox_preflight(struct hm_http_req *r)
{
	bool asked;
	struct hm_str line = allowed(r, &asked);

	if (line.len == 0) {
		hm_http_problem(r, HM_PROBLEM_FORBIDDEN,
				&(struct hm_problem_info){.headers = HM_STR("Vary: Origin\r\n")}, "%s",
				asked ? "pages of this origin are not listed in inbox.origins"
				      : "an Origin is missing");
		return;
	}
	hm_http_reply(
		r,
		&(struct hm_http_answer){
			.status = 204,
			.headers = hm_arena_printf(
				&r->arena,
				"%.*sVary: Origin\r\nAccess-Control-Allow-Methods: GET, POST, DELETE\r\n"
				"Access-Control-Allow-Headers: authorization, content-type, last-event-id\r\n"
				"Access-Control-Max-Age: 600\r\n",
				HM_STRF(line))});
}

/* -- answers ------------------------------------------------------------------------------------------- */

void inbox_json(struct hm_http_req *r, struct hm_str body)
{
	hm_http_reply(r, &(struct hm_http_answer){
				 .status = 200,
				 .type = "application/json",
				 .body = body,
				 .headers = hm_arena_printf(&r->arena, "%.*sCache-Control: no-store\r\n",
							    HM_STRF(inbox_cors(r)))});
}

void inbox_problem(struct hm_http_req *r, enum hm_problem p, const char *field, const char *fmt, ...)
{
	struct hm_problem_info info = {.field = hm_str_c(field), .headers = inbox_cors(r)};
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (p == HM_PROBLEM_BUSY || p == HM_PROBLEM_TOO_MANY || p == HM_PROBLEM_QUEUE_DOWN ||
	    p == HM_PROBLEM_QUEUE_UNKNOWN)
		info.retry_after_s = 1;
	if (p == HM_PROBLEM_NO_KEY)
		info.headers = hm_arena_printf(&r->arena, "WWW-Authenticate: Bearer realm=\"inbox\"\r\n%.*s",
					       HM_STRF(info.headers));
	hm_http_problem(r, p, &info, "%s", text);
}

void inbox_problem_redis(struct hm_http_req *r, const struct hm_err *e)
{
	enum hm_problem p = hm_http_redis_problem(e);

	inbox_problem(r, p, NULL, "%s%s", e->text,
		      p == HM_PROBLEM_QUEUE_UNKNOWN ? "; the request may be repeated" : "");
}

/* -- users --------------------------------------------------------------------------------------------- */

/* RFC 6750 section 2.1 */
static struct hm_str bearer(const struct hm_http_req *r)
{
	struct hm_str s = hm_str_trim(r->authorization);

	if (s.len < 7 || !hm_str_ieq(hm_str_n(s.p, 7), HM_STR("Bearer ")))
		return HM_STR_NULL;
	return hm_str_trim(hm_str_n(s.p + 7, s.len - 7));
}

static bool within_rate(struct hm_http_req *r, struct hm_str user)
{
	const struct hm_settings *set = hm_http_server_settings(r->srv);
	uint64_t wait = hm_http_shared_take(r->srv->deps.shared,
					    hm_arena_printf(&r->arena, "inbox %.*s", HM_STRF(user)),
					    (uint32_t)set->inbox.rate, r->srv->tick->now_ns);

	if (wait == 0)
		return true;
	inbox_problem(r, HM_PROBLEM_TOO_MANY, NULL, "more than inbox.rate requests of this user a second");
	return false;
}

bool inbox_user(struct hm_http_req *r, struct inbox_who *who)
{
	struct hm_inbox *ib = inbox_of(r);
	struct hm_token_rules rules = {.now_ms = hm_http_server_wall_ms(r->srv)};
	struct hm_str text = bearer(r);
	struct hm_token token;
	struct hm_err e = {0};

	if (ib == NULL || ib->closed) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "the inbox is closed here");
		return false;
	}
	if (hm_token_keys_count(ib->keys) == 0) {
		inbox_problem(
			r, HM_PROBLEM_FORBIDDEN, NULL,
			"no users are let in here: no key for their tokens is configured (inbox.token_keys)");
		return false;
	}
	if (text.p == NULL) {
		inbox_problem(r, HM_PROBLEM_NO_KEY, NULL,
			      "a user's token is needed: Authorization: Bearer <JWT>");
		return false;
	}
	rules.keys = ib->keys;
	rules.audience = ib->settings->inbox.audience;
	rules.longest_ms = ib->settings->inbox.max_token_ms;
	rules.leeway_ms = ib->settings->inbox.leeway_ms;
	if (hm_token_check(&rules, text, &r->arena, &token, &e) != 0) {
		hm_stats_inc(ib->deps.tick->stats, HM_CT_INBOX_REFUSED);
		inbox_problem(r, HM_PROBLEM_NO_KEY, NULL, "%s", e.text);
		return false;
	}
	who->user = token.user;
	who->until_ms = token.expires_ms + rules.leeway_ms;
	return within_rate(r, who->user);
}

bool inbox_named_user(struct hm_http_req *r, struct inbox_who *who)
{
	struct hm_inbox *ib = inbox_of(r);

	if (ib == NULL || ib->closed) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "the inbox is closed here");
		return false;
	}
	who->user = hm_http_unescape(&r->arena, r->params[0], false);
	who->until_ms = 0;
	if (who->user.p != NULL && hm_inbox_user_ok(who->user))
		return true;
	inbox_problem(r, HM_PROBLEM_INVALID, "user",
		      "a user's id has 1 to 128 bytes of UTF-8 and no control characters");
	return false;
}
