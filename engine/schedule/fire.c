/*
 * fire.c - schedules become entries of the queue
 *
 *   every half second: what is due? ─▶ per schedule: which time is it (catch_up), entries written if nobody has,
 *   then the schedule moves on, if nobody has moved it
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "ingest/job_encode.h"
#include "schedule/store_int.h"

#define CLOCK_MAGIC 0x73636c6bu
#define FIRE_MAGIC  0x66697265u
#define LOOK_MS	    500
#define AT_ONCE	    50

static struct hm_redis_script fire_script = {
	.name = "schedule_fire",
	/* KEYS: note, stream; ARGV: time to live of the note, entry */
	.source = "if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then\n"
		  "  redis.call('XADD', KEYS[2], '*', 'j', ARGV[2])\n"
		  "  return 1\n"
		  "end\n"
		  "return 0\n",
};

struct fire {
	uint32_t magic, open;
	struct hm_err err; /* of the first script that failed */
	hm_schedule_fired_fn fn;
	void *arg;
};

static void one_less(struct fire *f)
{
	if (--f->open > 0)
		return;
	f->fn(f->arg, f->err.code ? &f->err : NULL);
	HM_MAGIC_CLEAR(f);
	free(f);
}

static void on_entry(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct fire *f = arg;

	HM_CHECK(f, FIRE_MAGIC);
	if (reply == NULL && f->err.code == 0)
		f->err = *err;
	if (reply != NULL)
		(void)hm_fault(HM_FAULT_schedule_entry);
	one_less(f);
}

void hm_schedule_fire(struct hm_redis *r, struct hm_str prefix, uint32_t partitions,
		      const struct hm_schedule *s, struct hm_str id, uint64_t due_ms, hm_schedule_fired_fn fn,
		      void *arg)
{
	struct hm_job_spec spec = s->job;
	struct fire *f = calloc(1, sizeof(*f));
	struct hm_buf b;

	if (f == NULL)
		hm_panic(__FILE__, __LINE__, __func__, "no memory to fire a schedule");
	HM_MAGIC_SET(f, FIRE_MAGIC);
	f->open = 1;
	f->fn = fn;
	f->arg = arg;
	if (s->expires_after_ms)
		spec.expires_ms = due_ms + s->expires_after_ms;
	hm_buf_init(&b, HM_JOB_MAX_BYTES);
	for (uint32_t at = 0, n = 0; at < spec.n_rcpts; at += HM_JOB_MAX_RECIPIENTS, n++) {
		uint32_t count = hm_min(spec.n_rcpts - at, (uint32_t)HM_JOB_MAX_RECIPIENTS), p;
		char k1[128], k2[128], text[HM_ULID_TEXT + 1], what[HM_ULID_TEXT + 16];
		struct hm_str keys[2], args[2];
		struct hm_ulid job;

		hm_schedule_job_id(&job, id, due_ms, n);
		p = hm_job_partition(&job, partitions);
		hm_ulid_text(&job, text);
		snprintf(what, sizeof(what), "fired:%s", text);
		hm_buf_reset(&b);
		hm_job_put_entry(&b, &spec, &job, HM_STR_NULL, at, count);
		if (b.err) {
			hm_err_set(&f->err, b.err, "the entry is too large, or there is no memory for it");
			break;
		}
		keys[0] = hm_str_n(k1, hm_job_key(prefix, p, what, k1, sizeof(k1)));
		keys[1] = hm_str_n(k2, hm_job_stream_key(prefix, p, spec.lane, k2, sizeof(k2)));
		args[0] = HM_STR(HM_SCHEDULE_NOTE_MS);
		args[1] = hm_buf_str(&b);
		f->open++;
		hm_redis_eval(r, &fire_script, keys, 2, args, 2, on_entry, f);
	}
	hm_buf_fini(&b);
	if (f->open == 1 && f->err.code) { /* nothing was sent: the answer still comes from the loop */
		hm_redis_sendf(r, HM_STR_NULL, on_entry, f, "PING");
		return;
	}
	one_less(f);
}

/* -- the clock ------------------------------------------------------------------------------------- */

struct hm_schedule_clock {
	uint32_t magic;
	struct hm_tick *t;
	struct hm_redis *r;
	struct hm_str prefix;
	uint32_t partitions, open; /* questions and firings under way */
	struct hm_timer timer;
	bool stopped, more; /* more: a schedule has missed several times, and wants each of them */
};

struct run { /* one schedule that is due */
	struct hm_schedule_clock *c;
	char name[HM_SCHEDULE_NAME_MAX + 1], id[HM_ULID_TEXT + 1];
	uint64_t due_ms, fire_ms, next_ms;
};

static void finished(struct hm_schedule_clock *c)
{
	c->open--;
	if (c->open == 0 && !c->stopped)
		hm_timer_start(c->t, &c->timer, c->more ? 10 : LOOK_MS);
}

static void on_moved(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct run *x = arg;

	if (reply != NULL)
		(void)hm_fault(HM_FAULT_schedule_moved);
	if (reply != NULL && reply->i == 1 && x->fire_ms)
		HM_INFO(INGEST, "schedule fired", HM_S("name", x->name), HM_U("due", x->fire_ms));
	if (reply == NULL && err->code == HM_EREDIS)
		HM_ERROR(INGEST, "a schedule cannot move on", HM_S("name", x->name), HM_E(err));
	x->c->more |= reply != NULL && x->next_ms <= x->c->t->wall_ms;
	finished(x->c); /* without an answer it is looked at again, and nothing happens twice */
	free(x);
}

