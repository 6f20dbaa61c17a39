/*
 * ask.c - requests for values: what is queued of a fact leaves together
 *
 * A request ends once, in req_end: as answered, as failed, or given up when its time is over. Given up means that
 * nobody waits any more while the answer may still come; the object stays until then.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "facts/facts_int.h"

/* -- the fact's health -------------------------------------------------------------------------------- */

bool fact_paused(const struct fact *fa)
{
	return fa->paused_until_ms > hm_tick_ms(fa->f->tick);
}

static void fail_queue(struct fact *fa)
{
	char reason[HM_FACT_REASON_MAX + 64];
	struct hm_node *n;

	snprintf(reason, sizeof(reason), "it rests after %u failures in a row: %s", fa->fails,
		 fa->last_failure);
	while ((n = hm_list_first(&fa->queue)) != NULL)
		fact_entry_failed(hm_container_of(n, struct hm_fact_entry, queue), reason);
}

static void failed(struct fact *fa, const char *why)
{
	fact_count(fa, FACT_CT_ERRORS);
	if (fa->fails < UINT32_MAX)
		fa->fails++;
	snprintf(fa->last_failure, sizeof(fa->last_failure), "%s", why);
	HM_DEBUG(FACTS, "a request for values failed", HM_SV("fact", fa->conf->name), HM_S("error", why));
	if (fa->fails < fa->f->o.pause_after || fact_paused(fa))
		return;
	fa->paused_until_ms = hm_tick_ms(fa->f->tick) + fa->f->o.pause_ms;
	fact_count(fa, FACT_CT_PAUSES);
	HM_WARN(FACTS, "a fact cannot be had, it rests", HM_SV("fact", fa->conf->name),
		HM_U("failures", fa->fails), HM_U("ms", fa->f->o.pause_ms), HM_S("error", why));
	fail_queue(fa);
}

static void succeeded(struct fact *fa)
{
	if (fa->fails >= fa->f->o.pause_after)
		HM_INFO(FACTS, "a fact can be had again", HM_SV("fact", fa->conf->name));
	fa->fails = 0;
	fa->paused_until_ms = 0;
}

/* -- a request's life ----------------------------------------------------------------------------------- */

static void req_free(struct req *r)
{
	struct hm_facts *f = r->f;
	struct fact *fa = r->fact;

	HM_CHECK(r, HM_FACT_REQ_MAGIC);
	hm_assert(!r->open && r->answers == 0);
	if (f != NULL) {
		hm_timer_stop(f->tick, &r->timer);
		hm_list_remove(&f->reqs, &r->node);
	}
	hm_arena_fini(&r->arena);
	HM_MAGIC_CLEAR(r);
	free(r);
	if (fa != NULL) {
		fa->n_reqs--;
		fact_maybe_free(fa);
	}
	if (f != NULL)
		fact_maybe_closed(f);
}

void fact_req_let_go(struct hm_fact_entry *en)
{
	if (en->req != NULL)
		en->req->entries[en->index] = NULL;
	en->req = NULL;
}

/* why NULL: it was answered. Entries it still has get the reason. */
static void req_end(struct req *r, const char *why)
{
	struct fact *fa = r->fact;
	uint64_t us = (hm_clock_mono_ns() - r->started_ns) / 1000;

	if (!r->open)
		return;
	r->open = false;
	hm_timer_stop(r->f->tick, &r->timer);
	fa->in_flight--;
	for (uint32_t i = 0; i < r->n; i++) {
		if (r->entries[i] != NULL)
			fact_entry_failed(r->entries[i], why ? why : "it was left out of the answer");
	}
	if (why == NULL) {
		hm_hist_record(&fa->stats->latency, us);
		succeeded(fa);
	} else {
		failed(fa, why);
	}
	if (!hm_list_empty(&fa->queue))
		hm_flush_later(r->f->tick, &fa->flush);
}

static void no_answer(const struct fact *fa, char out[HM_FACT_REASON_MAX])
{
	snprintf(out, HM_FACT_REASON_MAX, "no answer in %u ms", fa->conf->timeout_ms);
}

