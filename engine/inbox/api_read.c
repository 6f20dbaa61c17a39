/*
 * api_read.c - GET: a page of items, one of them, how many there are
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/obj.h"
#include "inbox/inbox_int.h"

#define LOOK_MAGIC    0x69626c6bu
#define AGAIN_MAGIC   0x69626167u
#define LIMIT_DEFAULT 20
#define OUT_MAX	      (48u << 20)

struct look { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held */
	struct hm_inbox *ib;
	struct inbox_who who;
	struct hm_inbox_ask ask;
	bool one;
};

/* -- receipts that may have been lost ------------------------------------------------------------------ */

struct again {
	uint32_t magic;
	struct hm_inbox *ib;
	struct inbox_report report;
	struct hm_arena arena;
	struct hm_str user;
	struct hm_str *ids;
};

static void on_reported(struct inbox_report *r, bool ok)
{
	struct again *x = hm_container_of(r, struct again, report);
	struct hm_inbox_ref who = inbox_ref(x->ib, x->user);

	HM_CHECK(x, AGAIN_MAGIC);
	if (ok && !x->ib->closed)
		hm_inbox_reported(&who, x->ids, r->n);
	hm_arena_fini(&x->arena);
	HM_MAGIC_CLEAR(x);
	free(x);
}

void inbox_report_again(struct hm_inbox *ib, struct hm_str user, const struct hm_str *ids, size_t n)
{
	struct again *x = n > 0 && !ib->closed ? calloc(1, sizeof(*x)) : NULL;

	if (x == NULL)
		return;
	HM_MAGIC_SET(x, AGAIN_MAGIC);
	x->ib = ib;
	hm_arena_init(&x->arena, &ib->deps.tick->blocks, 0);
	x->user = hm_arena_str(&x->arena, user);
	x->ids = hm_arena_alloc(&x->arena, n * sizeof(*x->ids));
	x->report.ids = hm_arena_alloc(&x->arena, n * sizeof(*x->report.ids));
	for (size_t i = 0; i < n && x->ids && x->report.ids; i++) {
		x->ids[x->report.n] = hm_arena_str(&x->arena, ids[i]);
		x->report.n += hm_ulid_parse(ids[i], &x->report.ids[x->report.n]);
	}
	if (x->arena.failed || x->report.n == 0) {
		hm_arena_fini(&x->arena);
		HM_MAGIC_CLEAR(x);
		free(x);
		return;
	}
	inbox_report(ib, &x->report, HM_RC_READ, on_reported);
}

/* -- answers ------------------------------------------------------------------------------------------- */

static struct look *look_new(struct hm_http_req *r, bool named)
{
	struct look *k = hm_arena_zalloc(&r->arena, sizeof(*k));

	if (k == NULL) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
		return NULL;
	}
	if (!(named ? inbox_named_user(r, &k->who) : inbox_user(r, &k->who)))
		return NULL;
	HM_MAGIC_SET(k, LOOK_MAGIC);
	k->r = r;
	k->ib = inbox_of(r);
	return k;
}

static void reply(struct hm_http_req *r, struct hm_buf *b)
{
	if (b->err)
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
	else
		inbox_json(r, hm_buf_str(b));
}

static void put_counts(struct hm_buf *b, const struct hm_inbox_page *p)
{
	hm_buf_lit(b, "\"counts\":");
	hm_inbox_counts_json(&p->counts, b);
	hm_buf_printf(b, ",\"at\":\"%llu.%llu\"}", (unsigned long long)p->counts.arrivals,
		      (unsigned long long)p->counts.version);
}

static void on_page(void *arg, const struct hm_inbox_page *p, const struct hm_err *err)
{
	struct look *k = arg;
	struct hm_http_req *r = k->r;
	struct hm_buf b;

	HM_CHECK(k, LOOK_MAGIC);
	hm_buf_init_arena(&b, &r->arena, OUT_MAX);
	if (err != NULL) {
		inbox_problem_redis(r, err);
	} else if (k->one && p->n == 0) {
		inbox_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "there is no such item, or not any more");
	} else if (k->one) {
		hm_inbox_item_json(&p->v[0], &b);
		reply(r, &b);
	} else {
		hm_buf_lit(&b, "{\"items\":[");
		for (size_t i = 0; i < p->n; i++) {
			if (i > 0)
				hm_buf_putc(&b, ',');
			hm_inbox_item_json(&p->v[i], &b);
		}
		hm_buf_lit(&b, "],");
		if (p->next)
			hm_buf_printf(&b, "\"next\":\"%llu\",", (unsigned long long)p->next);
		put_counts(&b, p);
		reply(r, &b);
	}
	if (err == NULL)
		inbox_report_again(k->ib, k->who.user, p->unreported, p->n_unreported);
	hm_http_release(r);
}

