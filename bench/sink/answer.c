/*
 * answer.c - what happens to a complete request
 *
 *   limits -> profile -> ids -> script?  -> that is the answer
 *                            -> faults, rate limit, error mix (knobs)
 *                            -> the profile's own answer
 *   -> ledger and counts -> recent requests -> now, or after its latency
 *
 * The ledger counts when the answer is decided: from then on the provider has
 * the message, even if the answer is late, lost or cut off on its way.
 */
#include "conn.h"
#include "recent.h"
#include "script.h"

static void set_fault(struct sink_req *r, enum sink_fault f)
{
	const struct knobs_conn *k = &r->conn->worker->knobs->conn;

	r->reply.fault = f;
	if (f == FAULT_SLOW)
		r->reply.trickle_ms = (uint32_t)k->trickle_ms;
	if (f == FAULT_HUGE)
		r->reply.fill = (uint64_t)k->huge_bytes;
	if ((f == FAULT_TRUNCATE || f == FAULT_SLOW) && r->reply.body.len < 2)
		r->reply.body = HM_STR("a body long enough to be cut\n");
}

/* Faults that let the profile answer; all others replace the answer. */
static bool fault_keeps_answer(enum sink_fault f)
{
	return f == FAULT_NONE || f == FAULT_SLOW || f == FAULT_HUGE || f == FAULT_GOAWAY ||
	       f == FAULT_TRUNCATE;
}

static void error_reply(struct sink_req *r, int status, int retry_after)
{
	const struct sink_profile *p = sink_profile_get(r->profile);
	char text[16];

	r->reply.status = status;
	if (p->error)
		p->error(r, status);
	r->reply.status = status;
	if (retry_after >= 0) {
		snprintf(text, sizeof(text), "%d", retry_after);
		reply_header_copy(r, HM_STR("retry-after"), hm_str_c(text));
	}
}

/* Error mix: one draw decides among all rows. */
static const struct knobs_mix *draw_mix(const struct knobs_profile *k, struct sink_worker *w)
{
	double x;

	if (k->n_mix == 0)
		return NULL;
	x = sink_rand_unit(w) * 100;
	for (size_t i = 0; i < k->n_mix; i++) {
		if (x < k->mix[i].percent)
			return &k->mix[i];
		x -= k->mix[i].percent;
	}
	return NULL;
}

static void natural(struct sink_req *r, struct sink_worker *w, struct sink_ids *ids)
{
	const struct sink_profile *p = sink_profile_get(r->profile);

	p->handle(r, w, sink_special_for(r->profile, r->target, w), ids);
}

static void by_knobs(struct sink_req *r, struct sink_worker *w, struct sink_ids *ids)
{
	const struct knobs_profile *k = &w->knobs->p[r->profile];
	const struct knobs_mix *m;

	r->reply.delay_ms = knobs_latency_draw(&k->latency, w);
	if (!fault_keeps_answer(k->fault)) {
		set_fault(r, k->fault);
		return;
	}
	if (k->rate_per_s > 0 && !knobs_rate_take(w->knobs, r->profile, hm_clock_mono_ns())) {
		error_reply(r, 429, k->rate_retry_after);
		return;
	}
	m = draw_mix(k, w);
	if (m && m->status) {
		error_reply(r, m->status, m->retry_after);
		r->reply.accepted = m->accept_set ? m->accept : m->status < 300;
	} else if (!m || fault_keeps_answer(m->fault) || (m->accept_set && m->accept)) {
		natural(r, w, ids); /* with accept: the provider works, only the answer is lost */
	}
	set_fault(r, m && m->fault ? m->fault : k->fault);
}

/* {unique} is a number that no other answer has. */
static void put_body(struct sink_req *r, const struct sink_worker *w, struct hm_str body)
{
	static const struct hm_str mark = {"{unique}", 8};
	static _Atomic uint64_t last;
	ptrdiff_t at;

	while ((at = hm_str_find(body, mark)) >= 0) {
		hm_buf_put(&r->out, body.p, (size_t)at);
		hm_buf_u64(&r->out, w->sink->start_ms * 1000000 + atomic_fetch_add(&last, 1));
		body = hm_str_n(body.p + at + mark.len, body.len - (size_t)at - mark.len);
	}
	hm_buf_puts(&r->out, body);
}

