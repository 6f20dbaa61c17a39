/*
 * delay.c - entries that wait in Redis: for their time, or for the end of a pause
 *
 * `{hm:p}:delayed` is a sorted set (score = due time in ms, member = lane:id of the first message),
 * `{hm:p}:delayed:j` a hash with the payloads. An entry with a future `at`, or of something paused, is moved there and
 * acknowledged in one script; aside.c adds single messages. A second script, run by the owner of the partition, moves
 * what is due back to its lane. All are atomic and stay on one slot, so a crash finds the message in exactly one place.
 *
 * What waits for the end of a pause is due at its expiry, and also stands in `{hm:p}:paused:<mark>`, a sorted set with the same
 * members and scores; `{hm:p}:paused` is the set of these marks. Whatever mark of it is no pause (any more) is released
 * in that order, by every process on its own, so that one which put something there a moment too late
 * finds it itself.
 *
 * An entry that comes to wait for a second time, or after a crash, is not moved as a whole: some of its messages may have
 * ended. It goes its way, and its messages are put aside one by one (hm_delay_msg).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/cancel.h"
#include "dispatch/dispatch_int.h"

#define MOVE_LIMIT  500
#define DELAY_MAGIC 0x64656c79u
#define LOOK_MS	    500 /* the longest between two looks at what is due */
#define READY_MS    20	/* between two looks whether the marks are there */

static struct hm_redis_script put_script = {
	.name = "delay_put",
	/* KEYS: delayed, payloads, stream; ARGV: due, member, payload, group, entry, mark or empty */
	.source = "if redis.call('XACK', KEYS[3], ARGV[4], ARGV[5]) == 0 then return 0 end\n"
		  "redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])\n"
		  "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])\n"
		  "if ARGV[6] ~= '' then\n"
		  "  local base = string.sub(KEYS[1], 1, -8)\n"
		  "  redis.call('ZADD', base .. 'paused:' .. ARGV[6], ARGV[1], ARGV[2])\n"
		  "  redis.call('SADD', base .. 'paused', ARGV[6])\n"
		  "end\n"
		  "redis.call('XDEL', KEYS[3], ARGV[5])\n"
		  "return 1\n",
};
/* KEYS: delayed, payloads, one stream per lane. Brings member m back to its lane, off every list of pauses. */
#define BRING_BACK                                                                                   \
	"local base = string.sub(KEYS[1], 1, -8)\n"                                                  \
	"local marks = redis.call('SMEMBERS', base .. 'paused')\n"                                   \
	"local function back(m)\n"                                                                   \
	"  local j = redis.call('HGET', KEYS[2], m)\n"                                               \
	"  if j then redis.call('XADD', KEYS[3 + tonumber(string.sub(m, 1, 1))], '*', 'j', j) end\n" \
	"  redis.call('ZREM', KEYS[1], m)\n"                                                         \
	"  redis.call('HDEL', KEYS[2], m)\n"                                                         \
	"  for _, k in ipairs(marks) do redis.call('ZREM', base .. 'paused:' .. k, m) end\n"         \
	"end\n"
