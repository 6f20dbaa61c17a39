/*
 * api_status.c - what became of messages: look-ups in the ledger, and cancelling
 *
 * The ledger reads from disk, so each question runs on libuv's thread pool with an
 * arena of its own and comes back as JSON text. A message accepted a moment ago may not
 * be in the ledger yet (records are written in batches): a fresh id that is not found is
 * asked for again a few times before the answer is 404.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "ingest/api_int.h"
#include "ingest/cancel_mark.h"

#define LOOKUP_MAGIC  0x6c6f6f6bu
#define FRESH_MS      5000 /* a younger id may still be on its way into the ledger */
#define FRESH_WAIT_MS 25
#define FRESH_TRIES   8
#define LIST_MAX      500
#define LIST_DEFAULT  50

struct lookup {
	uint32_t magic;
	uv_work_t work;
	struct hm_timer again;
	struct hm_http_req *req; /* held */
	struct hm_ledger *ledger;
	void (*ask)(struct lookup *l);	/* on a pool thread */
	void (*done)(struct lookup *l); /* on the loop: answers */
	struct hm_ulid id, after;
	bool has_after, fresh;
	unsigned tries;
	struct hm_str text; /* recipient or campaign, in the request's arena */
	int state;	    /* filter, -1 = any */
	size_t limit, n;
	/* result */
	int rc;
	struct hm_err err;
	struct hm_arena arena;
	struct hm_buf out;
	enum hm_state found;
	struct hm_ulid last;
	struct hm_str node; /* the message is there; in the arena */
};

static void on_asked(uv_work_t *w, int status);

static void on_pool(uv_work_t *w)
{
	struct lookup *l = hm_container_of(w, struct lookup, work);

	l->ask(l);
}

static void lookup_free(struct lookup *l)
{
	struct hm_http_req *r = l->req;

	hm_timer_stop(r->srv->tick, &l->again);
	hm_buf_fini(&l->out);
	hm_arena_fini(&l->arena);
	r->srv->lookups--;
	HM_MAGIC_CLEAR(l);
	free(l);
	hm_http_release(r);
}

static void queue(struct lookup *l)
{
	int rc = uv_queue_work(l->req->srv->tick->loop, &l->work, on_pool, on_asked);

	hm_assert(rc == 0); /* fails only for a NULL callback */
}

static void on_again(struct hm_timer *t)
{
	struct lookup *l = hm_container_of(t, struct lookup, again);

	HM_CHECK(l, LOOKUP_MAGIC);
	queue(l);
}

static void on_asked(uv_work_t *w, int status)
{
	struct lookup *l = hm_container_of(w, struct lookup, work);
	struct hm_http_req *r = l->req;

	HM_CHECK(l, LOOKUP_MAGIC);
	if (l->rc == HM_ENOENT && l->fresh && ++l->tries < FRESH_TRIES && r->conn) {
		hm_buf_reset(&l->out);
		hm_arena_reset(&l->arena);
		hm_timer_start(r->srv->tick, &l->again, FRESH_WAIT_MS);
		return;
	}
	if (r->answered) {
		/* the connection timed out meanwhile */
	} else if (l->rc && l->rc != HM_ENOENT) {
		HM_ERROR(HTTP, "ledger look-up failed", HM_E(&l->err));
		hm_http_problem(r, HM_PROBLEM_INTERNAL, NULL, "the ledger cannot be read: %s", l->err.text);
	} else {
		l->done(l);
	}
	lookup_free(l);
}

/* NULL: answered. */
static struct lookup *lookup_new(struct hm_http_req *r, void (*ask)(struct lookup *),
				 void (*done)(struct lookup *))
{
	struct hm_http_server *s = r->srv;
	struct lookup *l = s->lookups < HTTP_LOOKUPS_MAX ? calloc(1, sizeof(*l)) : NULL;

	if (!l) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"too many look-ups at once");
		return NULL;
	}
	HM_MAGIC_SET(l, LOOKUP_MAGIC);
	l->req = r;
	l->ledger = s->deps.ledger;
	l->ask = ask;
	l->done = done;
	l->state = -1;
	l->limit = LIST_DEFAULT;
	hm_timer_init(&l->again, on_again);
	hm_arena_init(&l->arena, NULL, 64u << 20); /* pool thread: not the loop's blocks */
	hm_buf_init(&l->out, 64u << 20);
	hm_http_hold(r);
	s->lookups++;
	return l;
}

