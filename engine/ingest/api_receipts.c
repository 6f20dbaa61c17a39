/*
 * api_receipts.c - POST /v1/receipts: what became of messages, told by a customer's app
 *
 *   JSON object | array | {"receipts": [...]} | msgpack of these | JSON Lines ─▶ checked one by one ─▶ receipts.h ─▶ 202
 *
 * Receipts stand or fall one by one; the answer has a row for each, in order:
 *   {"accepted": 2, "refused": 1, "results": [{"id": "01...", "result": "noted"},
 *                                             {"field": "event", "detail": "..."}, ...]}
 * 422 when none could be read. Sending one again is harmless.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "ingest/api_int.h"
#include "ingest/receipts.h"

#define FUTURE_MS 300000u /* clocks differ */

struct intake {
	struct hm_http_req *req; /* held */
	struct hm_receipt_item *v;
	size_t n, cap, refused, index;
	struct hm_buf rows; /* per item: an offset into v or texts */
	struct hm_buf texts;
	struct hm_err first; /* why the first was refused */
};
struct row {
	bool ok;
	uint32_t at, field, detail; /* ok: index into v; else place in texts, and lengths */
};

static void intake_free(struct intake *x)
{
	hm_buf_fini(&x->rows);
	hm_buf_fini(&x->texts);
	free(x->v);
	free(x);
}

static void refuse(struct intake *x, const struct hm_err *e)
{
	struct row r = {.at = (uint32_t)x->texts.len,
			.field = (uint32_t)strlen(e->field),
			.detail = (uint32_t)strlen(e->text)};

	if (x->refused++ == 0)
		x->first = *e;
	hm_buf_puts(&x->texts, hm_str_c(e->field));
	hm_buf_puts(&x->texts, hm_str_c(e->text));
	hm_buf_put(&x->rows, &r, sizeof(r));
}

static int wrong(struct hm_err *e, const char *field, const char *text)
{
	hm_err_set(e, HM_EINVAL, "%s: %s", field, text);
	hm_err_field(e, field);
	return HM_EINVAL;
}

static int read_time(const msgpack_object *o, uint64_t now, uint64_t *ms_r, struct hm_err *e)
{
	bool ok = o->type == MSGPACK_OBJECT_STR
			  ? hm_clock_parse_rfc3339(hm_str_n(o->via.str.ptr, o->via.str.size), ms_r)
			  : o->type == MSGPACK_OBJECT_POSITIVE_INTEGER;

	if (ok && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
		*ms_r = o->via.u64;
	if (!ok)
		return wrong(e, "at", "must be milliseconds of Unix time or an RFC 3339 text");
	if (*ms_r > now + FUTURE_MS)
		return wrong(e, "at", "lies in the future");
	return 0;
}

static int read_one(const msgpack_object *o, uint64_t now, struct hm_receipt_item *x, struct hm_err *e)
{
	bool has_id = false, has_event = false;

	memset(x, 0, sizeof(*x));
	x->at_ms = now;
	if (o->type != MSGPACK_OBJECT_MAP)
		return hm_err_set(e, HM_ETYPE,
				  "a receipt is an object such as {\"id\": ..., \"event\": \"delivered\"}");
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object *k = &o->via.map.ptr[i].key, *v = &o->via.map.ptr[i].val;
		struct hm_str key = k->type == MSGPACK_OBJECT_STR ? hm_str_n(k->via.str.ptr, k->via.str.size)
								  : HM_STR("?"),
			      text = v->type == MSGPACK_OBJECT_STR ? hm_str_n(v->via.str.ptr, v->via.str.size)
								   : HM_STR_NULL;
		int rc = 0, event;

		if (v->type == MSGPACK_OBJECT_NIL)
			continue;
		if (hm_str_is(key, "id")) {
			has_id = true;
			if (text.p == NULL || !hm_ulid_parse(text, &x->id))
				return wrong(e, "id", "must be a message id, 26 characters");
		} else if (hm_str_is(key, "event")) {
			has_event = true;
			event = text.p ? hm_receipt_find(text) : -1;
			if (event < 0)
				return wrong(e, "event", "must be delivered, read, clicked or failed");
			x->event = (uint8_t)event;
		} else if (hm_str_is(key, "at")) {
			rc = read_time(v, now, &x->at_ms, e);
		} else if (hm_str_is(key, "channel")) {
			if (text.p == NULL || text.len > HM_RECEIPT_CHANNEL_MAX || !hm_utf8_valid(text) ||
			    memchr(text.p, ';', text.len) || memchr(text.p, '\0', text.len))
				return wrong(e, "channel", "must be a channel's name of at most 64 bytes");
			memcpy(x->channel, text.p, text.len);
		} else {
			hm_err_set(e, HM_EINVAL,
				   "there is no key \"%.*s\" in a receipt: id, event, at, channel",
				   (int)hm_min(key.len, (size_t)40), key.p);
			hm_err_field(e, "");
			return HM_EINVAL;
		}
		if (rc != 0)
			return rc;
	}
	if (!has_id)
		return wrong(e, "id", "is missing");
	return has_event ? 0 : wrong(e, "event", "is missing");
}

static bool add(struct intake *x, const msgpack_object *o)
{
	struct hm_http_server *s = x->req->srv;
	struct hm_err e;
	struct row r = {.ok = true, .at = (uint32_t)x->n};

	if (x->n + x->refused >= s->lim.max_batch || x->n + x->refused >= HM_RECEIPTS_MAX)
		return false;
	if (x->n == x->cap) {
		size_t cap = x->cap ? x->cap * 4 : 16;
		struct hm_receipt_item *v = realloc(x->v, cap * sizeof(*v));

		if (v == NULL)
			return false;
		x->v = v;
		x->cap = cap;
	}
	hm_err_clear(&e);
	if (read_one(o, s->tick->wall_ms, &x->v[x->n], &e) != 0) {
		refuse(x, &e);
	} else {
		x->n++;
		hm_buf_put(&x->rows, &r, sizeof(r));
	}
	return true;
}