static struct hm_redis_script move_script = {
	.name = "delay_move",
	/* ARGV: now, limit. Returns {moved, next due or -1, marks something waits for}. */
	.source = BRING_BACK
	"local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])\n"
	"for _, m in ipairs(due) do back(m) end\n"
	"local left = {}\n"
	"for _, k in ipairs(marks) do\n"
	"  if redis.call('EXISTS', base .. 'paused:' .. k) == 1 then left[#left + 1] = k\n"
	"  else redis.call('SREM', base .. 'paused', k) end\n"
	"end\n"
	"local nxt = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
	"return {#due, nxt[2] or '-1', left}\n",
};
static struct hm_redis_script resume_script = {
	.name = "delay_resume",
	/* ARGV: mark, limit. Returns how many came back. */
	.source = BRING_BACK "local ms = redis.call('ZRANGE', base .. 'paused:' .. ARGV[1], 0, ARGV[2] - 1)\n"
			     "for _, m in ipairs(ms) do back(m) end\n"
			     "return #ms\n",
};
static struct hm_redis_script release_script = {
	.name = "delay_release",
	/* ARGV: members */
	.source = BRING_BACK "for _, m in ipairs(ARGV) do back(m) end\n"
			     "return #ARGV\n",
};
static struct hm_redis_script page_script = {
	.name = "delay_page",
	/* KEYS: payloads; ARGV: cursor, count, bytes. Returns {cursor, [member, payload, ...]}; a payload that would
	 * be too much is empty. */
	.source = "local r = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])\n"
		  "local out, n, max = {}, 0, tonumber(ARGV[3])\n"
		  "for i = 1, #r[2], 2 do\n"
		  "  n = n + #r[2][i + 1]\n"
		  "  out[i] = r[2][i]\n"
		  "  out[i + 1] = n <= max and r[2][i + 1] or ''\n"
		  "end\n"
		  "return {r[1], out}\n",
};
static struct hm_redis_script tidy_script = {
	.name = "aside_tidy",
	/* KEYS: away or taken, one stream per lane; ARGV: cursor. Notes about entries that are deleted; returns the cursor. */
	.source = "local r = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 100)\n"
		  "for i = 1, #r[2], 2 do\n"
		  "  local f = r[2][i]\n"
		  "  local id = string.sub(f, 3)\n"
		  "  local e = redis.pcall('XRANGE', KEYS[2 + tonumber(string.sub(f, 1, 1))], id, id)\n"
		  "  if e.err or #e == 0 then redis.call('HDEL', KEYS[1], f) end\n"
		  "end\n"
		  "return r[1]\n",
};

/* -- away ------------------------------------------------------------------------------------------ */

static void on_put(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct job *j = arg;

	HM_CHECK(j, HM_JOB_MAGIC);
	(void)hm_fault(HM_FAULT_delay_put_after);
	/* Without an answer: either moved, or still pending and read again later. Both are right. */
	if (reply == NULL) {
		HM_WARN(INGEST, "a message for later could not be put aside; it is read again", HM_E(err));
		hm_pull_again(j->d, j->partition, (enum hm_lane)j->lane);
	}
	hm_job_free(j);
}

static void put_entry(struct job *j, struct hm_str payload, uint64_t due_ms, struct hm_str mark)
{
	struct hm_dispatch *d = j->d;
	char k1[128], k2[128], k3[128], due[24], member[40], id[HM_ULID_TEXT + 1];
	struct hm_str keys[3], args[6];
	struct hm_ulid first = j->id;

	hm_ulid_add(&first, j->spec.n0);
	keys[0] = hm_str_n(k1, hm_job_key(d->o.prefix, j->partition, "delayed", k1, sizeof(k1)));
	keys[1] = hm_str_n(k2, hm_job_key(d->o.prefix, j->partition, "delayed:j", k2, sizeof(k2)));
	keys[2] = hm_str_n(
		k3, hm_job_stream_key(d->o.prefix, j->partition, (enum hm_lane)j->lane, k3, sizeof(k3)));
	hm_ulid_text(&first, id);
	snprintf(due, sizeof(due), "%llu", (unsigned long long)due_ms);
	snprintf(member, sizeof(member), "%u:%s", j->lane, id);
	args[0] = hm_str_c(due);
	args[1] = hm_str_c(member);
	args[2] = payload;
	args[3] = d->o.group;
	args[4] = hm_str_n(j->entry, j->entry_len);
	args[5] = mark;
	if (j->spec.acc.len == 0 || (mark.len > 0 && j->spec.expires_ms == 0)) {
		/* Accepted now, not when it is due. The mark says so to whoever finds it then, and an id that came from
		 * the entry, which is about to change, is written down; so is an expiry that counts from now. */
		struct hm_buf b;
		struct hm_job_spec s = j->spec;

		if (s.acc.len == 0) {
			if (!hm_job_accept(j)) { /* stays pending */
				hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
				hm_job_free(j);
				return;
			}
			s.acc = hm_str_n(d->acc, d->acc_len);
		}
		if (mark.len > 0)
			s.expires_ms = j->expires_ms;
		hm_buf_init_arena(&b, &j->arena, d->o.max_entry_bytes + 128);
		hm_job_put_entry(&b, &s, &j->id, s.acc, 0, j->spec.n_rcpts);
		if (b.err != 0) { /* stays pending */
			hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
			hm_job_free(j);
			return;
		}
		args[2] = hm_buf_str(&b);
	}
	(void)hm_fault(HM_FAULT_delay_put_before);
	j->lent = true;
	hm_redis_eval(d->deps.redis, &put_script, keys, 3, args, 6, on_put, j);
}

