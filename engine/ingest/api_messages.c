/*
 * api_messages.c - POST /v1/messages: one message from body to queue
 *
 *   body -> msgpack -> job_read_message -> names -> entry -> XADD -> ledger -> 202
 *
 * The 202 is sent when Redis has the entry: from then on the message cannot be lost.
 * The ledger's record of acceptance follows in the same tick; `acc` in the entry tells
 * the dispatcher of this run that it need not write one. After a crash in between
 * the boot id differs and the dispatcher writes the record itself.
 */
#include <openssl/sha.h>

#include "base/fault.h"
#include "base/json.h"
#include "ingest/api_int.h"

size_t hm_api_pend_size(void)
{
	return sizeof(struct hm_pend);
}

int hm_http_check_names(struct hm_http_server *s, const struct hm_job_spec *spec, struct hm_err *e)
{
	const struct hm_http_deps *d = &s->deps;
	static const char *const fields[] = {"channel", "route", "template"};
	const struct hm_str names[] = {spec->channel, spec->route, spec->template_ref};

	if (spec->expires_ms && spec->expires_ms <= s->tick->wall_ms) {
		hm_err_set(e, HM_EINVAL, "expires: has passed already");
		hm_err_field(e, "expires");
		return HM_EINVAL;
	}
	if (!d->known)
		return 0;
	hm_err_clear(e);
	for (size_t i = 0; i < hm_countof(names); i++)
		if (names[i].len &&
		    !d->known(d->arg, (enum hm_http_name)(HM_HTTP_CHANNEL + i), names[i], e)) {
			if (e->code)
				hm_err_wrap(e, "%s", fields[i]);
			else
				hm_err_set(e, HM_EINVAL, "%s: there is no %s \"%.*s\"", fields[i], fields[i],
					   HM_STRF(names[i]));
			hm_err_field(e, fields[i]);
			return HM_EINVAL;
		}
	return 0;
}

/* -- what the ledger is told about an accepted entry ------------------------------- */

static struct hm_str keep(struct hm_pend *p, size_t *used, struct hm_str s)
{
	char *at = p->labels + *used;

	hm_assert(*used + s.len <= sizeof(p->labels));
	if (s.len)
		memcpy(at, s.p, s.len);
	*used += s.len;
	return hm_str_n(at, s.len);
}

struct hm_pend *hm_pend_new(struct hm_http_server *s, const struct hm_packed *from)
{
	struct hm_pend *p = hm_slab_alloc(&s->pend_slab);
	size_t used = 0;

	if (!p)
		return NULL;
	memset(p, 0, offsetof(struct hm_pend, labels));
	p->srv = s;
	p->run = from->run;
	p->job.id = from->id;
	p->job.n = from->n;
	p->job.lane = (uint8_t)from->lane;
	p->job.accepted_ms = hm_ulid_ms(&from->id);
	p->job.if_absent = true; /* a dispatcher may be faster than the answer of the queue */
	p->job.campaign = keep(p, &used, from->campaign);
	p->job.category = keep(p, &used, from->category);
	p->job.tenant = keep(p, &used, from->tenant);
	p->job.template_ref = keep(p, &used, from->template_ref);
	p->job.channel = keep(p, &used, from->channel);
	return p;
}

void hm_pend_free(struct hm_pend *p)
{
	hm_slab_free(&p->srv->pend_slab, p);
}

void hm_pend_accepted(struct hm_pend *p)
{
	struct hm_http_server *s = p->srv;

	(void)hm_fault(HM_FAULT_submit_after_xadd);
	hm_stats_add(s->tick->stats, HM_CT_ACCEPTED, p->job.n);
	if (s->deps.writer)
		(void)hm_ledger_put_job(s->deps.writer, &p->job);
}

