/*
 * api_dead.c - /v1/dead: dead letters looked at, replayed, dropped; a campaign's failed ones sent again
 *
 *   query or body ─▶ struct hm_dead_opts ─▶ hm_dead_run ─▶ the answer grows letter by letter
 *
 * A run is bounded by `limit`; when there is more the answer has `next`, and the same request with it as `after` goes
 * on. A client that goes away does not end a run: nothing of it is in doubt, what it would have done can be done again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/obj.h"
#include "ingest/api_int.h"
#include "ingest/dead_letter.h"

#define DEAD_MAGIC     0x61646564u
#define LIST_DEFAULT   50
#define LIST_MAX       500
#define RUN_MAX	       1000000
#define IDS_MAX	       1000
#define SHOWN_MAX      1000 /* letters named in the answer of a replay; all are counted */
#define GROUPS_MAX     1000
#define COUNT_LOOK_MAX 2000000

struct group {
	struct hm_str name;
	uint64_t n;
};

struct dead { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held */
	struct hm_dead_opts o;
	struct hm_buf out;
	size_t shown;
	bool one; /* GET /v1/dead/{id} */
	struct hm_str by;
	struct group *groups;
	size_t n_groups;
	uint64_t others;
};

static void wrong(struct hm_http_req *r, const char *field, const char *what)
{
	hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.field = hm_str_c(field)},
			"%s: %s", field, what);
}

static struct dead *dead_new(struct hm_http_req *r, enum hm_dead_kind kind)
{
	struct hm_http_server *s = r->srv;
	struct dead *x = hm_arena_zalloc(&r->arena, sizeof(*x));

	if (x == NULL) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return NULL;
	}
	HM_MAGIC_SET(x, DEAD_MAGIC);
	x->r = r;
	x->o = (struct hm_dead_opts){.tick = s->tick,
				     .redis = s->deps.redis,
				     .prefix = s->prefix,
				     .partitions = s->partitions,
				     .kind = kind,
				     .arg = x};
	return x;
}

/* -- what is asked for ----------------------------------------------------------------------------- */

/* The words of a filter, as query parameters and as keys of the body. */
static const struct word {
	const char *name;
	size_t off;
} words[] = {
	{"reason", offsetof(struct hm_dead_filter, reason)},
	{"outcome", offsetof(struct hm_dead_filter, outcome)},
	{"campaign", offsetof(struct hm_dead_filter, campaign)},
	{"channel", offsetof(struct hm_dead_filter, channel)},
	{"category", offsetof(struct hm_dead_filter, category)},
	{"tenant", offsetof(struct hm_dead_filter, tenant)},
	{"lane", offsetof(struct hm_dead_filter, lane)},
};

static bool read_time(struct hm_str s, uint64_t *ms_r)
{
	return hm_str_u64(s, ms_r) || hm_clock_parse_rfc3339(s, ms_r);
}

static bool check_filter(struct hm_http_req *r, const struct hm_dead_filter *f)
{
	if (f->lane.len && hm_lane_find(f->lane) < 0) {
		wrong(r, "lane", "must be critical, high, normal or bulk");
		return false;
	}
	if (f->outcome.len && !hm_str_is(f->outcome, "none") && hm_outcome_find(f->outcome) < 0) {
		wrong(r, "outcome", "must be an outcome like provider_down, or none");
		return false;
	}
	return true;
}

static bool filter_of_query(struct hm_http_req *r, struct hm_dead_filter *f, bool *any_r)
{
	static const char *const times[] = {"since", "until"};
	uint64_t *const at[] = {&f->since_ms, &f->until_ms};

	*any_r = false;
	for (size_t i = 0; i < hm_countof(words); i++) {
		struct hm_str v = hm_http_query(r, words[i].name);

		*(struct hm_str *)(void *)((char *)f + words[i].off) = v;
		*any_r |= v.len > 0;
	}
	for (size_t i = 0; i < 2; i++) {
		struct hm_str v = hm_http_query(r, times[i]);

		if (v.p == NULL)
			continue;
		if (!read_time(v, at[i])) {
			wrong(r, times[i], "must be milliseconds of Unix time or RFC 3339");
			return false;
		}
		*any_r = true;
	}
	return check_filter(r, f);
}