bool hm_delay_takes(struct job *j, struct hm_str payload)
{
	uint64_t now = j->d->t->wall_ms;
	char mark[HM_MARK_TEXT];

	if (now >= j->expires_ms || hm_marks_cancel(j))
		return false;
	if (j->spec.at_ms > now)
		put_entry(j, payload, j->spec.at_ms, HM_STR(""));
	else if (hm_marks_pause(j, mark))
		put_entry(j, payload, j->expires_ms, hm_str_c(mark));
	else
		return false;
	return true;
}

/* -- and back -------------------------------------------------------------------------------------- */

struct lane_keys {
	char text[2 + HM_LANE_COUNT][128];
	struct hm_str key[2 + HM_LANE_COUNT]; /* delayed, payloads, one stream per lane */
};

static void keys_of(const struct hm_dispatch *d, uint32_t p, struct lane_keys *k)
{
	k->key[0] = hm_str_n(k->text[0], hm_job_key(d->o.prefix, p, "delayed", k->text[0], 128));
	k->key[1] = hm_str_n(k->text[1], hm_job_key(d->o.prefix, p, "delayed:j", k->text[1], 128));
	for (int l = 0; l < HM_LANE_COUNT; l++)
		k->key[2 + l] = hm_str_n(k->text[2 + l], hm_job_stream_key(d->o.prefix, p, (enum hm_lane)l,
									   k->text[2 + l], 128));
}

struct ask { /* one script of a partition under way */
	uint32_t magic;
	struct hm_dispatch *d;
	uint32_t partition;
	char mark[HM_MARK_TEXT]; /* or the hash that is tidied */
};

static struct ask *ask_new(struct hm_dispatch *d, uint32_t p)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	HM_MAGIC_SET(a, DELAY_MAGIC);
	a->d = d;
	a->partition = p;
	return a;
}

static void ask_free(struct ask *a)
{
	HM_MAGIC_CLEAR(a);
	free(a);
}

static void resume_mark(struct hm_dispatch *d, uint32_t p, struct hm_str mark);

static void on_resumed(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;

	HM_CHECK(a, DELAY_MAGIC);
	if (reply != NULL && reply->i > 0)
		(void)hm_fault(HM_FAULT_delay_resume_after);
	if (reply == NULL && err->code == HM_EREDIS)
		HM_ERROR(INGEST, "paused messages cannot be resumed", HM_E(err));
	if (reply != NULL && reply->i >= MOVE_LIMIT &&
	    !a->d->draining) /* without an answer the next look finds it */
		resume_mark(a->d, a->partition, hm_str_c(a->mark));
	ask_free(a);
}

static void resume_mark(struct hm_dispatch *d, uint32_t p, struct hm_str mark)
{
	struct ask *a = ask_new(d, p);
	struct hm_str args[2] = {mark, HM_STR("500")};
	struct lane_keys k;

	if (a == NULL)
		return;
	snprintf(a->mark, sizeof(a->mark), "%.*s", HM_STRF(mark));
	keys_of(d, p, &k);
	hm_redis_eval(d->deps.redis, &resume_script, k.key, hm_countof(k.key), args, 2, on_resumed, a);
}

static void look_at_marks(struct hm_dispatch *d, uint32_t p, const struct hm_reply *marks)
{
	const struct hm_cancel_set *s = d->deps.cancels;

	if (marks == NULL || marks->n == 0 || (s != NULL && !hm_marks_are_ready(s)))
		return;
	for (size_t i = 0; i < marks->n; i++)
		if (s == NULL || !hm_pause_is(s, marks->v[i].s))
			resume_mark(d, p, marks->v[i].s);
}

