/*
 * driver.c - inbox://: messages into Redis
 *
 *   method   PUT
 *   body     {"to": [{"user": "u-1", "id": "01H..."}, ...], "expires": seconds, "category": "...", "collapse": "...", "item": {...}}
 *            with one to RECIPIENTS_MAX recipients, each with the id of its own message; expires, category and collapse may be
 *            missing; item is what the user gets
 *
 *   status   200 stored, 208 all were there already, 410 too late, 400 not such a body, 413 item too large (inbox.max_item),
 *            503 Redis refused
 *   answer   {"code": "stored", "message": "...", "results": [{"code": ...}, ...]}, results with more than one recipient;
 *            code: stored again expired malformed too_large refused down unknown
 *
 * Calls that were stored end when their receipts (delivered) are in the receipts' stream. Fate of a call of which nothing was
 * stored: NOT_SENT when nothing can have been, MAYBE when that is not known; sending it again is harmless (store.h).
 */
#include <stdlib.h>

#include "adapter/jsonscan.h"
#include "base/log.h"
#include "inbox/inbox_int.h"
#include "wire/wire_int.h"

#define ORIGIN_MAGIC   0x69626f72u
#define JOB_MAGIC      0x69626a6fu
#define RECIPIENTS_MAX 100
#define IN_FLIGHT_MAX  1000 /* calls */

enum code { STORED, AGAIN, EXPIRED, MALFORMED, TOO_LARGE, REFUSED, DOWN, UNKNOWN };
static const char *const code_names[] = {"stored",    "again",	 "expired", "malformed",
					 "too_large", "refused", "down",    "unknown"};
static const int code_status[] = {200, 208, 410, 400, 413, 503, 0, 0};

struct origin {
	uint32_t magic;
	struct hm_origin *origin;
	struct hm_inbox *inbox;
	struct hm_list running; /* job.call->node */
	bool closed;
	size_t jobs; /* also those whose call is gone */
};

struct put { /* one recipient */
	struct job *job;
	struct hm_inbox_ask ask;
	struct hm_ulid id;
	struct hm_str user, id_text; /* of the body */
	enum code code;
};
struct job {
	uint32_t magic;
	struct origin *o;
	struct hm_call *call; /* NULL: it was dropped */
	size_t n, open;
	struct hm_err err; /* the last that went wrong */
	struct inbox_report report;
	struct put v[]; /* n, and behind them the ids to report */
};

static size_t job_size(size_t n)
{
	return sizeof(struct job) + n * (sizeof(struct put) + sizeof(struct hm_ulid));
}

/* One recipient is the rule; calls with several come from the larger slab. */
void inbox_jobs_init(struct hm_inbox *ib)
{
	hm_slab_init(&ib->jobs[0], "inbox calls", job_size(1), 0);
	hm_slab_init(&ib->jobs[1], "inbox calls of several", job_size(RECIPIENTS_MAX), 0);
}

/* -- the end ----------------------------------------------------------------------------------------- */

static void maybe_closed(struct origin *o)
{
	if (!o->closed || o->jobs > 0)
		return;
	o->closed = false;
	o->origin->wire->sessions--;
	wire_maybe_closed(o->origin->wire);
}

static void job_free(struct job *j)
{
	struct origin *o = j->o;

	HM_MAGIC_CLEAR(j);
	hm_slab_free(&o->inbox->jobs[j->n > 1], j);
	o->jobs--;
	maybe_closed(o);
}

static void answer(struct hm_call *c, int status, enum code code, const char *message, const struct job *j)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, c->arena, 64u << 10);
	hm_buf_printf(&b, "{\"code\":\"%s\"", code_names[code]);
	if (message[0]) {
		hm_buf_lit(&b, ",\"message\":\"");
		hm_buf_json(&b, hm_str_c(message));
		hm_buf_putc(&b, '"');
	}
	if (j != NULL && j->n > 1) {
		hm_buf_lit(&b, ",\"results\":[");
		for (size_t i = 0; i < j->n; i++)
			hm_buf_printf(&b, "%s{\"code\":\"%s\"}", i ? "," : "", code_names[j->v[i].code]);
		hm_buf_putc(&b, ']');
	}
	hm_buf_putc(&b, '}');
	c->status = status;
	c->answer_cut |= !call_append(c, b.p, b.len) || b.err != 0;
	call_answered(c);
}

static void finish(struct job *j)
{
	struct hm_call *c = j->call;
	struct origin *o = j->o;
	enum code best = UNKNOWN;
	bool maybe = false;

	for (size_t i = 0; i < j->n; i++) {
		best = hm_min(best, j->v[i].code);
		maybe |= j->v[i].code == UNKNOWN;
	}
	if (c != NULL) {
		hm_list_remove(&o->running, &c->node);
		if (code_status[best])
			answer(c, code_status[best], best, best <= AGAIN ? "" : j->err.text, j);
		else
			call_finish(c, maybe ? HM_FATE_MAYBE : HM_FATE_NOT_SENT, j->err.code, "%s",
				    j->err.text);
		if (j->err.code)
			origin_note(o->origin, &j->err);
		origin_pump_later(o->origin);
	}
	job_free(j);
}