static bool add_all(struct intake *x, const msgpack_object *root)
{
	const msgpack_object *list = root;

	if (root->type == MSGPACK_OBJECT_MAP && root->via.map.size == 1 &&
	    root->via.map.ptr[0].key.type == MSGPACK_OBJECT_STR &&
	    hm_str_is(hm_str_n(root->via.map.ptr[0].key.via.str.ptr, root->via.map.ptr[0].key.via.str.size),
		      "receipts"))
		list = &root->via.map.ptr[0].val;
	if (list->type != MSGPACK_OBJECT_ARRAY)
		return add(x, list);
	for (uint32_t i = 0; i < list->via.array.size; i++)
		if (!add(x, &list->via.array.ptr[i]))
			return false;
	return true;
}

/* false: answered. */
static bool read_lines(struct intake *x)
{
	struct hm_http_req *r = x->req;
	struct hm_str rest = r->body, line;
	msgpack_object root;
	struct hm_err e;

	while (hm_str_split(&rest, '\n', &line)) {
		line = hm_str_trim(line);
		if (line.len == 0)
			continue;
		hm_err_clear(&e);
		if (hm_api_decode(r->srv, BODY_JSON, line, &root, &e) != 0)
			refuse(x, &e);
		else if (!add(x, &root))
			return false;
	}
	return true;
}

static void answer(struct intake *x, const struct hm_receipt_item *v)
{
	struct hm_http_req *r = x->req;
	struct hm_buf *b = &r->srv->body;
	const struct row *row = (const struct row *)(const void *)x->rows.p;
	size_t lost = 0;

	for (size_t i = 0; i < x->n; i++)
		lost += v[i].result == HM_RECEIPT_LOST;
	if (lost > 0 && lost == x->n) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"Redis or the ledger did not answer; send the receipts again");
		return;
	}
	hm_buf_reset(b);
	hm_buf_printf(b, "{\"accepted\":%zu,\"refused\":%zu,\"results\":[", x->n - lost, x->refused + lost);
	for (size_t i = 0; i < x->rows.len / sizeof(*row); i++) {
		char id[HM_ULID_TEXT + 1];

		if (i)
			hm_buf_putc(b, ',');
		if (row[i].ok) {
			hm_ulid_text(&v[row[i].at].id, id);
			hm_buf_printf(b, "{\"id\":\"%s\",\"result\":\"%s\"}", id,
				      hm_receipt_result_name(v[row[i].at].result));
			continue;
		}
		hm_buf_lit(b, "{\"result\":\"invalid\"");
		if (row[i].field) {
			hm_buf_lit(b, ",\"field\":\"");
			hm_buf_json(b, hm_str_n(x->texts.p + row[i].at, row[i].field));
			hm_buf_putc(b, '"');
		}
		hm_buf_lit(b, ",\"detail\":\"");
		hm_buf_json(b, hm_str_n(x->texts.p + row[i].at + row[i].field, row[i].detail));
		hm_buf_lit(b, "\"}");
	}
	hm_buf_lit(b, "]}");
	hm_http_json(r, 202, hm_buf_str(b));
}

static void on_taken(void *arg, const struct hm_receipt_item *v, size_t n)
{
	struct intake *x = arg;
	struct hm_http_req *r = x->req;

	hm_assert(n == x->n);
	if (!r->answered)
		answer(x, v);
	intake_free(x);
	hm_http_release(r);
}

static void busy(struct hm_http_req *r)
{
	hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
			"too many receipts at once");
}

void hm_api_receipts_post(struct hm_http_req *r)
{
	struct hm_http_server *s = r->srv;
	enum body_format f = hm_api_body_format(r->content_type);
	struct intake *x;
	msgpack_object root;
	struct hm_err e;
	bool fits;

	hm_err_clear(&e);
	if (f == BODY_UNKNOWN) {
		hm_api_wrong_type(r, "application/json, application/x-ndjson or application/msgpack");
		return;
	}
	if (r->body.len == 0) {
		hm_http_problem(r, HM_PROBLEM_BAD_SYNTAX, NULL,
				"the body is empty; it must be one receipt or a list");
		return;
	}
	if (s->deps.receipts == NULL) {
		hm_http_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "this process takes no receipts");
		return;
	}
	if (f != BODY_NDJSON && hm_api_decode(s, f, r->body, &root, &e)) {
		hm_http_problem_err(r, &e);
		return;
	}
	x = calloc(1, sizeof(*x));
	if (x == NULL) {
		busy(r);
		return;
	}
	x->req = r;
	hm_buf_init(&x->rows, HM_RECEIPTS_MAX * sizeof(struct row));
	hm_buf_init(&x->texts, 8u << 20);
	fits = f == BODY_NDJSON ? read_lines(x) : add_all(x, &root);
	if (!fits || x->rows.err || x->texts.err) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, NULL,
				"at most %u receipts at a time (http.max_batch)",
				(unsigned)hm_min(s->lim.max_batch, (uint32_t)HM_RECEIPTS_MAX));
		intake_free(x);
		return;
	}
	if (x->n == 0 && x->refused > 0) {
		hm_http_problem_err(r, &x->first);
		intake_free(x);
		return;
	}
	hm_http_hold(r);
	if (!hm_receipts_take(s->deps.receipts, x->v, x->n, on_taken, x)) {
		busy(r);
		intake_free(x);
		hm_http_release(r);
	}
}
