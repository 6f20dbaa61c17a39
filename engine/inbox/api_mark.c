/*
 * api_mark.c - POST and DELETE: items become read, unread, archived, or go
 *
 * One item by its path, or those of a body: {"ids": [...]}, or {"all": true} with "state", "category", "before" (id of an item: it and
 * what is older). All of it may be repeated.
 */
#include <stdio.h>

#include "adapter/jsonscan.h"
#include "base/obj.h"
#include "inbox/inbox_int.h"

#define CHANGE_MAGIC 0x69626368u

struct change { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held */
	struct hm_inbox *ib;
	struct inbox_who who;
	struct hm_inbox_ask ask;
	struct hm_inbox_mark mark;
	bool one;
};

static bool bad(struct hm_http_req *r, const char *field, const char *text)
{
	inbox_problem(r, HM_PROBLEM_INVALID, field, "%s", text);
	return false;
}

/* An id as the scripts know it; p == NULL: none. */
static struct hm_str item_id(struct hm_http_req *r, struct hm_str s)
{
	struct hm_ulid id;
	char text[HM_ULID_TEXT + 1];

	if (!hm_ulid_parse(s, &id))
		return HM_STR_NULL;
	hm_ulid_text(&id, text);
	return hm_arena_str(&r->arena, hm_str_n(text, HM_ULID_TEXT));
}

static bool is_text(struct hm_str v)
{
	return v.len >= 2 && v.p[0] == '"';
}

static bool read_ids(struct hm_http_req *r, struct hm_str list, struct hm_inbox_mark *m)
{
	struct hm_str *v = hm_arena_alloc(&r->arena, HM_INBOX_IDS_MAX * sizeof(*v)), key, one;
	struct hm_json_iter it;

	if (v == NULL) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
		return false;
	}
	if (list.p[0] != '[' || !hm_json_iter(list, &it))
		return bad(r, "ids", "ids: expected a list of items' ids");
	m->ids = v;
	while (hm_json_next(&it, &key, &one)) {
		if (m->n == HM_INBOX_IDS_MAX)
			return bad(r, "ids", "ids: at most 1000 at once");
		v[m->n] = is_text(one) ? item_id(r, hm_json_text(one, &r->arena)) : HM_STR_NULL;
		if (v[m->n++].p == NULL)
			return bad(r, "ids", "ids: an id has the 26 characters it had in the list");
	}
	return m->n > 0 || bad(r, "ids", "ids: expected at least one");
}

static bool read_member(struct hm_http_req *r, struct hm_str key, struct hm_str v, struct hm_inbox_mark *m,
			bool *all)
{
	struct hm_str text = is_text(v) ? hm_json_text(v, &r->arena) : HM_STR_NULL;

	if (hm_str_is(key, "ids"))
		return read_ids(r, v, m);
	if (hm_str_is(key, "all")) {
		*all = hm_str_is(v, "true");
		return *all || bad(r, "all", "all: expected true");
	}
	if (hm_str_is(key, "before")) {
		m->until = text.p ? item_id(r, text) : HM_STR_NULL;
		return m->until.p != NULL || bad(r, "before", "before: expected the id of an item");
	}
	if (hm_str_is(key, "category")) {
		m->category = text;
		return (text.p && text.len <= HM_INBOX_CATEGORY_MAX) ||
		       bad(r, "category", "category: expected a text of at most 64 bytes");
	}
	if (hm_str_is(key, "state")) {
		m->states = 0;
		for (unsigned i = 0; i < HM_INBOX_STATES; i++)
			if (hm_str_is(text, hm_inbox_state_name(i)))
				m->states = (uint8_t)(1u << i);
		return m->states || bad(r, "state", "state: one of unread, read, archived");
	}
	inbox_problem(r, HM_PROBLEM_INVALID, NULL,
		      "\"%.*s\" is not known here; ids, or all with before, state, category are",
		      (int)hm_min(key.len, (size_t)40), key.p);
	return false;
}

static bool read_body(struct hm_http_req *r, struct hm_inbox_mark *m)
{
	struct hm_str body = hm_arena_str(&r->arena, r->body), key, v;
	struct hm_json_iter it;
	bool all = false;

	if (r->body.len == 0 || body.p == NULL || !hm_json_check(body) || hm_json_trim(body).p[0] != '{' ||
	    !hm_json_iter(hm_json_trim(body), &it)) {
		inbox_problem(r, HM_PROBLEM_BAD_SYNTAX, NULL,
			      "expected a JSON object: {\"ids\": [...]} or {\"all\": true}");
		return false;
	}
	while (hm_json_next(&it, &key, &v))
		if (!read_member(r, key, v, m, &all))
			return false;
	if (all == (m->n > 0))
		return bad(r, "ids", "give ids, or all: true, and not both");
	return all || (m->until.p == NULL && m->category.p == NULL) ||
	       bad(r, "ids", "before, state and category go with all: true");
}

/* -- the answer ---------------------------------------------------------------------------------------- */