static void on_timeout(struct hm_timer *t)
{
	struct req *r = hm_container_of(t, struct req, timer);
	char why[HM_FACT_REASON_MAX];
	struct hm_facts *f = r->f;

	HM_CHECK(r, HM_FACT_REQ_MAGIC);
	no_answer(r->fact, why);
	req_end(r, why);
	if (r->http)
		hm_wire_cancel(&r->call); /* comes home through on_done */
	fact_tell(f);
}

static struct req *req_new(struct fact *fa, uint32_t n)
{
	struct hm_facts *f = fa->f;
	struct req *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	hm_arena_init(&r->arena, &f->tick->blocks, 0);
	r->entries = hm_arena_zalloc(&r->arena, n * sizeof(*r->entries));
	if (r->entries == NULL) {
		hm_arena_fini(&r->arena);
		free(r);
		return NULL;
	}
	HM_MAGIC_SET(r, HM_FACT_REQ_MAGIC);
	r->f = f;
	r->fact = fa;
	r->n = n;
	r->open = true;
	r->started_ns = hm_clock_mono_ns();
	hm_timer_init(&r->timer, on_timeout);
	hm_list_push(&f->reqs, &r->node);
	fa->n_reqs++;
	fa->in_flight++;
	fact_count(fa, FACT_CT_REQUESTS);
	return r;
}

/* Nothing has left: out of memory, a full queue, a key that cannot be written. */
static void req_refused(struct req *r, const char *why)
{
	r->answers = 0;
	req_end(r, why);
	req_free(r);
}

/* -- answers ------------------------------------------------------------------------------------------ */

static void fill(struct req *r, uint32_t i, int rc, const msgpack_object *v, const char *why)
{
	struct hm_fact_entry *en = r->entries[i];

	if (en == NULL)
		return;
	if (rc < 0) {
		fact_count(r->fact, FACT_CT_ERRORS);
		HM_DEBUG(FACTS, "a value cannot be used", HM_SV("fact", r->fact->conf->name),
			 HM_SV("key", hm_str_n(en->key, en->key_len)), HM_S("error", why));
	}
	fact_entry_known(en, rc == 0 ? v : NULL, rc < 0 ? why : "there is no value");
}

static void fill_text(struct req *r, uint32_t i, struct hm_str text)
{
	struct hm_facts *f = r->f;
	char why[HM_FACT_REASON_MAX] = "";
	struct hm_arena_mark m = hm_arena_mark(&f->tick->scratch);
	msgpack_object v;
	int rc;

	if (r->entries[i] == NULL)
		return;
	rc = fact_value_text(r->fact->conf, text, f->o.max_value, &f->zone, &f->tick->scratch, &v, why);
	fill(r, i, rc, &v, why);
	msgpack_zone_clear(&f->zone);
	hm_arena_rewind(&f->tick->scratch, m);
}

/* Redis: a string is a value, nil is none, anything else is no answer to GET. */
static bool fill_reply(struct req *r, uint32_t i, const struct hm_reply *reply)
{
	if (reply->type == HM_REPLY_STR)
		fill_text(r, i, reply->s);
	else if (reply->type == HM_REPLY_NIL)
		fill(r, i, 1, NULL, NULL);
	else
		return false;
	return true;
}

static void redis_error(const struct hm_err *err, const struct fact *fa, char why[HM_FACT_REASON_MAX])
{
	if (err->code == HM_ETIMEDOUT)
		no_answer(fa, why);
	else
		snprintf(why, HM_FACT_REASON_MAX, "%.*s",
			 (int)hm_utf8_cut(hm_str_c(err->text), HM_FACT_REASON_MAX - 1), err->text);
}

