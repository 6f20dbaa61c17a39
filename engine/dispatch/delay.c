/*
 * delay.c - messages for later
 *
 * `{hm:p}:delayed` is a sorted set (score = due time in ms, member = lane:job id),
 * `{hm:p}:delayed:j` a hash with the payloads. An entry with a future `at` is moved
 * there and acknowledged in one script; a second script, run by the owner of the
 * partition, moves what is due back to its lane. Both are atomic and stay on one slot,
 * so a crash finds the message in exactly one place.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define MOVE_LIMIT  500
#define DELAY_MAGIC 0x64656c79u

static struct hm_redis_script put_script = {
	.name = "delay_put",
	/* KEYS: delayed, payloads, stream; ARGV: due, member, payload, group, entry */
	.source = "redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])\n"
		  "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])\n"
		  "redis.call('XACK', KEYS[3], ARGV[4], ARGV[5])\n"
		  "redis.call('XDEL', KEYS[3], ARGV[5])\n"
		  "return 1\n",
};
static struct hm_redis_script move_script = {
	.name = "delay_move",
	/* KEYS: delayed, payloads, one stream per lane; ARGV: now, limit. Returns {moved, next due or -1}. */
	.source = "local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])\n"
		  "for _, m in ipairs(due) do\n"
		  "  local j = redis.call('HGET', KEYS[2], m)\n"
		  "  if j then redis.call('XADD', KEYS[3 + tonumber(string.sub(m, 1, 1))], '*', 'j', j) end\n"
		  "  redis.call('ZREM', KEYS[1], m)\n"
		  "  redis.call('HDEL', KEYS[2], m)\n"
		  "end\n"
		  "local nxt = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
		  "return {#due, nxt[2] or '-1'}\n",
};

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

void hm_delay_entry(struct job *j, struct hm_str payload)
{
	struct hm_dispatch *d = j->d;
	char k1[128], k2[128], k3[128], due[24], member[40], id[HM_ULID_TEXT + 1];
	struct hm_str keys[3], args[5];

	keys[0] = hm_str_n(k1, hm_job_key(d->o.prefix, j->partition, "delayed", k1, sizeof(k1)));
	keys[1] = hm_str_n(k2, hm_job_key(d->o.prefix, j->partition, "delayed:j", k2, sizeof(k2)));
	keys[2] = hm_str_n(
		k3, hm_job_stream_key(d->o.prefix, j->partition, (enum hm_lane)j->lane, k3, sizeof(k3)));
	hm_ulid_text(&j->id, id);
	snprintf(due, sizeof(due), "%llu", (unsigned long long)j->spec.at_ms);
	snprintf(member, sizeof(member), "%u:%s", j->lane, id);
	args[0] = hm_str_c(due);
	args[1] = hm_str_c(member);
	args[2] = payload;
	args[3] = d->o.group;
	args[4] = hm_str_n(j->entry, j->entry_len);
	if (j->spec.acc.len == 0) {
		/* Accepted now, not when it is due. The mark says so to whoever finds it then, and an id that came from
		 * the entry, which is about to change, is written down. */
		const char *boot = (const char *)d->deps.boot_id;
		struct hm_buf b;

		hm_job_accept(j);
		hm_buf_init_arena(&b, &j->arena, d->o.max_entry_bytes + 64);
		hm_job_put_entry(&b, &j->spec, &j->id, hm_str_n(boot, sizeof(d->deps.boot_id)), 0,
				 j->spec.n_rcpts);
		args[2] = hm_buf_str(&b);
	}
	(void)hm_fault(HM_FAULT_delay_put_before);
	hm_redis_eval(d->deps.redis, &put_script, keys, 3, args, 5, on_put, j);
}

static void on_moved(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_dispatch *d = arg;
	const struct hm_reply *n = hm_reply_at(reply, 0), *next = hm_reply_at(reply, 1);
	uint64_t due = 0;

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	d->delay_open--;
	if (reply == NULL && err->code == HM_EREDIS)
		HM_ERROR(INGEST, "due messages cannot be moved", HM_E(err));
	if (n != NULL && n->i > 0)
		(void)hm_fault(HM_FAULT_delay_move_after);
	if (n != NULL && n->i >= MOVE_LIMIT)
		d->delay_next_ms = 0; /* more is due */
	else if (next != NULL && hm_str_u64(next->s, &due) && due < d->delay_next_ms)
		d->delay_next_ms = due;
	if (d->delay_open == 0 && !d->draining) {
		uint64_t wait = d->delay_next_ms > d->t->wall_ms ? d->delay_next_ms - d->t->wall_ms : 0;

		/* Somebody else may add something earlier at any time: look at least every half second. */
		hm_timer_start(d->t, &d->delay_timer, hm_min(wait, (uint64_t)500));
	}
}

static void on_delay_timer(struct hm_timer *t)
{
	struct hm_dispatch *d = hm_container_of(t, struct hm_dispatch, delay_timer);
	char now[24];

	if (d->draining)
		return;
	if (!d->redis_up) {
		hm_timer_start(d->t, &d->delay_timer, 500);
		return;
	}
	d->delay_next_ms = UINT64_MAX;
	d->delay_open = 1;
	snprintf(now, sizeof(now), "%llu", (unsigned long long)d->t->wall_ms);
	for (uint32_t p = 0; p < d->o.partitions; p++) {
		char k[2 + HM_LANE_COUNT][128];
		struct hm_str keys[2 + HM_LANE_COUNT], args[2] = {hm_str_c(now), HM_STR("500")};

		if (!hm_pull_owns(d, p))
			continue;
		keys[0] = hm_str_n(k[0], hm_job_key(d->o.prefix, p, "delayed", k[0], sizeof(k[0])));
		keys[1] = hm_str_n(k[1], hm_job_key(d->o.prefix, p, "delayed:j", k[1], sizeof(k[1])));
		for (int l = 0; l < HM_LANE_COUNT; l++)
			keys[2 + l] = hm_str_n(k[2 + l], hm_job_stream_key(d->o.prefix, p, (enum hm_lane)l,
									   k[2 + l], sizeof(k[2 + l])));
		d->delay_open++;
		hm_redis_eval(d->deps.redis, &move_script, keys, hm_countof(keys), args, 2, on_moved, d);
	}
	if (--d->delay_open == 0) /* no partition is ours */
		hm_timer_start(d->t, &d->delay_timer, 500);
}

void hm_delay_start(struct hm_dispatch *d)
{
	hm_timer_init(&d->delay_timer, on_delay_timer);
	hm_timer_start(d->t, &d->delay_timer, 50);
}