static void on_marked(void *arg, const struct hm_inbox_marked *m, const struct hm_err *err)
{
	struct change *c = arg;
	struct hm_http_req *r = c->r;
	struct hm_buf b;

	HM_CHECK(c, CHANGE_MAGIC);
	hm_buf_init_arena(&b, &r->arena, 4096);
	if (err != NULL) {
		inbox_problem_redis(r, err);
	} else if (m->no_until) {
		bad(r, "before", "before: there is no such item, or not any more");
	} else if (c->one && m->missing) {
		inbox_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "there is no such item, or not any more");
	} else {
		hm_buf_printf(&b, "{\"changed\":%zu,\"missing\":%zu,\"counts\":", m->changed, m->missing);
		hm_inbox_counts_json(&m->counts, &b);
		hm_buf_printf(&b, ",\"at\":\"%llu.%llu\"}", (unsigned long long)m->counts.arrivals,
			      (unsigned long long)m->counts.version);
		inbox_json(r, hm_buf_str(&b));
	}
	if (err == NULL) {
		hm_stats_add(c->ib->deps.tick->stats, HM_CT_INBOX_MARKED, m->changed);
		inbox_report_again(c->ib, c->who.user, m->unreported, m->n_unreported);
	}
	hm_http_release(r);
}

/* What `all` means when no state is given. */
static uint8_t states_of(enum hm_inbox_action a)
{
	switch (a) {
	case HM_INBOX_DO_READ: return 1u << HM_INBOX_UNREAD;
	case HM_INBOX_DO_UNREAD: return 1u << HM_INBOX_READ;
	case HM_INBOX_DO_UNARCHIVE: return 1u << HM_INBOX_ARCHIVED;
	case HM_INBOX_DO_ARCHIVE: return 1u << HM_INBOX_UNREAD | 1u << HM_INBOX_READ;
	default: return (1u << HM_INBOX_STATES) - 1;
	}
}

static void change(struct hm_http_req *r, enum hm_inbox_action action)
{
	struct change *c = hm_arena_zalloc(&r->arena, sizeof(*c));
	bool named = r->route->scope != HM_SCOPE_NONE;
	struct hm_inbox_ref who;
	struct hm_str *id;

	if (c == NULL) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
		return;
	}
	if (!(named ? inbox_named_user(r, &c->who) : inbox_user(r, &c->who)))
		return;
	c->mark.action = action;
	c->mark.states = states_of(action);
	if (!named && r->params[0].p != NULL) {
		id = hm_arena_alloc(&r->arena, sizeof(*id));
		if (id != NULL)
			*id = item_id(r, r->params[0]);
		if (id == NULL || id->p == NULL) {
			inbox_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "there is no such item");
			return;
		}
		c->one = true;
		c->mark.ids = id;
		c->mark.n = 1;
	} else if (!read_body(r, &c->mark)) {
		return;
	}
	HM_MAGIC_SET(c, CHANGE_MAGIC);
	c->r = r;
	c->ib = inbox_of(r);
	who = inbox_ref(c->ib, c->who.user);
	hm_http_hold(r);
	hm_inbox_mark(&who, &c->mark, &c->ask, on_marked, c);
}

void inbox_post_read(struct hm_http_req *r)
{
	change(r, HM_INBOX_DO_READ);
}

void inbox_post_unread(struct hm_http_req *r)
{
	change(r, HM_INBOX_DO_UNREAD);
}

void inbox_post_archive(struct hm_http_req *r)
{
	change(r, HM_INBOX_DO_ARCHIVE);
}

void inbox_post_unarchive(struct hm_http_req *r)
{
	change(r, HM_INBOX_DO_UNARCHIVE);
}

void inbox_post_delete(struct hm_http_req *r)
{
	change(r, HM_INBOX_DO_DELETE);
}

void inbox_delete_item(struct hm_http_req *r)
{
	change(r, HM_INBOX_DO_DELETE);
}

/* -- everything of a user ------------------------------------------------------------------------------ */

static void on_erased(void *arg, const struct hm_err *err)
{
	struct change *c = arg;
	struct hm_http_req *r = c->r;

	HM_CHECK(c, CHANGE_MAGIC);
	if (err != NULL)
		inbox_problem_redis(r, err);
	else
		hm_http_reply(r, &(struct hm_http_answer){.status = 204});
	hm_http_release(r);
}

void inbox_erase(struct hm_http_req *r)
{
	struct change *c = hm_arena_zalloc(&r->arena, sizeof(*c));
	struct hm_inbox_ref who;

	if (c == NULL) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
		return;
	}
	if (!inbox_named_user(r, &c->who))
		return;
	HM_MAGIC_SET(c, CHANGE_MAGIC);
	c->r = r;
	c->ib = inbox_of(r);
	who = inbox_ref(c->ib, c->who.user);
	hm_http_hold(r);
	hm_inbox_erase(&who, &c->ask, on_erased, c);
}