static void by_script(struct sink_req *r, struct sink_worker *w, struct sink_ids *ids,
		      const struct script_reply *s)
{
	if (s->natural) {
		natural(r, w, ids);
	} else {
		r->reply.status = s->status;
		r->reply.accepted = s->accept_set ? s->accept
						  : s->status >= 200 && s->status < 300 &&
							    fault_keeps_answer(s->fault);
		if (s->has_body) {
			put_body(r, w, s->body);
			reply_out(r, s->status, HM_STR_NULL);
		} else if (s->status >= 400) {
			error_reply(r, s->status, -1);
		} else if (s->status == 200 && s->fault == FAULT_NONE) {
			natural(r, w, ids);
			if (s->accept_set)
				r->reply.accepted = s->accept;
		}
	}
	for (size_t i = 0; i < s->n_headers; i++) {
		if (hm_str_is(s->headers[i].name, "content-type"))
			r->reply.type = HM_STR_NULL; /* the script's own goes out instead */
		reply_header_copy(r, s->headers[i].name, s->headers[i].value);
	}
	if (s->has_body && !s->has_type)
		r->reply.type = s->json ? TYPE_JSON : TYPE_TEXT;
	r->reply.delay_ms = s->delay_ms;
	if (s->trickle_ms)
		r->reply.trickle_ms = s->trickle_ms;
	if (s->fault)
		set_fault(r, s->fault);
	if (s->fill)
		r->reply.fill = s->fill;
}

static void count(struct sink_req *r, struct sink_worker *w, const struct sink_ids *ids)
{
	struct sink_counts *n = &w->counts[r->profile];
	bool answered = fault_keeps_answer(r->reply.fault);
	int status = r->reply.status >= 100 && r->reply.status < 600 ? r->reply.status : 0;

	count_add(&n->requests, 1);
	count_add(&n->bytes_in, r->data.len);
	count_add(&n->status[answered ? status : 0], 1);
	if (!r->reply.accepted)
		return;
	count_add(&n->accepted_requests, 1);
	for (size_t i = 0; w->sink->ledger && i < ids->n; i++)
		if (!ids->v[i].refused)
			ledger_add(w->sink->ledger, r->profile, ids->v[i].id, w->now_ms);
}

void request_script(struct sink_req *r, struct hm_str target)
{
	struct sink_ids none = {NULL, 0, 0};

	r->profile = PROFILE_smtp;
	r->target = target;
	r->script = scripts_take(r->conn->worker->sink->scripts, r, &none);
	r->script_asked = true;
	r->target = HM_STR_NULL;
}

static void decide(struct sink_req *r, struct sink_worker *w)
{
	struct sink_ids ids = {w->ids, 0, WORKER_IDS};
	const struct sink_profile *p;
	struct script_reply *s = NULL;

	hm_buf_reset(&w->scratch);
	/* Slices of the scratch buffer must not move while this request is decided. */
	if (!hm_buf_reserve(&w->scratch, 4 * r->data.len + 4096)) {
		reply_static(r, 503, TYPE_TEXT, HM_STR("out of memory\n"));
		return;
	}
	switch (r->conn->proto) {
	case PROTO_SMTP: r->profile = PROFILE_smtp; break;
	case PROTO_SMPP: r->profile = PROFILE_smpp; break;
	case PROTO_UNKNOWN:
	case PROTO_H1:
	case PROTO_H2: r->profile = sink_profile_match(req_method(r), req_path(r)); break;
	}
	p = sink_profile_get(r->profile);
	if (p->ids)
		p->ids(r, w, &ids);
	if (r->head_too_big || r->body_too_big) {
		error_reply(r, r->head_too_big ? 431 : 413, -1);
	} else {
		s = r->script_asked ? r->script : scripts_take(w->sink->scripts, r, &ids);
		r->script = NULL;
		if (s)
			by_script(r, w, &ids, s);
		else
			by_knobs(r, w, &ids);
	}
	count(r, w, &ids);
	if (w->sink->recent)
		recent_add(w->sink->recent, r, w);
	scripts_done(s);
	r->target = HM_STR_NULL; /* points into the scratch buffer */
}

void answer_request(struct sink_req *r)
{
	struct sink_worker *w = r->conn->worker;

	HM_CHECK(r, SINK_REQ_MAGIC);
	decide(r, w);
	if (r->reply.delay_ms) {
		r->state = REQ_WAITING;
		worker_delay(w, r, r->reply.delay_ms);
	} else {
		conn_answer(r);
	}
}
