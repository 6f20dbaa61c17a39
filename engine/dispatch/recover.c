/*
 * recover.c - nothing is left behind: heartbeats, taking over, redelivered jobs
 *
 * Each consumer writes its heartbeat into `{hm:p}:consumers` (score = Redis' own time),
 * first when Redis comes up. The script that does so also takes over, entry by entry,
 * what consumers with an old heartbeat have pending. Consumer names are <node id>.<shard> and the data directory is
 * locked, so a restarted node finds its own entries under its own name at once
 * (pull.c, OWN), and only a node that stays away is taken over from. What was taken over is pending under
 * <node id>.<shard>+, so that it is never mistaken for own entries, whatever becomes of this process.
 *
 * A redelivered job is compared with the ledger before it runs: recipients with a
 * final record are done; interim records carry the attempts made so far. The look-up runs in
 * the thread pool.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define CLAIM_PAGE    32
#define RECHECK_MAGIC 0x72656368u

static struct hm_redis_script beat_script = {
	.name = "heartbeat",
	/* KEYS: consumers, one stream per lane, who had what was taken over (moves.c); ARGV: me, group, claim after ms, page, my name for what is taken over. A consumer is dead when its
	 * heartbeat is old, or when it never had one (killed before the first) and has been silent as long. Who has anything
	 * pending is never deleted: that would go with it.
	 * Returns a list of {lane index, entries} taken over. */
	.source =
		"local t = redis.call('TIME')\n"
		"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
		"local after = tonumber(ARGV[3])\n"
		"redis.call('ZADD', KEYS[1], now, ARGV[1], now, ARGV[5])\n"
		"local out = {}\n"
		"local busy = {}\n"
		"for l = 2, #KEYS - 1 do\n"
		"  local cs = redis.pcall('XINFO', 'CONSUMERS', KEYS[l], ARGV[2])\n"
		"  if cs.err then cs = {} end\n"
		"  for _, c in ipairs(cs) do\n"
		"    local name, pending, idle = c[2], c[4], c[6]\n"
		"    local beat = redis.call('ZSCORE', KEYS[1], name)\n"
		"    local dead = (beat and tonumber(beat) < now - after) or (not beat and idle > after)\n"
		"    if pending > 0 then busy[name] = true end\n"
		"    if name ~= ARGV[1] and name ~= ARGV[5] and dead and pending > 0 then\n"
		"      local ids = redis.call('XPENDING', KEYS[l], ARGV[2], '-', '+', ARGV[4], name)\n"
		"      local cmd = {'XCLAIM', KEYS[l], ARGV[2], ARGV[5], 0}\n"
		"      local node = string.gsub(name, '%.%d+%+?$', '')\n"
		"      for _, p in ipairs(ids) do\n"
		"        local field = (l - 2) .. ':' .. p[1]\n"
		"        local had = redis.call('HGET', KEYS[#KEYS], field)\n"
		"        redis.call('HSET', KEYS[#KEYS], field, had and (had .. ',' .. node) or node)\n"
		"        cmd[#cmd + 1] = p[1]\n"
		"      end\n"
		"      out[#out + 1] = {l - 2, redis.call(unpack(cmd))}\n"
		"    end\n"
		"  end\n"
		"end\n"
		"for _, c in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now "
		"- after))) do\n"
		"  if not busy[c] then\n"
		"    for l = 2, #KEYS - 1 do redis.pcall('XGROUP', 'DELCONSUMER', KEYS[l], ARGV[2], c) end\n"
		"    redis.call('ZREM', KEYS[1], c)\n"
		"  end\n"
		"end\n"
		"return out\n",
};

struct beat {
	uint32_t magic;
	struct hm_dispatch *d;
	uint32_t partition;
};
#define BEAT_MAGIC 0x62656174u

static void beat_partition(struct hm_dispatch *d, uint32_t p);