static bool limit_of_query(struct hm_http_req *r, uint64_t most, uint64_t *limit)
{
	struct hm_str v = hm_http_query(r, "limit");
	char text[64];

	if (v.p == NULL || (hm_str_u64(v, limit) && *limit >= 1 && *limit <= most))
		return true;
	(void)snprintf(text, sizeof(text), "must be a number from 1 to %llu", (unsigned long long)most);
	wrong(r, "limit", text);
	return false;
}

static void start(struct dead *x)
{
	struct hm_err e = {0};

	hm_http_hold(x->r);
	if (hm_dead_run(&x->o, &e) == 0)
		return;
	if (e.code == HM_EINVAL)
		hm_http_problem(x->r, HM_PROBLEM_BAD_REQUEST,
				&(struct hm_problem_info){.field = hm_str_c(e.field)}, "%s", e.text);
	else
		hm_http_problem(x->r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1}, "%s",
				e.text);
	hm_buf_fini(&x->out);
	hm_http_release(x->r);
}

/* -- GET /v1/dead, GET /v1/dead/{id} ------------------------------------------------------------------ */

static void on_listed(void *arg, const struct hm_dead_letter *l, enum hm_dead_result res,
		      const struct hm_ulid *new_id, const struct hm_err *why)
{
	struct dead *x = arg;

	if (res != HM_DEAD_FOUND)
		return;
	if (x->shown++)
		hm_buf_putc(&x->out, ',');
	hm_dead_json(l, &x->out);
}

static void answer(struct dead *x, const struct hm_err *err)
{
	struct hm_http_req *r = x->r;

	if (r->answered)
		; /* nobody is there any more */
	else if (err)
		hm_http_problem_redis(r, err);
	else if (x->out.err)
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"the answer is too large; ask with a smaller limit");
	else
		hm_http_json(r, 200, hm_buf_str(&x->out));
	hm_buf_fini(&x->out);
	HM_MAGIC_CLEAR(x);
	hm_http_release(r);
}

static void put_next(struct dead *x, const struct hm_dead_totals *t)
{
	if (t->more)
		hm_buf_printf(&x->out, ",\"next\":\"%s\"", t->next);
	hm_buf_putc(&x->out, '}');
}

static void list_done(void *arg, const struct hm_dead_totals *t, const struct hm_err *err)
{
	struct dead *x = arg;

	HM_CHECK(x, DEAD_MAGIC);
	if (x->one && err == NULL && t->found == 0) {
		if (!x->r->answered)
			hm_http_problem(x->r, HM_PROBLEM_NOT_FOUND, NULL, "there is no dead letter %.*s",
					(int)hm_min(x->o.ids[0].len, (size_t)60), x->o.ids[0].p);
	} else if (!x->one) {
		hm_buf_putc(&x->out, ']');
		put_next(x, t);
	}
	answer(x, err);
}

void hm_api_dead_list(struct hm_http_req *r)
{
	struct dead *x = dead_new(r, HM_DEAD_LIST);
	struct hm_str full = hm_http_query(r, "full");
	bool any;

	if (x == NULL || !filter_of_query(r, &x->o.filter, &any))
		return;
	x->o.limit = LIST_DEFAULT;
	if (!limit_of_query(r, LIST_MAX, &x->o.limit))
		return;
	x->o.after = hm_http_query(r, "after");
	x->o.full = hm_str_is(full, "true");
	x->o.letter = on_listed;
	x->o.done = list_done;
	hm_buf_init(&x->out, HTTP_ANSWER_MAX);
	hm_buf_lit(&x->out, "{\"letters\":[");
	start(x);
}