static void on_mget(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	char why[HM_FACT_REASON_MAX];
	struct req *r = arg;
	struct hm_facts *f = r->f;

	HM_CHECK(r, HM_FACT_REQ_MAGIC);
	r->answers = 0;
	if (r->open && err != NULL) {
		redis_error(err, r->fact, why);
		req_end(r, why);
	} else if (r->open) {
		bool good = reply->type == HM_REPLY_ARRAY && reply->n == r->n;

		for (uint32_t i = 0; good && i < r->n; i++)
			good = fill_reply(r, i, &reply->v[i]);
		req_end(r, good ? NULL : "Redis answered MGET with something else");
	}
	req_free(r);
	if (f != NULL)
		fact_tell(f);
}

static void on_get(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct req_part *p = arg;
	char why[HM_FACT_REASON_MAX];
	struct req *r = p->req;
	struct hm_facts *f = r->f;

	HM_CHECK(r, HM_FACT_REQ_MAGIC);
	r->answers--;
	if (r->open && err != NULL && err->code == HM_EREDIS) {
		/* About this key alone (WRONGTYPE, a slot that moves): the others may well be there. */
		redis_error(err, r->fact, why);
		r->refused++;
		if (r->entries[p->index] != NULL)
			fact_entry_failed(r->entries[p->index], why);
		if (r->refused == r->n)
			req_end(r, why);
	} else if (r->open && err != NULL) {
		redis_error(err, r->fact, why);
		req_end(r, why);
	} else if (r->open && !fill_reply(r, p->index, reply)) {
		req_end(r, "Redis answered GET with something else");
	}
	if (r->answers == 0) {
		req_end(r, NULL);
		req_free(r);
	}
	if (f != NULL)
		fact_tell(f);
}

static bool too_long(struct hm_facts *f, const msgpack_object *o)
{
	struct hm_arena_mark m = hm_arena_mark(&f->tick->scratch);
	struct hm_buf b;
	bool r;

	if (o->type == MSGPACK_OBJECT_STR)
		return o->via.str.size > f->o.max_value;
	hm_buf_init_arena(&b, &f->tick->scratch, f->o.max_value);
	hm_msgpack_to_json(o, &b);
	r = b.err != 0;
	hm_arena_rewind(&f->tick->scratch, m);
	return r;
}

/* {"values": {key: value}}; a key that is missing there has no value. */
static const char *fill_batch(struct req *r, struct hm_str body)
{
	struct hm_facts *f = r->f;
	const msgpack_object *values, *v;
	char why[HM_FACT_REASON_MAX];
	msgpack_object doc, out;
	struct hm_buf b;
	struct hm_err e;

	hm_err_clear(&e);
	hm_buf_init_arena(&b, &r->arena, 4 * body.len + 64);
	if (hm_json_to_msgpack(body, &b, &e) != 0 ||
	    hm_msgpack_decode(&f->zone, hm_buf_str(&b), &doc, &e) != 0)
		return "its answer is not JSON";
	values = hm_mp_get(&doc, HM_STR("values"));
	if (values == NULL || values->type != MSGPACK_OBJECT_MAP)
		return "its answer is not {\"values\": {...}}";
	for (uint32_t i = 0; i < r->n; i++) {
		struct hm_fact_entry *en = r->entries[i];
		int rc = 1;

		if (en == NULL)
			continue;
		why[0] = '\0';
		v = hm_mp_get(values, hm_str_n(en->key, en->key_len));
		if (v != NULL)
			rc = fact_value(r->fact->conf, v, &r->arena, &out, why);
		if (rc == 0 && too_long(f, &out)) {
			snprintf(why, sizeof(why), "it is longer than facts.max_value");
			rc = HM_ELIMIT;
		}
		fill(r, i, rc, &out, why);
	}
	return NULL;
}