static void on_beat(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct beat *b = arg;
	struct hm_dispatch *d;
	uint32_t p;
	size_t got = 0;

	HM_CHECK(b, BEAT_MAGIC);
	d = b->d;
	p = b->partition;
	HM_MAGIC_CLEAR(b);
	free(b);
	d->beats_open--;
	if (reply == NULL) {
		if (err->code == HM_EREDIS)
			HM_ERROR(INGEST, "the heartbeat failed", HM_U("partition", p), HM_E(err));
		hm_dispatch_check_drained(d);
		return;
	}
	for (size_t i = 0; i < reply->n && !d->draining; i++) {
		const struct hm_reply *lane = hm_reply_at(&reply->v[i], 0),
				      *entries = hm_reply_at(&reply->v[i], 1);

		if (lane == NULL || entries == NULL || entries->type != HM_REPLY_ARRAY || lane->i < 0 ||
		    lane->i >= HM_LANE_COUNT)
			continue;
		got += entries->n;
		hm_stats_add(d->t->stats, HM_CT_CLAIMED_ENTRIES, entries->n);
		hm_pull_entries(d, p, (enum hm_lane)lane->i, entries, true, true);
	}
	if (got > 0) {
		(void)hm_fault(HM_FAULT_takeover_after);
		HM_INFO(INGEST, "entries taken over from a dead consumer", HM_U("partition", p),
			HM_U("entries", got));
		beat_partition(d, p); /* there may be more */
	}
	hm_dispatch_check_drained(d);
}

static void beat_partition(struct hm_dispatch *d, uint32_t p)
{
	char k[2 + HM_LANE_COUNT][128], after[24], page[24];
	struct hm_str keys[2 + HM_LANE_COUNT], args[5];
	struct beat *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return;
	HM_MAGIC_SET(b, BEAT_MAGIC);
	b->d = d;
	b->partition = p;
	keys[0] = hm_str_n(k[0], hm_job_key(d->o.prefix, p, "consumers", k[0], sizeof(k[0])));
	for (int l = 0; l < HM_LANE_COUNT; l++)
		keys[1 + l] = hm_str_n(k[1 + l], hm_job_stream_key(d->o.prefix, p, (enum hm_lane)l, k[1 + l],
								   sizeof(k[1 + l])));
	keys[1 + HM_LANE_COUNT] = hm_str_n(
		k[1 + HM_LANE_COUNT],
		hm_job_key(d->o.prefix, p, "taken", k[1 + HM_LANE_COUNT], sizeof(k[0])));
	/* While draining nothing is taken over, but nobody shall take from here what still has to be answered. */
	if (d->draining)
		snprintf(after, sizeof(after), "1000000000000000");
	else
		snprintf(after, sizeof(after), "%u", d->o.claim_after_ms);
	/* What is in hand comes first: no taking over while the buffers are full. */
	snprintf(page, sizeof(page), "%u", CLAIM_PAGE);
	args[0] = hm_str_c(d->consumer);
	args[1] = d->o.group;
	args[2] = hm_str_c(after);
	args[3] = hm_str_c(page);
	args[4] = hm_str_c(d->taker);
	d->beats_open++;
	hm_redis_eval(d->deps.redis, &beat_script, keys, hm_countof(keys), args, hm_countof(args), on_beat,
		      b);
}

static void on_heartbeat(struct hm_timer *t)
{
	struct hm_dispatch *d = hm_container_of(t, struct hm_dispatch, heartbeat);

	hm_timer_start(d->t, &d->heartbeat, d->o.heartbeat_ms);
	hm_pump_later(d); /* what stopped for lack of memory goes on */
	if (!d->redis_up || d->beats_open > 0 || d->drained || d->farewell)
		return;
	for (uint32_t p = 0; p < d->o.partitions; p++)
		if (hm_pull_owns(d, p))
			beat_partition(d, p);
}

void hm_recover_start(struct hm_dispatch *d)
{
	hm_timer_init(&d->heartbeat, on_heartbeat);
	hm_timer_start(d->t, &d->heartbeat, 0);
}

static void on_farewell(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_dispatch *d = arg;

	d->beats_open--;
	hm_dispatch_check_drained(d);
}

/* A heartbeat of 0: others need not wait until this consumer is dead. */
void hm_recover_farewell(struct hm_dispatch *d)
{
	hm_timer_stop(d->t, &d->heartbeat);
	for (uint32_t p = 0; p < d->o.partitions; p++) {
		char k[128];
		struct hm_str argv[6] = {HM_STR("ZADD"),	HM_STR_NULL, HM_STR("0"),
					 hm_str_c(d->consumer), HM_STR("0"), hm_str_c(d->taker)};

		if (!hm_pull_owns(d, p))
			continue;
		argv[1] = hm_str_n(k, hm_job_key(d->o.prefix, p, "consumers", k, sizeof(k)));
		d->beats_open++;
		hm_redis_send(d->deps.redis, argv[1], argv, hm_countof(argv), on_farewell, d);
	}
}

/* -- redelivered jobs --------------------------------------------------------------------------- */