/* -- one message ------------------------------------------------------------------- */

static void ask_message(struct lookup *l)
{
	struct hm_ledger_msg m;
	struct hm_ledger_job j;

	if (!l->ledger) {
		l->rc = HM_ENOENT;
		return;
	}
	if (hm_ledger_moved_to(l->ledger, &l->id, &l->arena, &l->node, &l->err) == 0) {
		l->found = HM_ST_QUEUED; /* who knows better: a wish to cancel reaches every node */
		return;
	}
	l->node = HM_STR_NULL;
	l->rc = hm_ledger_get_msg(l->ledger, &l->id, &l->arena, &m, &l->err);
	if (l->rc == HM_ENOENT) {
		/* No record of its own: pending, if an accepted job covers it. */
		l->rc = hm_ledger_job_of(l->ledger, &l->id, &l->arena, &j, &l->err);
		if (l->rc)
			return;
		m = (struct hm_ledger_msg){.id = l->id,
					   .job = j.id,
					   .state = HM_ST_QUEUED,
					   .lane = j.lane,
					   .accepted_ms = j.accepted_ms,
					   .updated_ms = j.accepted_ms,
					   .campaign = j.campaign,
					   .channel = j.channel,
					   .template_ref = j.template_ref,
					   .has_of = j.has_of,
					   .of = j.of};
	}
	if (l->rc)
		return;
	l->found = (enum hm_state)m.state;
	hm_ledger_msg_json(&m, &l->out);
	if (l->out.err)
		l->rc = hm_err_set(&l->err, HM_ENOMEM, "out of memory");
}

static void not_found(struct lookup *l)
{
	char text[HM_ULID_TEXT + 1];

	hm_ulid_text(&l->id, text);
	hm_http_problem(l->req, HM_PROBLEM_NOT_FOUND, NULL, "no message has the id %s", text);
}

/* -- a message of another node: 307 to it, or its name alone while nobody knows the address -- */

struct away {
	struct hm_http_req *req; /* held; this is in its arena */
	struct hm_str node;
};

static void on_node(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct away *w = arg;
	struct hm_http_req *r = w->req;
	struct hm_str api = HM_STR_NULL, see;
	struct hm_buf mp, b;
	msgpack_zone zone;
	msgpack_object o;
	struct hm_err e;

	if (r->answered) {
		hm_http_release(r);
		return;
	}
	hm_buf_init_arena(&mp, &r->arena, 8192);
	hm_buf_init_arena(&b, &r->arena, 8192);
	if (reply && reply->type == HM_REPLY_STR && msgpack_zone_init(&zone, 1024)) {
		if (hm_json_to_msgpack(reply->s, &mp, &e) == 0 &&
		    hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e) == 0)
			(void)hm_mp_str(hm_mp_get(&o, HM_STR("api")), &api);
		msgpack_zone_destroy(&zone);
	}
	see = api.len ? hm_arena_printf(&r->arena, "%.*s/v1/messages/%.*s", HM_STRF(api),
					HM_STRF(r->params[0]))
		      : HM_STR_NULL;
	hm_buf_lit(&b, "{\"id\":\"");
	hm_buf_json(&b, r->params[0]);
	hm_buf_lit(&b, "\",\"state\":\"moved\",\"node\":\"");
	hm_buf_json(&b, w->node);
	hm_buf_putc(&b, '"');
	if (see.len) {
		hm_buf_lit(&b, ",\"see\":\"");
		hm_buf_json(&b, see);
		hm_buf_putc(&b, '"');
	}
	hm_buf_putc(&b, '}');
	hm_http_reply(
		r, &(struct hm_http_answer){
			   .status = see.len ? 307 : 200,
			   .type = "application/json",
			   .body = hm_buf_str(&b),
			   .headers = see.len ? hm_arena_printf(&r->arena, "Location: %.*s\r\n", HM_STRF(see))
					      : HM_STR_NULL,
		   });
	hm_http_release(r);
}

static void ask_node(struct lookup *l)
{
	struct hm_http_req *r = l->req;
	struct away *w = hm_arena_zalloc(&r->arena, sizeof(*w));
	char key[HM_CTL_KEY_MAX];
	struct hm_str argv[3] = {HM_STR("HGET")};

	if (w)
		w->node = hm_arena_str(&r->arena, l->node);
	if (!w || !w->node.p) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	w->req = r;
	argv[1] = hm_str_n(key, hm_ctl_key(r->srv->prefix, "nodes", key, sizeof(key)));
	argv[2] = w->node;
	hm_http_hold(r);
	hm_redis_send(r->srv->deps.redis, argv[1], argv, 3, on_node, w);
}