/* -- reported, then done ----------------------------------------------------------------------------- */

static void on_reported(struct inbox_report *r, bool ok)
{
	struct job *j = hm_container_of(r, struct job, report);

	HM_CHECK(j, JOB_MAGIC);
	if (!ok) {
		/* The items are there, but a receipt is not: another attempt stores nothing and reports. */
		hm_err_set(&j->err, HM_EAGAIN, "the items are stored; their receipts are not");
		for (size_t i = 0; i < j->n; i++)
			if (j->v[i].code <= AGAIN)
				j->v[i].code = UNKNOWN;
	}
	finish(j);
}

static void stored(struct job *j)
{
	struct inbox_report *r = &j->report;

	r->ids = (struct hm_ulid *)(void *)(j->v + j->n);
	r->n = 0;
	for (size_t i = 0; i < j->n; i++)
		if (j->v[i].code <= AGAIN)
			r->ids[r->n++] = j->v[i].id;
	hm_stats_add(j->o->inbox->deps.tick->stats, HM_CT_INBOX_STORED, r->n);
	(void)hm_fault(HM_FAULT_inbox_stored);
	if (r->n == 0 || j->call == NULL)
		finish(j);
	else
		inbox_report(j->o->inbox, r, HM_RC_DELIVERED, on_reported);
}

static void on_added(void *arg, enum hm_inbox_added what, const struct hm_err *err)
{
	struct put *p = arg;
	struct job *j = p->job;

	HM_CHECK(j, JOB_MAGIC);
	if (err == NULL) {
		p->code = what == HM_INBOX_STORED ? STORED : what == HM_INBOX_AGAIN ? AGAIN : EXPIRED;
	} else {
		j->err = *err;
		p->code = err->code == HM_EREDIS			       ? REFUSED
			  : err->code == HM_ELOST || err->code == HM_ETIMEDOUT ? UNKNOWN
									       : DOWN;
	}
	if (p->code == EXPIRED)
		hm_err_set(&j->err, HM_EINVAL, "the item has expired");
	if (--j->open == 0)
		stored(j);
}

/* -- the body ---------------------------------------------------------------------------------------- */

static struct hm_str text_of(struct hm_str object, const char *name, struct hm_arena *a)
{
	struct hm_str v;

	if (!hm_json_member(object, hm_str_c(name), &v) || v.len < 2 || v.p[0] != '"')
		return HM_STR("");
	return hm_json_text(v, a);
}

/* The parts of a body, and how many recipients. */
static const char *read_body(struct hm_str body, struct hm_arena *a, struct hm_inbox_add *x,
			     struct hm_str *to_r, size_t *n_r)
{
	struct hm_json_iter it;
	struct hm_str key, v;
	uint64_t s;

	if (!hm_json_check(body))
		return "the body is not JSON";
	body = hm_json_trim(body);
	if (hm_json_member(body, HM_STR("expires"), &v)) {
		if (!hm_str_u64(v, &s) || s > UINT64_C(99999999999))
			return "expires: expected Unix seconds";
		x->expires_ms = hm_max(s * 1000, (uint64_t)1);
	}
	x->category = text_of(body, "category", a);
	x->collapse = text_of(body, "collapse", a);
	if (x->category.len > HM_INBOX_CATEGORY_MAX)
		return "category: at most 64 bytes";
	if (x->collapse.len > HM_INBOX_COLLAPSE_MAX)
		return "collapse: at most 256 bytes";
	if (!hm_json_member(body, HM_STR("item"), &x->json) || x->json.p[0] != '{')
		return "item: expected an object";
	*n_r = 0;
	if (hm_json_member(body, HM_STR("to"), to_r) && to_r->p[0] == '[' && hm_json_iter(*to_r, &it))
		while (hm_json_next(&it, &key, &v))
			++*n_r;
	return *n_r >= 1 && *n_r <= RECIPIENTS_MAX ? NULL : "to: expected a list of 1 to 100 recipients";
}

static const char *read_recipients(struct job *j, struct hm_str list, struct hm_arena *a)
{
	struct hm_json_iter it;
	struct hm_str key, v;
	size_t i = 0;

	if (!hm_json_iter(list, &it))
		return "to: expected a list";
	while (i < j->n && hm_json_next(&it, &key, &v)) {
		struct put *p = &j->v[i++];

		p->job = j;
		p->code = UNKNOWN;
		p->user = text_of(v, "user", a);
		p->id_text = text_of(v, "id", a);
		if (!hm_inbox_user_ok(p->user))
			return "user: 1 to 128 bytes, no control characters";
		if (!hm_ulid_parse(p->id_text, &p->id))
			return "id: expected the id of a message";
	}
	return NULL;
}