void hm_api_dead_get(struct hm_http_req *r)
{
	struct dead *x = dead_new(r, HM_DEAD_LIST);
	struct hm_str *id = hm_arena_alloc(&r->arena, sizeof(*id));

	if (x == NULL || id == NULL)
		return;
	*id = hm_http_unescape(&r->arena, r->params[0], false);
	if (id->p == NULL) {
		wrong(r, "id", "is not percent-encoded as it should be");
		return;
	}
	x->one = true;
	x->o.ids = id;
	x->o.n_ids = 1;
	x->o.full = true;
	x->o.letter = on_listed;
	x->o.done = list_done;
	hm_buf_init(&x->out, HTTP_ANSWER_MAX);
	start(x);
}

/* -- GET /v1/dead/count ------------------------------------------------------------------------------- */

static void on_counted(void *arg, const struct hm_dead_letter *l, enum hm_dead_result res,
		       const struct hm_ulid *new_id, const struct hm_err *why)
{
	struct dead *x = arg;
	struct hm_str v = HM_STR_NULL;

	if (x->by.len == 0 || !hm_dead_field(l, x->by, &v))
		return;
	for (size_t i = 0; i < x->n_groups; i++)
		if (hm_str_eq(x->groups[i].name, v)) {
			x->groups[i].n++;
			return;
		}
	if (x->n_groups == GROUPS_MAX) {
		x->others++;
		return;
	}
	v = v.len ? hm_arena_str(&x->r->arena, v) : HM_STR("");
	if (v.p != NULL)
		x->groups[x->n_groups++] = (struct group){v, 1};
}

static int by_number(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	return x->n == y->n ? hm_str_cmp(x->name, y->name) : x->n < y->n ? 1 : -1;
}

static void count_done(void *arg, const struct hm_dead_totals *t, const struct hm_err *err)
{
	struct dead *x = arg;

	HM_CHECK(x, DEAD_MAGIC);
	hm_buf_printf(&x->out, "{\"letters\":%llu", (unsigned long long)t->found);
	if (x->by.len) {
		qsort(x->groups, x->n_groups, sizeof(*x->groups), by_number);
		hm_buf_lit(&x->out, ",\"by\":\"");
		hm_buf_json(&x->out, x->by);
		hm_buf_lit(&x->out, "\",\"groups\":[");
		for (size_t i = 0; i < x->n_groups; i++) {
			hm_buf_puts(&x->out, i ? HM_STR(",{\"value\":\"") : HM_STR("{\"value\":\""));
			hm_buf_json(&x->out, x->groups[i].name);
			hm_buf_printf(&x->out, "\",\"letters\":%llu}", (unsigned long long)x->groups[i].n);
		}
		hm_buf_printf(&x->out, "],\"others\":%llu", (unsigned long long)x->others);
	}
	put_next(x, t);
	answer(x, err);
}

void hm_api_dead_count(struct hm_http_req *r)
{
	struct dead *x = dead_new(r, HM_DEAD_LIST);
	struct hm_dead_letter none = {0};
	struct hm_str v;
	bool any;

	if (x == NULL || !filter_of_query(r, &x->o.filter, &any))
		return;
	x->by = hm_http_query(r, "by");
	if (x->by.len && !hm_dead_field(&none, x->by, &v)) {
		wrong(r, "by",
		      "must be reason, outcome, channel, route, campaign, category, tenant, lane or node");
		return;
	}
	x->groups = hm_arena_alloc(&r->arena, GROUPS_MAX * sizeof(*x->groups));
	if (x->groups == NULL) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	x->o.limit = COUNT_LOOK_MAX;
	x->o.after = hm_http_query(r, "after");
	x->o.letter = on_counted;
	x->o.done = count_done;
	hm_buf_init(&x->out, HTTP_ANSWER_MAX);
	start(x);
}

/* -- POST /v1/dead/replay, DELETE /v1/dead, POST /v1/campaigns/{name}/resend-failed ---------------------- */