static const char *judge(struct req *r, char why[HM_FACT_REASON_MAX])
{
	const struct hm_call *c = &r->call;
	const char *wrong;

	if (c->fate != HM_FATE_ANSWERED) {
		if (c->err.code == HM_ETIMEDOUT)
			no_answer(r->fact, why);
		else
			snprintf(why, HM_FACT_REASON_MAX, "%.*s",
				 (int)hm_utf8_cut(hm_str_c(c->err.text), HM_FACT_REASON_MAX - 1),
				 c->err.text);
		return why;
	}
	if (r->fact->conf->per_key && (c->status == 404 || c->status == 204)) {
		fill(r, 0, 1, NULL, NULL);
		return NULL;
	}
	if (c->status < 200 || c->status > 299) {
		snprintf(why, HM_FACT_REASON_MAX, "HTTP status %d", c->status);
		return why;
	}
	if (c->answer_cut)
		return "its answer is longer than wire.max_response_bytes";
	if (r->fact->conf->per_key) {
		fill_text(r, 0, c->answer);
		return NULL;
	}
	wrong = fill_batch(r, c->answer);
	msgpack_zone_clear(&r->f->zone);
	return wrong;
}

static void on_call_done(struct hm_call *call)
{
	struct req *r = hm_container_of(call, struct req, call);
	char why[HM_FACT_REASON_MAX] = "";
	struct hm_facts *f = r->f;

	HM_CHECK(r, HM_FACT_REQ_MAGIC);
	r->answers = 0;
	if (r->open)
		req_end(r, judge(r, why));
	req_free(r);
	fact_tell(f);
}

/* -- requests ------------------------------------------------------------------------------------------ */

/* The entries' own time ends the waiting; this one ends the request, and counts it as failed. */
static void start_timer(struct req *r)
{
	hm_timer_start(r->f->tick, &r->timer, r->fact->conf->timeout_ms);
}

static void ask_redis(struct req *r)
{
	const struct hm_fact_conf *c = r->fact->conf;
	struct hm_redis *redis = r->fact->redis;
	bool cluster = hm_redis_is_cluster(redis);
	struct hm_str *argv = hm_arena_alloc(&r->arena, (r->n + 1) * sizeof(*argv));

	r->parts = hm_arena_alloc(&r->arena, r->n * sizeof(*r->parts));
	if (argv == NULL || r->parts == NULL) {
		req_refused(r, "out of memory");
		return;
	}
	for (uint32_t i = 0; i < r->n; i++) {
		const struct hm_fact_entry *en = r->entries[i];

		r->parts[i] = (struct req_part){r, i};
		argv[i + 1] = fact_key(c->key, hm_str_n(en->key, en->key_len), false, &r->arena);
		if (argv[i + 1].p == NULL) {
			req_refused(r, "out of memory");
			return;
		}
	}
	start_timer(r);
	if (!cluster) {
		r->answers = 1;
		argv[0] = HM_STR("MGET");
		hm_redis_send(redis, argv[1], argv, r->n + 1, on_mget, r);
		return;
	}
	r->answers = r->n;
	for (uint32_t i = 0; i < r->n; i++) {
		const struct hm_str get[2] = {HM_STR("GET"), argv[i + 1]};

		hm_redis_send(redis, get[1], get, 2, on_get, &r->parts[i]);
	}
}

static bool batch_body(struct req *r, struct hm_str *body_r)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &r->arena, r->n * (6 * (size_t)HM_FACTS_KEY_MAX + 4) + 64);
	hm_buf_lit(&b, "{\"keys\":[");
	for (uint32_t i = 0; i < r->n; i++) {
		hm_buf_puts(&b, i ? HM_STR(",\"") : HM_STR("\""));
		hm_buf_json(&b, hm_str_n(r->entries[i]->key, r->entries[i]->key_len));
		hm_buf_putc(&b, '"');
	}
	hm_buf_lit(&b, "]}");
	*body_r = hm_buf_str(&b);
	return b.err == 0;
}

