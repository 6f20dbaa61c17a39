/*
 * api_read.c - GET: a page of a list, as JSON or as a piece of a file
 */
#include <stdio.h>

#include "base/obj.h"
#include "gates/api_int.h"

#define PAGE_MAGIC    0x73706167u
#define LIMIT_DEFAULT 100
#define OUT_MAX	      (48u << 20)

bool hm_sapi_consents(const struct hm_http_req *r)
{
	return hm_str_starts(r->path, HM_STR("/v1/consents"));
}

void hm_sapi_problem(struct hm_http_req *r, enum hm_problem p, const char *field, const char *text)
{
	hm_http_problem(r, p, &(struct hm_problem_info){.field = hm_str_c(field)}, "%s", text);
}

void hm_sapi_no_memory(struct hm_http_req *r)
{
	hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1}, "out of memory");
}

void hm_sapi_problem_redis(struct hm_http_req *r, const struct hm_err *e)
{
	enum hm_problem p = hm_http_redis_problem(e);

	hm_http_problem(r, p, &(struct hm_problem_info){.retry_after_s = p == HM_PROBLEM_BUSY ? 1 : 2},
			"%s%s", e->text,
			p == HM_PROBLEM_QUEUE_UNKNOWN ? "; the request may be repeated" : "");
}

static bool bad(struct hm_http_req *r, const char *field, const char *text)
{
	hm_sapi_problem(r, HM_PROBLEM_BAD_REQUEST, field, text);
	return false;
}

static bool read_kind(struct hm_http_req *r, struct hm_suppress_filter *f)
{
	struct hm_str address = hm_http_query(r, "address"), user = hm_http_query(r, "user"),
		      kind = hm_http_query(r, "kind");

	if (kind.p && !hm_str_is(kind, "address") && !hm_str_is(kind, "user"))
		return bad(r, "kind", "kind may be address or user");
	if (address.len && user.len)
		return bad(r, "user", "ask for an address or a user, not both");
	if ((address.p && !address.len) || (user.p && !user.len))
		return bad(r, address.p ? "address" : "user", "must not be empty");
	if (address.len > HM_SUPPRESS_SUBJECT_MAX || user.len > HM_SUPPRESS_SUBJECT_MAX)
		return bad(r, address.len ? "address" : "user", "has at most 2048 bytes");
	f->subject = address.len ? address : user;
	f->addresses = address.len || hm_str_is(kind, "address");
	f->users = user.len || hm_str_is(kind, "user");
	if (f->addresses && f->users)
		return bad(r, "kind", "kind does not fit whom is asked for");
	return true;
}

bool hm_sapi_filter(struct hm_http_req *r, struct hm_suppress_filter *f)
{
	struct hm_str medium = hm_http_query(r, "medium"), category = hm_http_query(r, "category"),
		      reason = hm_http_query(r, "reason");
	struct hm_err e = {0};

	*f = (struct hm_suppress_filter){.consents = hm_sapi_consents(r),
					 .medium = HM_SUPPRESS_ANY,
					 .category = HM_STR_NULL,
					 .reason = -1};
	if (!read_kind(r, f))
		return false;
	if (medium.p && hm_suppress_read_medium(medium, &f->medium, &e))
		return bad(r, "medium", e.text);
	if (category.p)
		f->category = hm_str_is(category, "*") ? HM_STR("") : category;
	if (f->category.len > HM_SUPPRESS_CATEGORY_MAX)
		return bad(r, "category", "has at most 128 bytes");
	if (reason.p && f->consents)
		return bad(r, "reason", "consents have none");
	if (reason.p && (f->reason = hm_suppress_reason_find(reason)) < 0)
		return bad(r, "reason",
			   "must be unsubscribe, hard_bounce, complaint, invalid_token or manual");
	return true;
}

/* -- the page ------------------------------------------------------------------------------------------ */

enum form { FORM_JSON, FORM_LINES, FORM_CSV };
struct page { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held */
	enum form form;
	bool first;
};