static void move_on(struct run *x)
{
	hm_schedule_moved(x->c->r, x->c->prefix, hm_str_c(x->name), hm_str_c(x->id), x->due_ms, x->next_ms,
			  x->fire_ms, on_moved, x);
}

static void on_fired(void *arg, const struct hm_err *err)
{
	struct run *x = arg;

	if (err == NULL) {
		(void)hm_fault(HM_FAULT_schedule_fired);
		move_on(x);
		return;
	}
	if (err->code == HM_EREDIS || err->code == HM_ELIMIT)
		HM_ERROR(INGEST, "a schedule cannot be fired; tried again", HM_S("name", x->name), HM_E(err));
	finished(x->c);
	free(x);
}

static void run_row(struct hm_schedule_clock *c, const struct hm_reply *row, msgpack_zone *zone)
{
	struct run *x = calloc(1, sizeof(*x));
	struct hm_schedule s;
	struct hm_buf mp;
	msgpack_object root;
	struct hm_err e = {0};
	uint64_t created;

	if (x == NULL)
		return;
	hm_buf_init(&mp, HM_SCHEDULE_DOC_MAX * 2);
	if (row->n != HM_SCHEDULE_ROW || !hm_schedule_name_ok(row->v[0].s) ||
	    row->v[3].s.len != HM_ULID_TEXT || !hm_str_u64(row->v[1].s, &x->due_ms) ||
	    !hm_str_u64(row->v[4].s, &created)) {
		hm_err_set(&e, HM_EINVAL, "its fields in Redis are not what Hermod writes");
	} else if (hm_json_to_msgpack(row->v[2].s, &mp, &e) != 0 ||
		   hm_msgpack_decode(zone, hm_buf_str(&mp), &root, &e) != 0 ||
		   hm_schedule_read(&root, &s, &e) != 0) {
		/* e says it */
	} else {
		x->c = c;
		snprintf(x->name, sizeof(x->name), "%.*s", HM_STRF(row->v[0].s));
		snprintf(x->id, sizeof(x->id), "%.*s", HM_STRF(row->v[3].s));
		x->fire_ms = hm_schedule_due(&s, created, x->due_ms, c->t->wall_ms, &x->next_ms);
		c->open++;
		if (x->fire_ms)
			hm_schedule_fire(c->r, c->prefix, c->partitions, &s, row->v[3].s, x->fire_ms,
					 on_fired, x);
		else
			move_on(x);
		x = NULL;
	}
	if (x != NULL)
		HM_ERROR(INGEST, "a schedule cannot be read and does not fire", HM_SV("name", row->v[0].s),
			 HM_E(&e));
	free(x);
	hm_buf_fini(&mp);
	msgpack_zone_clear(zone);
}

static void on_due(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_schedule_clock *c = arg;
	msgpack_zone zone;

	HM_CHECK(c, CLOCK_MAGIC);
	if (reply == NULL && err->code == HM_EREDIS)
		HM_ERROR(INGEST, "which schedules are due cannot be read", HM_E(err));
	if (reply != NULL && reply->n > 0 && !c->stopped &&
	    msgpack_zone_init(&zone, MSGPACK_ZONE_CHUNK_SIZE)) {
		for (size_t i = 0; i < reply->n; i++)
			run_row(c, &reply->v[i], &zone);
		msgpack_zone_destroy(&zone);
	}
	finished(c);
}

static void on_look(struct hm_timer *t)
{
	struct hm_schedule_clock *c = hm_container_of(t, struct hm_schedule_clock, timer);

	HM_CHECK(c, CLOCK_MAGIC);
	if (!hm_redis_is_cluster(c->r) && !hm_redis_up(c->r)) {
		hm_timer_start(c->t, &c->timer, LOOK_MS);
		return;
	}
	c->open = 1;
	c->more = false;
	hm_schedule_ask_due(c->r, c->prefix, c->t->wall_ms, AT_ONCE, on_due, c);
}

struct hm_schedule_clock *hm_schedule_clock_start(struct hm_tick *t, struct hm_redis *r, struct hm_str prefix,
						  uint32_t partitions)
{
	struct hm_schedule_clock *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	HM_MAGIC_SET(c, CLOCK_MAGIC);
	c->t = t;
	c->r = r;
	c->prefix = prefix;
	c->partitions = partitions;
	hm_timer_init(&c->timer, on_look);
	hm_timer_start(t, &c->timer, LOOK_MS);
	return c;
}

void hm_schedule_clock_stop(struct hm_schedule_clock *c)
{
	if (c == NULL)
		return;
	HM_CHECK(c, CLOCK_MAGIC);
	c->stopped = true;
	hm_timer_stop(c->t, &c->timer);
}

void hm_schedule_clock_free(struct hm_schedule_clock *c)
{
	if (c == NULL)
		return;
	HM_CHECK(c, CLOCK_MAGIC);
	HM_MAGIC_CLEAR(c);
	free(c);
}