static void on_moved(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct hm_dispatch *d = a->d;
	const struct hm_reply *n = hm_reply_at(reply, 0), *next = hm_reply_at(reply, 1);
	uint64_t due = 0;

	HM_CHECK(a, DELAY_MAGIC);
	d->delay_open--;
	if (reply == NULL && err->code == HM_EREDIS)
		HM_ERROR(INGEST, "due messages cannot be moved", HM_E(err));
	if (n != NULL && n->i > 0)
		(void)hm_fault(HM_FAULT_delay_move_after);
	if (n != NULL && n->i >= MOVE_LIMIT)
		d->delay_next_ms = 0; /* more is due */
	else if (next != NULL && hm_str_u64(next->s, &due) && due < d->delay_next_ms)
		d->delay_next_ms = due;
	if (reply != NULL && !d->draining)
		look_at_marks(d, a->partition, hm_reply_at(reply, 2));
	ask_free(a);
	if (d->delay_open == 0 && !d->draining) {
		uint64_t wait = d->delay_next_ms > d->t->wall_ms ? d->delay_next_ms - d->t->wall_ms : 0;

		/* Somebody else may add something earlier at any time: look at least every half second. */
		hm_timer_start(d->t, &d->delay_timer, hm_min(wait, (uint64_t)LOOK_MS));
	}
}

/* -- what has been cancelled while it waits --------------------------------------------------------- */

static void sweep_page(struct hm_dispatch *d);

static void on_released(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_dispatch *d = arg;

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	if (reply == NULL)
		d->swept_gen = 0; /* not done: again, from the beginning */
	else
		(void)hm_fault(HM_FAULT_delay_release_after);
}

/* Does a mark concern any message of this entry? One that cannot be read goes to its lane, where that is dealt with. */
static bool is_cancelled(struct hm_dispatch *d, struct hm_str payload, msgpack_zone *zone)
{
	const struct hm_cancel_set *s = d->deps.cancels;
	struct hm_job_spec spec;
	struct hm_mark_labels l;
	struct hm_ulid id;
	struct hm_err e;
	uint64_t since;

	if (payload.len == 0 || hm_job_decode(payload, zone, &spec, &e) != 0 || !spec.has_id)
		return true;
	l = (struct hm_mark_labels){.job = spec.res.there ? spec.res.job : spec.id,
				    .campaign = spec.campaign,
				    .tenant = spec.tenant,
				    .tags = spec.tags};
	since = hm_cancel_since(s, &l);
	id = spec.id;
	hm_ulid_add(&id, spec.n0);
	if (hm_ulid_ms(&id) <= since)
		return true;
	for (uint32_t i = 0; hm_cancel_by_id(s) && i < spec.n_rcpts; i++) {
		if (hm_cancel_id(s, &id))
			return true;
		hm_ulid_add(&id, 1);
	}
	return false;
}

static void on_page(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_dispatch *d = arg;
	const struct hm_reply *cursor = hm_reply_at(reply, 0), *list = hm_reply_at(reply, 1);
	struct hm_str *members = NULL;
	struct lane_keys k;
	msgpack_zone zone;
	size_t n = 0;

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	d->sweeping = false;
	if (d->draining)
		return;
	if (list != NULL && list->n > 0)
		members = hm_arena_alloc(&d->t->scratch, list->n / 2 * sizeof(*members));
	if (reply == NULL || cursor == NULL || list == NULL || (list->n > 0 && members == NULL) ||
	    cursor->s.len >= sizeof(d->sweep_cursor) || !msgpack_zone_init(&zone, MSGPACK_ZONE_CHUNK_SIZE)) {
		if (reply == NULL && err->code == HM_EREDIS)
			HM_ERROR(INGEST, "what waits cannot be compared with what is cancelled", HM_E(err));
		d->swept_gen = 0;
		return;
	}
	for (size_t i = 0; i + 1 < list->n; i += 2) {
		if (is_cancelled(d, list->v[i + 1].s, &zone))
			members[n++] = list->v[i].s;
		msgpack_zone_clear(&zone);
	}
	msgpack_zone_destroy(&zone);
	keys_of(d, d->sweep_partition, &k);
	for (size_t at = 0; at < n; at += MOVE_LIMIT)
		hm_redis_eval(d->deps.redis, &release_script, k.key, hm_countof(k.key), members + at,
			      hm_min(n - at, (size_t)MOVE_LIMIT), on_released, d);
	memcpy(d->sweep_cursor, cursor->s.p, cursor->s.len);
	d->sweep_cursor[cursor->s.len] = '\0';
	if (hm_str_is(cursor->s, "0"))
		d->sweep_partition++;
	sweep_page(d);
}