static void put_page(const struct page *p, struct hm_buf *b, const struct hm_suppress_entry *v, size_t n,
		     struct hm_str next)
{
	if (p->form == FORM_JSON)
		hm_buf_puts(b, hm_sapi_consents(p->r) ? HM_STR("{\"consents\":[")
						      : HM_STR("{\"suppressions\":["));
	if (p->form == FORM_CSV && p->first)
		hm_suppress_put_csv_head(b);
	for (size_t i = 0; i < n; i++) {
		if (p->form == FORM_CSV) {
			hm_suppress_put_csv(&v[i], b);
			continue;
		}
		if (p->form == FORM_JSON && i)
			hm_buf_putc(b, ',');
		hm_suppress_put_json(&v[i], b);
		if (p->form == FORM_LINES)
			hm_buf_putc(b, '\n');
	}
	if (p->form != FORM_JSON)
		return;
	hm_buf_putc(b, ']');
	if (next.len) {
		hm_buf_lit(b, ",\"next\":\"");
		hm_buf_puts(b, next);
		hm_buf_putc(b, '"');
	}
	hm_buf_putc(b, '}');
}

static void on_page(void *arg, const struct hm_suppress_entry *v, size_t n, struct hm_str next,
		    const struct hm_err *err)
{
	static const char *const types[] = {"application/json", "application/x-ndjson",
					    "text/csv; charset=utf-8"};
	struct page *p = arg;
	struct hm_http_req *r = p->r;
	struct hm_http_answer a = {.status = 200};
	struct hm_buf b;

	HM_CHECK(p, PAGE_MAGIC);
	if (err) {
		hm_sapi_problem_redis(r, err);
	} else {
		hm_buf_init_arena(&b, &r->arena, OUT_MAX);
		put_page(p, &b, v, n, next);
		a.type = types[p->form];
		a.body = hm_buf_str(&b);
		if (next.len && p->form != FORM_JSON)
			a.headers = hm_arena_printf(&r->arena, "Hermod-Next: %.*s\r\n", HM_STRF(next));
		if (b.err || (next.len && p->form != FORM_JSON && !a.headers.p))
			hm_sapi_no_memory(r);
		else
			hm_http_reply(r, &a);
	}
	HM_MAGIC_CLEAR(p);
	hm_http_release(r);
}

void hm_sapi_list(struct hm_http_req *r)
{
	struct hm_str cursor = hm_http_query(r, "cursor"), limit_text = hm_http_query(r, "limit"),
		      format = hm_http_query(r, "format");
	struct hm_suppress_filter f;
	uint64_t limit = LIMIT_DEFAULT;
	struct page *p;

	if (!hm_sapi_filter(r, &f))
		return;
	if (limit_text.p && (!hm_str_u64(limit_text, &limit) || limit == 0 || limit > HM_SUPPRESS_PAGE_MAX)) {
		(void)bad(r, "limit", "limit must be a number from 1 to 10000");
		return;
	}
	if (!hm_suppress_cursor_ok(cursor)) {
		(void)bad(r, "cursor", "cursor must be the next of an earlier page");
		return;
	}
	p = hm_arena_zalloc(&r->arena, sizeof(*p));
	if (p == NULL) {
		hm_sapi_no_memory(r);
		return;
	}
	if (hm_str_is(format, "jsonl"))
		p->form = FORM_LINES;
	else if (hm_str_is(format, "csv"))
		p->form = FORM_CSV;
	else if (format.p && !hm_str_is(format, "json")) {
		(void)bad(r, "format", "format may be json, jsonl or csv");
		return;
	}
	HM_MAGIC_SET(p, PAGE_MAGIC);
	p->r = r;
	p->first = cursor.len == 0;
	hm_http_hold(r);
	hm_suppress_page(hm_http_server_redis(r->srv), hm_http_server_prefix(r->srv),
			 hm_http_server_wall_ms(r->srv), &f, cursor, (uint32_t)limit, on_page, p);
}