static void on_counts(void *arg, const struct hm_inbox_page *p, const struct hm_err *err)
{
	struct look *k = arg;
	struct hm_http_req *r = k->r;
	struct hm_buf b;

	HM_CHECK(k, LOOK_MAGIC);
	hm_buf_init_arena(&b, &r->arena, 4096);
	if (err != NULL) {
		inbox_problem_redis(r, err);
	} else {
		hm_buf_putc(&b, '{');
		put_counts(&b, p);
		reply(r, &b);
	}
	hm_http_release(r);
}

/* -- questions ----------------------------------------------------------------------------------------- */

static bool bad(struct hm_http_req *r, const char *field, const char *text)
{
	inbox_problem(r, HM_PROBLEM_BAD_REQUEST, field, "%s", text);
	return false;
}

static bool read_filter(struct hm_http_req *r, struct hm_inbox_filter *f)
{
	struct hm_str state = hm_http_query(r, "state"), limit = hm_http_query(r, "limit"),
		      cursor = hm_http_query(r, "cursor");
	uint64_t n;

	f->states = 1u << HM_INBOX_UNREAD | 1u << HM_INBOX_READ;
	f->limit = LIMIT_DEFAULT;
	f->category = hm_http_query(r, "category");
	if (hm_str_is(state, "all")) {
		f->states = (1u << HM_INBOX_STATES) - 1;
	} else if (state.p != NULL) {
		f->states = 0;
		for (unsigned i = 0; i < HM_INBOX_STATES; i++)
			if (hm_str_is(state, hm_inbox_state_name(i)))
				f->states = (uint8_t)(1u << i);
		if (f->states == 0)
			return bad(r, "state",
				   "state is one of unread, read, archived, all; without it: all but "
				   "archived ones");
	}
	if (limit.p != NULL) {
		if (!hm_str_u64(limit, &n) || n < 1 || n > HM_INBOX_PAGE_MAX)
			return bad(r, "limit", "limit is a number from 1 to 100");
		f->limit = (uint32_t)n;
	}
	if (cursor.p != NULL && (!hm_str_u64(cursor, &f->before) || f->before == 0 || f->before >> 40))
		return bad(r, "cursor", "cursor is the `next` of the page before");
	if (f->category.len > HM_INBOX_CATEGORY_MAX)
		return bad(r, "category", "a category has at most 64 bytes");
	return true;
}

static bool is_named(const struct hm_http_req *r)
{
	return r->route->scope != HM_SCOPE_NONE;
}

void inbox_get_list(struct hm_http_req *r)
{
	struct look *k = look_new(r, is_named(r));
	struct hm_inbox_filter f = {0};
	struct hm_inbox_ref who;

	if (k == NULL || !read_filter(r, &f))
		return;
	who = inbox_ref(k->ib, k->who.user);
	hm_http_hold(r);
	hm_inbox_list(&who, &f, &k->ask, on_page, k);
}

void inbox_get_counts(struct hm_http_req *r)
{
	struct look *k = look_new(r, is_named(r));
	struct hm_inbox_filter f = {0};
	struct hm_inbox_ref who;

	if (k == NULL)
		return;
	who = inbox_ref(k->ib, k->who.user);
	hm_http_hold(r);
	hm_inbox_list(&who, &f, &k->ask, on_counts, k);
}

void inbox_get_item(struct hm_http_req *r)
{
	struct look *k = look_new(r, false);
	struct hm_ulid id;
	struct hm_inbox_ref who;
	char text[HM_ULID_TEXT + 1];

	if (k == NULL)
		return;
	if (!hm_ulid_parse(r->params[0], &id)) {
		inbox_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "there is no such item");
		return;
	}
	hm_ulid_text(&id, text);
	k->one = true;
	who = inbox_ref(k->ib, k->who.user);
	hm_http_hold(r);
	hm_inbox_get(&who, hm_str_n(text, HM_ULID_TEXT), &k->ask, on_page, k);
}