static void done_message(struct lookup *l)
{
	if (l->rc)
		not_found(l);
	else if (l->node.len)
		ask_node(l);
	else
		hm_http_json(l->req, 200, hm_buf_str(&l->out));
}

static struct lookup *message_lookup(struct hm_http_req *r, void (*done)(struct lookup *))
{
	struct hm_ulid id;
	struct lookup *l;

	if (!hm_ulid_parse(r->params[0], &id)) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.field = HM_STR("id")},
				"\"%.*s\" is no message id: a ULID has 26 characters",
				(int)hm_min(r->params[0].len, (size_t)60), r->params[0].p);
		return NULL;
	}
	l = lookup_new(r, ask_message, done);
	if (!l)
		return NULL;
	l->id = id;
	l->fresh = hm_ulid_ms(&id) + FRESH_MS > r->srv->tick->wall_ms;
	return l;
}

void hm_api_message_get(struct hm_http_req *r)
{
	struct lookup *l = message_lookup(r, done_message);

	if (l)
		queue(l);
}

/* -- cancel --------------------------------------------------------------------------- */

static void on_marked(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_http_req *r = arg;

	if (r->answered) {
		/* nobody is there any more */
	} else if (err) {
		hm_http_problem_redis(r, err);
	} else {
		struct hm_buf *b = &r->srv->body;

		hm_buf_reset(b);
		hm_buf_lit(b, "{\"id\":\"");
		hm_buf_json(b, r->params[0]);
		hm_buf_lit(b, "\",\"state\":\"cancelling\"}");
		hm_http_json(r, 202, hm_buf_str(b));
	}
	hm_http_release(r);
}

static void done_cancel(struct lookup *l)
{
	struct hm_http_req *r = l->req;
	struct hm_ctl_event ev = {.type = HM_CTL_CANCEL, .kind = HM_STR("id"), .by = hm_str_c(r->key_id)};
	char also[64], text[HM_ULID_TEXT + 1];

	if (l->rc) {
		not_found(l);
		return;
	}
	if (hm_state_final(l->found)) {
		(void)snprintf(also, sizeof(also), "\"state\":\"%s\"", hm_state_name(l->found));
		hm_http_problem(r, HM_PROBLEM_FINAL, &(struct hm_problem_info){.also = also},
				"the message is %s already and cannot be cancelled", hm_state_name(l->found));
		return;
	}
	/* A mark concerns what was accepted before it; clocks of several machines may differ a little. */
	hm_ulid_text(&l->id, text);
	ev.what = hm_str_n(text, HM_ULID_TEXT);
	ev.at_ms = hm_max(r->srv->tick->wall_ms, hm_ulid_ms(&l->id));
	hm_http_hold(r);
	hm_ctl_send(r->srv->deps.redis, r->srv->prefix, &ev, on_marked, r);
}

void hm_api_message_cancel(struct hm_http_req *r)
{
	struct lookup *l = message_lookup(r, done_cancel);

	if (l)
		queue(l);
}

/* -- lists ------------------------------------------------------------------------------ */

static bool visit(void *arg, const struct hm_ledger_msg *m)
{
	struct lookup *l = arg;

	if (l->state >= 0 && m->state != (uint8_t)l->state)
		return true;
	if (l->n++)
		hm_buf_putc(&l->out, ',');
	hm_ledger_msg_json(m, &l->out);
	l->last = m->id;
	return l->n < l->limit && l->out.err == 0;
}

static void ask_recipient(struct lookup *l)
{
	l->rc = l->ledger ? hm_ledger_by_recipient(l->ledger, l->text, l->has_after ? &l->after : NULL,
						   l->state < 0 ? l->limit : SIZE_MAX, visit, l, &l->err)
			  : 0;
}

static void ask_campaign(struct lookup *l)
{
	l->rc = l->ledger
			? hm_ledger_by_campaign(l->ledger, l->text, l->state, l->has_after ? &l->after : NULL,
						l->limit, visit, l, &l->err)
			: 0;
}