void hm_pend_xadd(struct hm_pend *p, uint32_t partition, struct hm_str entry, hm_reply_fn fn)
{
	struct hm_http_server *s = p->srv;
	struct hm_str argv[5];

	(void)hm_fault(HM_FAULT_submit_before_xadd);
	argv[0] = HM_STR("XADD");
	argv[1] = hm_http_stream(s, partition, (enum hm_lane)p->job.lane);
	argv[2] = HM_STR("*");
	argv[3] = HM_STR("j");
	argv[4] = entry;
	hm_redis_send(s->deps.redis, argv[1], argv, 5, fn, p);
}

/* -- the body ------------------------------------------------------------------------ */

enum body_format hm_api_body_format(struct hm_str type)
{
	if (hm_http_type_is(type, "application/json"))
		return BODY_JSON;
	if (hm_http_type_is(type, "application/x-ndjson") || hm_http_type_is(type, "application/jsonl") ||
	    hm_http_type_is(type, "application/ndjson"))
		return BODY_NDJSON;
	if (hm_http_type_is(type, "application/msgpack") ||
	    hm_http_type_is(type, "application/vnd.msgpack") ||
	    hm_http_type_is(type, "application/x-msgpack"))
		return BODY_MSGPACK;
	return BODY_UNKNOWN;
}

int hm_api_decode(struct hm_http_server *s, enum body_format f, struct hm_str body, msgpack_object *root,
		  struct hm_err *e)
{
	int rc;

	msgpack_zone_clear(&s->zone);
	if (f != BODY_MSGPACK) {
		hm_buf_reset(&s->mp);
		rc = hm_json_to_msgpack(body, &s->mp, e);
		if (rc)
			return rc;
		body = hm_buf_str(&s->mp);
	}
	return hm_msgpack_decode(&s->zone, body, root, e);
}

/* -- POST /v1/messages ----------------------------------------------------------------- */

static void accepted(struct hm_http_req *r, const struct hm_ulid *id)
{
	char text[] = "{\"id\":\"00000000000000000000000000\",\"state\":\"queued\"}", ulid[HM_ULID_TEXT + 1];

	hm_ulid_text(id, ulid);
	memcpy(text + 7, ulid, HM_ULID_TEXT);
	hm_http_json(r, 202, hm_str_n(text, sizeof(text) - 1));
}

static void on_added(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_pend *p = arg;
	struct hm_http_req *r = p->req;

	if (err) {
		hm_http_problem_redis(r, err);
	} else {
		hm_pend_accepted(p);
		accepted(r, &p->job.id);
	}
	hm_pend_free(p);
	hm_http_release(r);
}

static void on_submitted(void *arg, enum idem_result res, int status, struct hm_str answer,
			 const struct hm_err *err)
{
	struct hm_pend *p = arg;
	struct hm_http_req *r = p->req;

	switch (res) {
	case IDEM_NEW:
		hm_pend_accepted(p);
		accepted(r, &p->job.id);
		break;
	case IDEM_REPLAY:
	case IDEM_CONFLICT: hm_idem_answer(r, res, status, answer); break;
	case IDEM_FAILED: hm_http_problem_redis(r, err); break;
	}
	hm_pend_free(p);
	hm_http_release(r);
}