static bool headers(struct req *r, bool json)
{
	const struct hm_fact_conf *c = r->fact->conf;
	struct hm_header *h = hm_arena_alloc(&r->arena, (c->n_headers + 2) * sizeof(*h));
	bool accepts = false;
	size_t n = 0;

	if (h == NULL)
		return false;
	for (size_t i = 0; i < c->n_headers; i++) {
		accepts = accepts || hm_str_is(c->headers[i].name, "accept");
		h[n++] = (struct hm_header){c->headers[i].name, c->headers[i].value, HM_HDR_NEVER_INDEX};
	}
	if (json)
		h[n++] = (struct hm_header){HM_STR("content-type"), HM_STR("application/json"), 0};
	if (!accepts)
		h[n++] = (struct hm_header){HM_STR("accept"),
					    json ? HM_STR("application/json") : HM_STR("*/*"), 0};
	r->call.headers = h;
	r->call.n_headers = n;
	return true;
}

static void ask_http(struct req *r)
{
	const struct fact *fa = r->fact;
	const struct hm_fact_conf *c = fa->conf;
	const struct hm_fact_entry *first = r->entries[0];
	struct hm_err e = {0};

	HM_MAGIC_SET(&r->call, HM_CALL_MAGIC);
	r->http = true;
	r->call.origin = fa->origin;
	r->call.arena = &r->arena;
	r->call.on_done = on_call_done;
	r->call.timeout_ms = c->timeout_ms + HM_FACT_CALL_GRACE_MS;
	r->call.urgent = true; /* a message waits for it, and it shares no stream with messages */
	r->call.method = c->per_key ? HM_STR("GET") : HM_STR("POST");
	r->call.path = fact_key(fa->path, hm_str_n(first->key, first->key_len), true, &r->arena);
	if (r->call.path.p == NULL || !headers(r, !c->per_key) ||
	    (!c->per_key && !batch_body(r, &r->call.body))) {
		req_refused(r, "out of memory");
		return;
	}
	r->answers = 1;
	if (hm_wire_submit(&r->call, &e) != 0) {
		char why[HM_FACT_REASON_MAX];

		snprintf(why, sizeof(why), "%.*s", (int)hm_utf8_cut(hm_str_c(e.text), sizeof(why) - 1),
			 e.text);
		req_refused(r, why);
		return;
	}
	start_timer(r);
}

/* After failures in a row one request tries whether it is over. */
static uint32_t limit(const struct fact *fa)
{
	return fa->fails >= fa->f->o.pause_after ? 1 : fa->conf->max_in_flight;
}

void fact_ask(struct fact *fa)
{
	struct hm_facts *f = fa->f;

	HM_CHECK(fa, HM_FACT_MAGIC);
	fa->n_reqs++; /* it stays while this loop looks at it */
	if (fact_paused(fa))
		fail_queue(fa);
	while (!hm_list_empty(&fa->queue) && fa->in_flight < limit(fa)) {
		uint32_t n = (uint32_t)hm_min(fa->queue.len, (size_t)fa->conf->batch);
		struct req *r = req_new(fa, n);

		if (r == NULL) /* the entries' own time ends the wait */
			break;
		for (uint32_t i = 0; i < n; i++) {
			struct hm_fact_entry *en = hm_container_of(hm_list_pop(&fa->queue),
								   struct hm_fact_entry, queue);

			en->req = r;
			en->index = i;
			r->entries[i] = en;
		}
		if (fa->conf->from == HM_FACT_HTTP)
			ask_http(r);
		else
			ask_redis(r);
	}
	fa->n_reqs--;
	fact_maybe_free(fa);
	fact_tell(f);
}

/* The service closes: HTTP calls come home before it ends; what a Redis owes is answered to nobody. */
void fact_reqs_cut(struct hm_facts *f)
{
	hm_list_foreach_safe (&f->reqs, n, tmp) {
		struct req *r = hm_container_of(n, struct req, node);

		if (r->open) {
			r->open = false;
			r->fact->in_flight--;
			hm_timer_stop(f->tick, &r->timer);
			for (uint32_t i = 0; i < r->n; i++)
				hm_assert(r->entries[i] == NULL);
		}
		r->fact->n_reqs--;
		r->fact = NULL;
		if (r->http) {
			hm_wire_cancel(&r->call);
			continue;
		}
		hm_list_remove(&f->reqs, &r->node);
		r->f = NULL;
	}
}