struct recheck {
	uint32_t magic;
	uv_work_t work;
	struct job *job;
	struct hm_ledger *ledger;
	struct hm_ulid id;
	uint32_t n;
	uint8_t *bits; /* done bitmap */
	struct hm_ledger_msg **prior;
	struct hm_arena arena;
	bool covered; /* the ledger has the job they were accepted with */
	bool failed;
	struct hm_err err;
};

static void recheck_work(uv_work_t *w)
{
	struct recheck *x = hm_container_of(w, struct recheck, work);

	if (x->job->spec.res.there) {
		struct hm_arena_mark mark = hm_arena_mark(&x->arena);
		struct hm_ledger_job lj;
		int r = hm_ledger_job_of(x->ledger, &x->id, &x->arena, &lj, &x->err);

		x->covered = r == 0;
		x->failed = r != 0 && r != HM_ENOENT;
		hm_arena_rewind(&x->arena, mark);
	}
	for (uint32_t i = 0; i < x->n && !x->failed; i++) {
		struct hm_arena_mark mark = hm_arena_mark(&x->arena);
		struct hm_ulid id = x->id;
		struct hm_ledger_msg m, *keep;
		int r;

		hm_ulid_add(&id, i);
		r = hm_ledger_get_msg(x->ledger, &id, &x->arena, &m, &x->err);
		if (r == 0 && hm_state_final((enum hm_state)m.state))
			x->bits[i >> 3] = (uint8_t)(x->bits[i >> 3] | (1u << (i & 7)));
		else if (r != 0 && r != HM_ENOENT)
			x->failed = true;
		if (r == 0 && (m.state == HM_ST_FAILED || !hm_state_final((enum hm_state)m.state) ||
			       (m.n_attempts > 0 && m.attempts[m.n_attempts - 1].provider_id.len > 0))) {
			keep = hm_arena_alloc(&x->arena, sizeof(*keep));
			x->failed |= keep == NULL;
			if (keep != NULL)
				*keep = m;
			x->prior[i] = keep;
			continue;
		}
		hm_arena_rewind(&x->arena, mark);
	}
}

static void recheck_drop(struct recheck *x)
{
	free(x->bits);
	free(x->prior);
	hm_arena_fini(&x->arena);
}

static void recheck_done(uv_work_t *w, int status)
{
	struct recheck *x = hm_container_of(w, struct recheck, work);
	struct job *j = x->job;
	struct hm_dispatch *d = j->d;

	HM_CHECK(x, RECHECK_MAGIC);
	d->rechecks--;
	(void)hm_fault(HM_FAULT_recheck_after);
	if (x->failed || status != 0) {
		/* Without the look-up a second send is possible: leave the entry pending rather than risk it. */
		HM_ERROR(INGEST, "a redelivered entry cannot be compared with the ledger; it stays pending",
			 HM_E(&x->err));
		recheck_drop(x);
		hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
		hm_job_free(j);
	} else {
		j->covered = x->covered;
		j->done = x->bits;
		j->prior = x->prior;
		j->prior_arena = x->arena;
		if (d->draining) {
			if (!j->redelivered) /* nothing has been done with it */
				hm_handback_entry(d, j->partition, (enum hm_lane)j->lane,
						  hm_str_n(j->entry, j->entry_len));
			hm_job_free(j);
		} else {
			hm_aside_look(j);
		}
	}
	HM_MAGIC_CLEAR(x);
	free(x);
	hm_dispatch_check_drained(d);
}

void hm_recover_check(struct job *j)
{
	struct hm_dispatch *d = j->d;
	struct recheck *x = calloc(1, sizeof(*x));

	if (x != NULL) {
		HM_MAGIC_SET(x, RECHECK_MAGIC);
		x->job = j;
		x->ledger = d->deps.ledger;
		x->id = j->id;
		hm_ulid_add(&x->id, j->spec.n0);
		x->n = j->spec.n_rcpts;
		x->bits = calloc(1, (x->n + 7) / 8);
		x->prior = calloc(x->n, sizeof(struct hm_ledger_msg *));
		hm_arena_init(&x->arena, NULL, 0);
	}
	if (x == NULL || x->bits == NULL || x->prior == NULL ||
	    uv_queue_work(d->t->loop, &x->work, recheck_work, recheck_done) != 0) {
		if (x != NULL)
			recheck_drop(x);
		free(x);
		hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
		hm_job_free(j);
		return;
	}
	d->rechecks++;
}