static void on_done_with(void *arg, const struct hm_dead_letter *l, enum hm_dead_result res,
			 const struct hm_ulid *new_id, const struct hm_err *why)
{
	static const char *const names[] = {"found", "replayed", "dropped", "refused", "gone"};
	struct dead *x = arg;
	char name[HM_DEAD_PLACE_MAX], text[HM_ULID_TEXT + 1];

	if (x->shown >= SHOWN_MAX || (res == HM_DEAD_DROPPED && !x->o.n_ids))
		return;
	if (x->shown++)
		hm_buf_putc(&x->out, ',');
	hm_buf_lit(&x->out, "{\"id\":\"");
	hm_buf_json(&x->out, hm_dead_name(l, name));
	hm_buf_printf(&x->out, "\",\"result\":\"%s\"", names[res]);
	if (new_id) {
		hm_ulid_text(new_id, text);
		hm_buf_printf(&x->out, ",\"new_id\":\"%s\"", text);
	}
	if (why) {
		hm_buf_lit(&x->out, ",\"why\":\"");
		hm_buf_json(&x->out, hm_str_c(why->text));
		hm_buf_putc(&x->out, '"');
	}
	hm_buf_putc(&x->out, '}');
}

static void run_done(void *arg, const struct hm_dead_totals *t, const struct hm_err *err)
{
	struct dead *x = arg;

	HM_CHECK(x, DEAD_MAGIC);
	hm_buf_lit(&x->out, "]");
	if (x->o.dry_run)
		hm_buf_printf(&x->out, ",\"dry_run\":true,\"found\":%llu", (unsigned long long)t->found);
	if (x->o.kind == HM_DEAD_DROP)
		hm_buf_printf(&x->out, ",\"dropped\":%llu", (unsigned long long)t->dropped);
	else
		hm_buf_printf(&x->out, ",\"replayed\":%llu,\"refused\":%llu", (unsigned long long)t->replayed,
			      (unsigned long long)t->refused);
	hm_buf_printf(&x->out, ",\"gone\":%llu", (unsigned long long)t->gone);
	put_next(x, t);
	answer(x, err);
}

static void run(struct dead *x)
{
	x->o.letter = on_done_with;
	x->o.done = run_done;
	if (x->o.limit == 0)
		x->o.limit = RUN_MAX;
	hm_buf_init(&x->out, HTTP_ANSWER_MAX);
	hm_buf_lit(&x->out, "{\"letters\":[");
	start(x);
}

void hm_api_dead_drop(struct hm_http_req *r)
{
	struct dead *x = dead_new(r, HM_DEAD_DROP);
	struct hm_str ids = hm_http_query(r, "ids"), all = hm_http_query(r, "all"), one;
	bool any;

	if (x == NULL || !filter_of_query(r, &x->o.filter, &any) || !limit_of_query(r, RUN_MAX, &x->o.limit))
		return;
	if (ids.len) {
		struct hm_str *v = hm_arena_alloc(&r->arena, IDS_MAX * sizeof(*v));

		while (v != NULL && x->o.n_ids < IDS_MAX && hm_str_split(&ids, ',', &one))
			v[x->o.n_ids++] = hm_str_trim(one);
		x->o.ids = v;
	}
	if (x->o.n_ids + any + hm_str_is(all, "true") != 1 && !(x->o.n_ids == 0 && any && all.p == NULL)) {
		wrong(r, "ids", "give ids, a filter, or all=true");
		return;
	}
	x->o.after = hm_http_query(r, "after");
	run(x);
}

/* Texts of the body are copied: the zone is used again while the run goes on. */
static bool text_of(struct dead *x, const msgpack_object *o, const char *field, struct hm_str *v_r)
{
	struct hm_str s;

	if (o->type != MSGPACK_OBJECT_STR) {
		wrong(x->r, field, "must be a string");
		return false;
	}
	s = hm_str_n(o->via.str.ptr, o->via.str.size);
	*v_r = s.len ? hm_arena_str(&x->r->arena, s) : HM_STR("");
	return v_r->p != NULL;
}