static struct job *job_new(struct origin *o, size_t n)
{
	struct job *j = hm_slab_alloc(&o->inbox->jobs[n > 1]);

	if (j == NULL)
		return NULL;
	memset(j, 0, sizeof(*j));
	HM_MAGIC_SET(j, JOB_MAGIC);
	j->o = o;
	j->n = n;
	o->jobs++;
	return j;
}

static void start(struct origin *o, struct hm_call *c)
{
	const struct hm_settings *set = o->inbox->settings;
	struct hm_inbox_add x = {.max_items = (uint32_t)set->inbox.max_items};
	struct hm_str to = HM_STR_NULL;
	struct job *j;
	const char *wrong;
	size_t n;

	wrong = read_body(c->body, c->arena, &x, &to, &n);
	if (wrong != NULL) {
		answer(c, 400, MALFORMED, wrong, NULL);
		return;
	}
	if (x.json.len > set->inbox.max_item) {
		answer(c, 413, TOO_LARGE, "the item is larger than inbox.max_item", NULL);
		return;
	}
	j = job_new(o, n);
	if (j == NULL) {
		call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
		return;
	}
	wrong = read_recipients(j, to, c->arena);
	if (wrong != NULL) {
		answer(c, 400, MALFORMED, wrong, NULL);
		job_free(j);
		return;
	}
	j->call = c;
	c->state = CALL_DRIVER;
	c->driver = j;
	hm_list_push(&o->running, &c->node);
	j->open = n;
	for (size_t i = 0; i < n; i++) {
		struct hm_inbox_ref who = inbox_ref(o->inbox, j->v[i].user);

		x.id = j->v[i].id_text;
		hm_inbox_add(&who, &x, &j->v[i].ask, on_added, &j->v[i]);
	}
}

/* -- the origin -------------------------------------------------------------------------------------- */

static int open_(struct hm_origin *o, struct hm_err *e)
{
	struct hm_inbox *ib = o->wire->opts.drivers[HM_PROTO_INBOX].arg;
	struct origin *x;

	if (o->opts.tls)
		return hm_err_set(e, HM_EINVAL, "write inbox://: the inbox is where redis.url is");
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(x, ORIGIN_MAGIC);
	x->origin = o;
	x->inbox = ib; /* NULL: none in this thread, which sends no messages */
	hm_list_init(&x->running);
	o->driver = x;
	o->wire->sessions++;
	return 0;
}

static size_t room(const struct hm_origin *o, bool urgent)
{
	const struct origin *x = o->driver;
	size_t most = IN_FLIGHT_MAX;

	if (!urgent)
		most -= origin_reserve(IN_FLIGHT_MAX);
	return most > x->running.len ? most - x->running.len : 0;
}

static void pump(struct hm_origin *o)
{
	struct origin *x = o->driver;

	HM_CHECK(x, ORIGIN_MAGIC);
	if (o->wire->closing)
		return;
	for (bool urgent = true;; urgent = false) {
		while (!hm_list_empty(urgent ? &o->urgent : &o->normal) && room(o, urgent)) {
			struct hm_call *c = origin_next(o, urgent);

			if (x->inbox == NULL || x->inbox->redis == NULL)
				call_finish(c, HM_FATE_NOT_SENT, HM_EAGAIN, "there is no inbox here");
			else
				start(x, c);
		}
		if (!urgent)
			break;
	}
	origin_check_room(o);
}

static bool drop(struct hm_call *c)
{
	struct job *j = c->driver;

	HM_CHECK(j, JOB_MAGIC);
	hm_list_remove(&j->o->running, &c->node);
	j->call = NULL; /* freed when Redis has answered */
	return true;
}

static void close_(struct hm_origin *o)
{
	struct origin *x = o->driver;

	HM_CHECK(x, ORIGIN_MAGIC);
	x->closed = true;
	maybe_closed(x);
}

static void fini(struct hm_origin *o)
{
	struct origin *x = o->driver;

	HM_CHECK(x, ORIGIN_MAGIC);
	HM_MAGIC_CLEAR(x);
	free(x);
	o->driver = NULL;
}

static void describe(const struct hm_origin *o, struct hm_buf *out)
{
	const struct origin *x = o->driver;

	hm_buf_printf(out, ",\"in_flight\":%zu", x->running.len);
}

const struct hm_driver_ops hm_inbox_driver = {
	.protocol = HM_PROTO_INBOX,
	.open = open_,
	.pump = pump,
	.room = room,
	.drop = drop,
	.close = close_,
	.fini = fini,
	.describe = describe,
};