static void done_list(struct lookup *l)
{
	struct hm_buf *b = &l->req->srv->body;
	char text[HM_ULID_TEXT + 1];

	if (l->out.err) {
		hm_http_problem(l->req, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"the answer is too large; ask with a smaller limit");
		return;
	}
	hm_buf_reset(b);
	hm_buf_lit(b, "{\"messages\":[");
	hm_buf_puts(b, hm_buf_str(&l->out));
	hm_buf_putc(b, ']');
	if (l->n == l->limit) {
		hm_ulid_text(&l->last, text);
		hm_buf_printf(b, ",\"next\":\"%s\"", text);
	}
	hm_buf_putc(b, '}');
	hm_http_json(l->req, 200, hm_buf_str(b));
}

static void bad_query(struct hm_http_req *r, const char *field, const char *detail)
{
	hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.field = hm_str_c(field)},
			"%s: %s", field, detail);
}

void hm_api_messages_list(struct hm_http_req *r)
{
	struct hm_str to = hm_http_query(r, "to"), campaign = hm_http_query(r, "campaign");
	struct hm_str after = hm_http_query(r, "after"), limit = hm_http_query(r, "limit"),
		      state = hm_http_query(r, "state");
	uint64_t n = LIST_DEFAULT;
	struct hm_ulid after_id;
	int st = -1;
	struct lookup *l;

	if ((to.len != 0) == (campaign.len != 0)) {
		bad_query(r, "to", "give to (an address or user) or campaign");
		return;
	}
	if (limit.p && (!hm_str_u64(limit, &n) || n < 1 || n > LIST_MAX)) {
		bad_query(r, "limit", "must be a number from 1 to 500");
		return;
	}
	if (after.p && !hm_ulid_parse(after, &after_id)) {
		bad_query(r, "after", "must be a message id, the next of the answer before");
		return;
	}
	if (state.p) {
		st = hm_state_find(state);
		if (st < 0) {
			bad_query(r, "state", "must be a message state like sent or failed");
			return;
		}
	}
	l = lookup_new(r, to.len ? ask_recipient : ask_campaign, done_list);
	if (!l)
		return;
	l->text = to.len ? to : campaign;
	l->limit = (size_t)n;
	l->state = st;
	if (after.p) {
		l->has_after = true;
		l->after = after_id;
	}
	queue(l);
}

/* -- the balance ---------------------------------------------------------------------------- */

static bool visit_balance(void *arg, const struct hm_ledger_balance *r)
{
	struct lookup *l = arg;

	if (l->text.p && !hm_str_eq(l->text, r->campaign))
		return true;
	if (l->n++)
		hm_buf_putc(&l->out, ',');
	hm_ledger_balance_json(r, false, &l->out);
	return l->text.p == NULL && l->out.err == 0;
}

static void ask_report(struct lookup *l)
{
	struct hm_ledger_balance total;

	if (!l->ledger) {
		memset(&total, 0, sizeof(total));
	} else {
		l->rc = hm_ledger_total(l->ledger, &total, &l->err);
		if (l->rc)
			return;
	}
	if (l->text.p) {
		if (l->ledger)
			l->rc = hm_ledger_each_campaign(l->ledger, visit_balance, l, &l->err);
		return;
	}
	hm_ledger_balance_json(&total, true, &l->out);
	if (l->out.err) {
		l->rc = hm_err_set(&l->err, HM_ENOMEM, "out of memory");
		return;
	}
	l->out.len--; /* one object: the total, and beside its numbers the campaigns */
	hm_buf_lit(&l->out, ",\"campaigns\":[");
	if (l->ledger)
		l->rc = hm_ledger_each_campaign(l->ledger, visit_balance, l, &l->err);
	hm_buf_lit(&l->out, "]}");
}

static void done_report(struct lookup *l)
{
	if (l->text.p && l->n == 0)
		hm_http_problem(l->req, HM_PROBLEM_NOT_FOUND,
				&(struct hm_problem_info){.field = HM_STR("campaign")},
				"no message belongs to the campaign \"%.*s\"", HM_STRF(l->text));
	else if (l->out.err)
		hm_http_problem(l->req, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"the answer is too large; ask for one campaign");
	else
		hm_http_json(l->req, 200, hm_buf_str(&l->out));
}

void hm_api_report(struct hm_http_req *r)
{
	struct hm_str campaign = hm_http_query(r, "campaign");
	struct lookup *l;

	if (campaign.p && campaign.len > HM_JOB_MAX_LABEL) {
		bad_query(r, "campaign", "is longer than 64 bytes");
		return;
	}
	l = lookup_new(r, ask_report, done_report);
	if (!l)
		return;
	l->text = campaign;
	queue(l);
}