static bool filter_of_body(struct dead *x, const msgpack_object *o)
{
	struct hm_dead_filter *f = &x->o.filter;

	if (o->type != MSGPACK_OBJECT_MAP) {
		wrong(x->r, "filter", "must be a map");
		return false;
	}
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];
		bool known = false;
		struct hm_str k;

		if (!hm_mp_str(&kv->key, &k))
			k = HM_STR("");
		for (size_t w = 0; w < hm_countof(words); w++)
			if (hm_str_is(k, words[w].name)) {
				known = true;
				if (!text_of(x, &kv->val, words[w].name,
					     (struct hm_str *)(void *)((char *)f + words[w].off)))
					return false;
			}
		if (hm_str_is(k, "since") || hm_str_is(k, "until")) {
			uint64_t *at = hm_str_is(k, "since") ? &f->since_ms : &f->until_ms;
			struct hm_str s;

			known = true;
			if (!hm_mp_u64(&kv->val, at) && !(hm_mp_str(&kv->val, &s) && read_time(s, at))) {
				wrong(x->r, "filter",
				      "since and until are milliseconds of Unix time or RFC 3339");
				return false;
			}
		}
		if (!known) {
			wrong(x->r, "filter",
			      "knows reason, outcome, campaign, channel, category, tenant, lane, since and "
			      "until");
			return false;
		}
	}
	return check_filter(x->r, f);
}

static bool ids_of_body(struct dead *x, const msgpack_object *o)
{
	struct hm_str *v;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size == 0 || o->via.array.size > IDS_MAX) {
		wrong(x->r, "ids", "must be a list of 1 to 1000 ids");
		return false;
	}
	v = hm_arena_zalloc(&x->r->arena, o->via.array.size * sizeof(*v));
	x->o.ids = v;
	for (uint32_t i = 0; v != NULL && i < o->via.array.size; i++)
		if (!text_of(x, &o->via.array.ptr[i], "ids", &v[x->o.n_ids++]))
			return false;
	return v != NULL;
}

/* A repaired message, instead of what the letter holds. */
static bool message_of_body(struct dead *x, const msgpack_object *o)
{
	struct hm_http_server *s = x->r->srv;
	struct hm_job_spec spec;
	struct hm_err e = {0};
	struct hm_ulid old;
	struct hm_buf b;

	if (x->o.n_ids != 1) {
		wrong(x->r, "message", "repairs one letter: give its id in ids");
		return false;
	}
	if (hm_job_read_message(o, &spec, &e) != 0 || hm_http_check_names(s, &spec, &e) != 0) {
		hm_http_problem_err(x->r, &e);
		return false;
	}
	if (hm_ulid_parse(x->o.ids[0], &old))
		spec.of = hm_str_n((const char *)old.b, sizeof(old.b));
	hm_ulid_new(&x->o.payload_id, s->tick->wall_ms);
	hm_buf_init_arena(&b, &x->r->arena, s->lim.max_entry);
	hm_job_put_entry(&b, &spec, &x->o.payload_id, HM_STR_NULL, 0, spec.n_rcpts);
	if (b.err) {
		hm_http_problem(x->r, HM_PROBLEM_TOO_LARGE, NULL,
				"the message is larger than an entry may be (queue.max_entry_bytes)");
		return false;
	}
	x->o.payload = hm_buf_str(&b);
	if (spec.has_lane)
		x->o.lane = hm_str_c(hm_lane_name(spec.lane));
	return true;
}

static bool flag_of(struct dead *x, const msgpack_object *o, const char *field, bool *v_r)
{
	if (hm_mp_bool(o, v_r))
		return true;
	wrong(x->r, field, "must be true or false");
	return false;
}

/* Where the messages go instead must exist. */
static bool check_target(struct dead *x)
{
	struct hm_http_server *s = x->r->srv;
	struct hm_err e = {0};

	if (x->o.channel.len && x->o.route.len) {
		wrong(x->r, "channel", "give channel or route, not both");
		return false;
	}
	if (x->o.lane.len && hm_lane_find(x->o.lane) < 0) {
		wrong(x->r, "lane", "must be critical, high, normal or bulk");
		return false;
	}
	if (s->deps.known && x->o.channel.len &&
	    !s->deps.known(s->deps.arg, HM_HTTP_CHANNEL, x->o.channel, &e)) {
		wrong(x->r, "channel", "there is no such channel");
		return false;
	}
	if (s->deps.known && x->o.route.len && !s->deps.known(s->deps.arg, HM_HTTP_ROUTE, x->o.route, &e)) {
		wrong(x->r, "route", "there is no such route");
		return false;
	}
	return true;
}