static void submit(struct hm_http_req *r, const struct hm_job_spec *spec, struct idem *idem)
{
	struct hm_http_server *s = r->srv;
	struct hm_packed packed = {.lane = spec->lane,
				   .n = 1,
				   .campaign = spec->campaign,
				   .category = spec->category,
				   .tenant = spec->tenant,
				   .template_ref = spec->template_ref,
				   .channel = spec->channel.len ? spec->channel : spec->route};
	struct hm_pend *p;

	hm_ulid_new(&packed.id, s->tick->wall_ms);
	hm_buf_reset(&s->entry);
	hm_job_put_entry(&s->entry, spec, &packed.id, hm_str_n(s->acc, s->acc_len), 0, 1);
	if (s->entry.err == 0 && s->entry.len > s->lim.max_entry) {
		hm_http_problem(
			r, HM_PROBLEM_TOO_LARGE, NULL,
			"the message takes %zu bytes; at most %zu are allowed (queue.max_entry_bytes)",
			s->entry.len, s->lim.max_entry);
		return;
	}
	p = s->entry.err ? NULL : hm_pend_new(s, &packed);
	if (!p) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	p->req = r;
	hm_http_hold(r);
	if (idem) {
		struct idem_entry one = {.lane = spec->lane, .entry = hm_buf_str(&s->entry)};
		char answer[] = "{\"id\":\"00000000000000000000000000\",\"state\":\"queued\"}",
		     ulid[HM_ULID_TEXT + 1];

		hm_ulid_text(&packed.id, ulid);
		memcpy(answer + 7, ulid, HM_ULID_TEXT);
		(void)hm_fault(HM_FAULT_submit_before_xadd);
		hm_idem_submit(s, idem, &one, 1, 202, hm_str_n(answer, sizeof(answer) - 1), on_submitted, p);
	} else {
		hm_pend_xadd(p, hm_job_partition(&packed.id, s->partitions), hm_buf_str(&s->entry), on_added);
	}
}

void hm_api_wrong_type(struct hm_http_req *r, const char *expected)
{
	hm_http_problem(r, HM_PROBLEM_MEDIA_TYPE, &(struct hm_problem_info){.field = HM_STR("Content-Type")},
			"Content-Type must be %s, not %.*s", expected,
			r->content_type.p ? (int)hm_min(r->content_type.len, (size_t)80) : 7,
			r->content_type.p ? r->content_type.p : "missing");
}

/* Redis would fail the command anyway; asking first spares the work, and the ledger must keep up. */
bool hm_api_may_submit(struct hm_http_req *r)
{
	const struct hm_http_deps *d = &r->srv->deps;

	if (d->ledger && hm_ledger_full(d->ledger)) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"the ledger cannot keep up; nothing was accepted");
		return false;
	}
	if (!hm_redis_is_cluster(d->redis) && !hm_redis_up(d->redis)) {
		hm_http_problem(r, HM_PROBLEM_QUEUE_DOWN, &(struct hm_problem_info){.retry_after_s = 2},
				"Redis is away; nothing was accepted");
		return false;
	}
	return true;
}

void hm_api_message_post(struct hm_http_req *r)
{
	struct hm_http_server *s = r->srv;
	enum body_format f = hm_api_body_format(r->content_type);
	struct hm_job_spec spec;
	struct idem idem;
	msgpack_object root;
	struct hm_err e;

	hm_err_clear(&e);
	if (f != BODY_JSON && f != BODY_MSGPACK) {
		hm_api_wrong_type(r, "application/json or application/msgpack");
		return;
	}
	if (r->body.len == 0) {
		hm_http_problem(r, HM_PROBLEM_BAD_SYNTAX, NULL, "the body is empty; it must be one message");
		return;
	}
	if (!hm_api_may_submit(r))
		return;
	if (r->idempotency_key.p && !hm_idem_begin(r, &idem))
		return;
	if (hm_api_decode(s, f, r->body, &root, &e)) {
		hm_http_problem_err(r, &e);
		return;
	}
	if (root.type == MSGPACK_OBJECT_ARRAY) {
		hm_http_problem(r, HM_PROBLEM_INVALID, NULL,
				"the body must be one message; send lists to /v1/messages/batch");
		return;
	}
	if (hm_job_read_message(&root, &spec, &e)) {
		hm_http_problem_err(r, &e);
		return;
	}
	if (spec.chunk) {
		hm_http_problem(r, HM_PROBLEM_INVALID,
				&(struct hm_problem_info){.field = HM_STR("recipients")},
				"recipients: several recipients belong to /v1/messages/batch; here it is to");
		return;
	}
	if (hm_http_check_names(s, &spec, &e)) {
		hm_http_problem_err(r, &e);
		return;
	}
	if (r->idempotency_key.p)
		SHA256((const uint8_t *)r->body.p, r->body.len, idem.body);
	submit(r, &spec, r->idempotency_key.p ? &idem : NULL);
}