static void sweep_page(struct hm_dispatch *d)
{
	char key[128];
	struct hm_str k, args[3] = {hm_str_c(d->sweep_cursor), HM_STR("100"), HM_STR("4194304")};

	while (d->sweep_partition < d->o.partitions && !hm_pull_owns(d, d->sweep_partition))
		d->sweep_partition++;
	if (d->sweep_partition >= d->o.partitions)
		return;
	d->sweeping = true;
	k = hm_str_n(key, hm_job_key(d->o.prefix, d->sweep_partition, "delayed:j", key, sizeof(key)));
	hm_redis_eval(d->deps.redis, &page_script, &k, 1, args, 3, on_page, d);
}

static void sweep(struct hm_dispatch *d)
{
	const struct hm_cancel_set *s = d->deps.cancels;

	if (s == NULL || d->sweeping || !hm_marks_are_ready(s) || hm_cancel_gen(s) == d->swept_gen)
		return;
	d->swept_gen = hm_cancel_gen(s); /* marks that come from here on need another pass */
	d->sweep_partition = 0;
	strcpy(d->sweep_cursor, "0");
	sweep_page(d);
}

/* -- notes of aside.c and recover.c that a crash left behind ------------------------------------------- */

static void tidy(struct hm_dispatch *d, uint32_t p, struct hm_str cursor, const char *what);

static void on_tidied(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;

	HM_CHECK(a, DELAY_MAGIC);
	(void)err; /* a note too many hurts nobody */
	if (reply != NULL && !hm_str_is(reply->s, "0") && !a->d->draining)
		tidy(a->d, a->partition, reply->s, a->mark);
	ask_free(a);
}

static void tidy(struct hm_dispatch *d, uint32_t p, struct hm_str cursor, const char *what)
{
	struct ask *a = ask_new(d, p);
	char key[128];
	struct hm_str keys[1 + HM_LANE_COUNT];
	struct lane_keys k;

	if (a == NULL)
		return;
	keys_of(d, p, &k);
	snprintf(a->mark, sizeof(a->mark), "%s", what);
	keys[0] = hm_str_n(key, hm_job_key(d->o.prefix, p, what, key, sizeof(key)));
	memcpy(keys + 1, k.key + 2, HM_LANE_COUNT * sizeof(keys[0]));
	hm_redis_eval(d->deps.redis, &tidy_script, keys, hm_countof(keys), &cursor, 1, on_tidied, a);
}

/* -- the clock ------------------------------------------------------------------------------------------ */

static void look(struct hm_dispatch *d, uint32_t p)
{
	struct ask *a = ask_new(d, p);
	char now[24];
	struct hm_str args[2] = {HM_STR_NULL, HM_STR("500")};
	struct lane_keys k;

	if (a == NULL)
		return;
	args[0] = hm_str_n(now,
			   (size_t)snprintf(now, sizeof(now), "%llu", (unsigned long long)d->t->wall_ms));
	keys_of(d, p, &k);
	d->delay_open++;
	hm_redis_eval(d->deps.redis, &move_script, k.key, hm_countof(k.key), args, 2, on_moved, a);
	if (!d->tidied) {
		tidy(d, p, HM_STR("0"), "away");
		tidy(d, p, HM_STR("0"), "taken");
	}
}

static void on_delay_timer(struct hm_timer *t)
{
	struct hm_dispatch *d = hm_container_of(t, struct hm_dispatch, delay_timer);

	if (d->draining)
		return;
	if (d->deps.cancels != NULL && !hm_marks_are_ready(d->deps.cancels)) {
		hm_timer_start(d->t, &d->delay_timer, READY_MS);
		return;
	}
	hm_pump_later(d); /* it has waited for the marks */
	if (!d->redis_up) {
		hm_timer_start(d->t, &d->delay_timer, LOOK_MS);
		return;
	}
	sweep(d);
	d->delay_next_ms = UINT64_MAX;
	d->delay_open = 1;
	for (uint32_t p = 0; p < d->o.partitions; p++)
		if (hm_pull_owns(d, p))
			look(d, p);
	d->tidied = true;
	if (--d->delay_open == 0) /* no partition is ours */
		hm_timer_start(d->t, &d->delay_timer, LOOK_MS);
}

void hm_delay_start(struct hm_dispatch *d)
{
	hm_timer_init(&d->delay_timer, on_delay_timer);
	hm_timer_start(d->t, &d->delay_timer, READY_MS);
}