/* `select`: the body chooses the letters; else only how they are sent again. */
static bool read_body(struct dead *x, bool select)
{
	struct hm_http_req *r = x->r;
	const msgpack_object *message = NULL, *ids = NULL, *filter = NULL;
	bool all = false, ok = true;
	msgpack_object root;
	struct hm_err e = {0};
	uint64_t n;

	if (r->body.len == 0 && !select)
		return true;
	if (!hm_http_type_is(r->content_type, "application/json")) {
		hm_api_wrong_type(r, "application/json");
		return false;
	}
	if (hm_api_decode(r->srv, BODY_JSON, r->body, &root, &e)) {
		hm_http_problem_err(r, &e);
		return false;
	}
	if (root.type != MSGPACK_OBJECT_MAP) {
		wrong(r, "", "the body must be a map");
		return false;
	}
	for (uint32_t i = 0; i < root.via.map.size && ok; i++) {
		const msgpack_object_kv *kv = &root.via.map.ptr[i];
		struct hm_str k;

		if (!hm_mp_str(&kv->key, &k))
			k = HM_STR("");
		if (select && hm_str_is(k, "ids"))
			ids = &kv->val;
		else if (select && hm_str_is(k, "filter"))
			filter = &kv->val;
		else if (select && hm_str_is(k, "message"))
			message = &kv->val;
		else if (select && hm_str_is(k, "all"))
			ok = flag_of(x, &kv->val, "all", &all);
		else if (hm_str_is(k, "renew"))
			ok = flag_of(x, &kv->val, "renew", &x->o.renew);
		else if (hm_str_is(k, "dry_run"))
			ok = flag_of(x, &kv->val, "dry_run", &x->o.dry_run);
		else if (hm_str_is(k, "channel"))
			ok = text_of(x, &kv->val, "channel", &x->o.channel);
		else if (hm_str_is(k, "route"))
			ok = text_of(x, &kv->val, "route", &x->o.route);
		else if (hm_str_is(k, "lane"))
			ok = text_of(x, &kv->val, "lane", &x->o.lane);
		else if (hm_str_is(k, "after"))
			ok = text_of(x, &kv->val, "after", &x->o.after);
		else if (hm_str_is(k, "limit") && hm_mp_u64(&kv->val, &n) && n >= 1 && n <= RUN_MAX)
			x->o.limit = n;
		else {
			char field[48];

			(void)snprintf(field, sizeof(field), "%.*s", (int)hm_utf8_cut(k, 40), k.p);
			wrong(r, field,
			      hm_str_is(k, "limit") ? "must be a number from 1 to 1000000" : "unknown key");
			return false;
		}
	}
	if (!ok)
		return false;
	if (select && (ids != NULL) + (filter != NULL) + all != 1) {
		wrong(r, "ids", "give ids, a filter, or all: true");
		return false;
	}
	return (ids == NULL || ids_of_body(x, ids)) && (filter == NULL || filter_of_body(x, filter)) &&
	       (message == NULL || message_of_body(x, message)) && check_target(x);
}

void hm_api_dead_replay(struct hm_http_req *r)
{
	struct dead *x = dead_new(r, HM_DEAD_REPLAY);

	if (x != NULL && hm_api_may_submit(r) && read_body(x, true))
		run(x);
}

void hm_api_campaign_resend(struct hm_http_req *r)
{
	struct dead *x = dead_new(r, HM_DEAD_REPLAY);

	if (x == NULL || !hm_api_may_submit(r) || !read_body(x, false))
		return;
	x->o.filter.campaign = hm_http_unescape(&r->arena, r->params[0], false);
	if (x->o.filter.campaign.len == 0 || x->o.filter.campaign.len > HM_JOB_MAX_LABEL) {
		wrong(r, "name", "must be the name of a campaign, at most 64 bytes");
		return;
	}
	run(x);
}
