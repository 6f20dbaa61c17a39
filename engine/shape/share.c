/*
 * share.c - what all processes share: the script behind a lease, and the provider's "wait" told to everybody
 *
 * One hash per channel, `{<prefix>:ch:<channel>}:rate`:
 *
 *   b<window>  "credit at"                a bucket in the units of bucket.h
 *   w<window>  "slot n slot n ..."        what was granted in sixtieths of a window
 *   n<node>    "seen tokens permits want" a shard that works on this channel: it wants tokens (or 0), holds permits, wants permits
 *   u          when a message of lane critical was last asked for
 *
 * Time is the server's, so that clocks of machines do not matter (plus the test clock's offset, which is 0 but in tests). A window
 * of N is never overdrawn: a slot counts until the last moment of it, and the second a token may be kept, have left the window.
 * What comes back unused is taken off the slot it was granted in.
 *
 * Shares: of a bucket a shard gets at most its part of a lease's worth, and who got something is told to come again when as much
 * has grown for everybody else (nearly: a bucket that is full earns nothing); of a window half of its part of what is left; of
 * permits what is fair among what all want (smallest wishes first).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "shape/shape_int.h"

#define FLOW_MAX      "1000"
#define QUOTA_NEWS_MS 1000
#define STOP_TOLD_MIN 100 /* ms: shorter waits are not worth telling others */

const char share_lua[] =
	"local function nums(s) local r = {} for x in string.gmatch(s or '', '[^ ]+') do r[#r+1] = "
	"tonumber(x) end return r end "
	"local t = redis.call('TIME') "
	"local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) + tonumber(ARGV[1]) "
	"local LONG = 10000 "
	/* Looks at one quota: what is free above `keep` percent, without taking it. */
	"local function look(h, max, win, burst, keep, back, stamp) "
	"  local q = {max = max, win = win, burst = burst, free = max} "
	"  if burst > 0 then "
	"    local c, full = nums(h['b' .. win]), burst * win + max - 1 "
	"    local credit, last = c[1] or burst * win, c[2] or now "
	"    if now > last then credit = credit + (now - last) * max else last = now end "
	"    q.credit = math.min(full, credit + back * win) "
	"    q.floor = math.floor(burst * keep / 100) "
	"    q.free = math.min(math.floor(q.credit / win), burst) - q.floor "
	"  end "
	"  if win >= LONG then "
	"    local len = math.floor(win / 60) "
	"    local cur, extra = math.floor(now / len), math.ceil(1000 / len) "
	"    local own, v, sum = math.floor(stamp / len), nums(h['w' .. win]), 0 "
	"    q.slots, q.cur, q.len, q.live = {}, cur, len, 61 + extra "
	"    for i = 1, #v, 2 do "
	"      local s, n = math.min(v[i], cur), v[i+1] "
	"      if back > 0 and s == own then n = n - back end "
	"      if n > 0 and s > cur - q.live then q.slots[#q.slots+1] = s q.slots[#q.slots+1] = n sum = sum "
	"+ n end "
	"    end "
	"    q.left = max - sum - math.floor(max * keep / 100) "
	"    q.free = math.min(q.free, q.left) "
	"  end "
	"  return q "
	"end "
	/* Takes n of it, and tells in how many ms one more is free. */
	"local function take(key, q, n) "
	"  local wait = 0 "
	"  if q.credit then "
	"    q.credit = q.credit - n * q.win "
	"    redis.call('HSET', key, 'b' .. q.win, string.format('%.0f %.0f', q.credit, now)) "
	"    wait = math.max(0, math.ceil(((q.floor + 1) * q.win - q.credit) / q.max)) "
	"  end "
	"  if q.slots then "
	"    local s = q.slots "
	"    if n > 0 then if s[#s-1] == q.cur then s[#s] = s[#s] + n else s[#s+1] = q.cur s[#s+1] = n end "
	"end "
	"    if #s == 0 then redis.call('HDEL', key, 'w' .. q.win) "
	"    else for i = 1, #s do s[i] = string.format('%.0f', s[i]) end redis.call('HSET', key, 'w' .. "
	"q.win, table.concat(s, ' ')) end "
	"    if q.left - n <= 0 then "
	"      local need, i = 1 - (q.left - n), 1 "
	"      while i < #s and need > tonumber(s[i+1]) do need = need - tonumber(s[i+1]) i = i + 2 end "
	"      wait = math.max(wait, (tonumber(s[i] or q.cur) + q.live) * q.len - now) "
	"    end "
	"  end "
	"  return wait "
	"end ";

static const char lease_lua[] =
	"local key, node = KEYS[1], 'n' .. ARGV[2] "
	"local want, back, stamp, share, lease = tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[6]), "
	"tonumber(ARGV[7]), tonumber(ARGV[8]) "
	"local urgent = ARGV[4] == '1' "
	"local cmax, cwant, cused, cttl = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), "
	"tonumber(ARGV[12]) "
	"local h, all = {}, redis.call('HGETALL', key) "
	"for i = 1, #all, 2 do h[all[i]] = all[i+1] end "
	"if urgent then h.u = now redis.call('HSET', key, 'u', string.format('%.0f', now)) end "
	"local critical = h.u and now - tonumber(h.u) < 600000 "
	"local keep = (critical and not urgent) and share or 0 "
	"local active, held, wants = 0, 0, {} "
	"for k, v in pairs(h) do "
	"  if string.sub(k, 1, 1) == 'n' and k ~= node then "
	"    local x = nums(v) "
	"    if now - x[1] > cttl then redis.call('HDEL', key, k) else "
	"      if x[2] > 0 and now - x[1] < 1500 then active = active + 1 end "
	"      held = held + x[3] "
	"      if x[4] > 0 then wants[#wants+1] = x[4] end "
	"    end "
	"  end "
	"end "
	"if want > 0 then active = active + 1 end "
	"if active == 0 then active = 1 end "
	"local n, qs, longest = want, {}, 10000 "
	"for i = 13, #ARGV, 3 do "
	"  local q = look(h, tonumber(ARGV[i]), tonumber(ARGV[i+1]), tonumber(ARGV[i+2]), keep, back, stamp) "
	"  qs[#qs+1] = q "
	"  longest = math.max(longest, q.win) "
	"  n = math.min(n, q.free) "
	"  if q.credit then q.part = math.max(1, math.ceil(q.max * lease / q.win / active)) n = math.min(n, "
	"q.part) end "
	"  if q.slots and q.left > 0 then n = math.min(n, math.max(1, math.ceil(q.left / 2 / active))) end "
	"end "
	"n = math.max(n, 0) "
	"local wait, which = 0, -1 "
	"for i = 1, #qs do "
	"  local q = qs[i] "
	"  local w = take(key, q, n) "
	"  if n == 0 and want > 0 then "
	"    if q.part then w = math.max(w, math.floor(math.min(lease, q.part * q.win * active / q.max) / "
	"2)) end "
	"    if w > wait then wait, which = w, i - 1 end "
	"  elseif n > 0 and n < want and q.part then "
	"    wait = math.max(wait, math.floor(n * q.win * active * 3 / q.max / 4)) end "
	"end "
	"local permits = 0 "
	"if cmax > 0 then "
	"  wants[#wants+1] = cwant "
	"  table.sort(wants) "
	"  local rest, fair = cmax, 0 "
	"  for i = 1, #wants do "
	"    local part = math.min(wants[i], math.floor(rest / (#wants - i + 1))) "
	"    if wants[i] == cwant then fair = part break end "
	"    rest = rest - part "
	"  end "
	"  permits = math.max(0, math.min(cwant, math.max(fair, 1), cmax - held)) "
	"end "
	"if want == 0 and cwant == 0 and cused == 0 then redis.call('HDEL', key, node) "
	"else redis.call('HSET', key, node, string.format('%.0f %.0f %.0f %.0f', now, want, "
	"math.max(permits, cused), cwant)) end "
	"redis.call('PEXPIRE', key, string.format('%.0f', longest * 2 + 600000)) "
	"return {n, wait, now, permits, which, critical and 1 or 0}";

/* Built once: the functions both scripts share, and this one. */
static struct hm_redis_script *lease_script(void)
{
	static char text[sizeof(share_lua) + sizeof(lease_lua)];
	static struct hm_redis_script script = {.name = "lease", .source = text};
	static bool made;

	if (!__atomic_load_n(&made, __ATOMIC_ACQUIRE)) {
		/* Shards may do so at the same time: they write the same bytes. */
		memcpy(text, share_lua, sizeof(share_lua) - 1);
		memcpy(text + sizeof(share_lua) - 1, lease_lua, sizeof(lease_lua));
		__atomic_store_n(&made, true, __ATOMIC_RELEASE);
	}
	return &script;
}

struct hm_shape_ask {
	uint32_t magic;
	struct hm_shaper *s;
	struct hm_shape *shape; /* NULL: it has been closed */
};

struct hm_str share_key(const struct hm_shape *sh, const char *what, struct hm_arena *a)
{
	return hm_arena_printf(a, "{%s:ch:%s}:%s", sh->s->prefix, sh->name, what);
}

static struct hm_str number(struct hm_arena *a, uint64_t v)
{
	return hm_arena_printf(a, "%" PRIu64, v);
}

static uint32_t burst_of(const struct hm_quota *q)
{
	if (q->burst > 0)
		return hm_min(q->burst, q->max);
	return q->window_ms < HM_SHAPE_LONG_MS ? hm_max(q->max / 10u, 1u) : 0;
}

size_t share_quota_args(const struct hm_quotas *q, struct hm_arena *a, struct hm_str *args)
{
	for (uint32_t i = 0; i < q->n; i++) {
		args[3 * i] = number(a, q->v[i].max);
		args[3 * i + 1] = number(a, q->v[i].window_ms);
		args[3 * i + 2] = number(a, burst_of(&q->v[i]));
	}
	return 3 * (size_t)q->n;
}

static uint64_t reply_u64(const struct hm_reply *r, size_t i)
{
	const struct hm_reply *x = hm_reply_at(r, i);

	return x != NULL && x->type == HM_REPLY_INT && x->i > 0 ? (uint64_t)x->i : 0;
}

static void on_lease(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_shape_ask *ask = arg;
	struct hm_shape *sh = ask->shape;
	struct hm_shaper *s = ask->s;
	const struct hm_reply *which;
	struct hm_lease_grant g;
	uint64_t now;

	HM_CHECK(ask, HM_SHAPE_ASK_MAGIC);
	HM_MAGIC_CLEAR(ask);
	free(ask);
	if (sh == NULL) {
		shape_command_done(s);
		return;
	}
	HM_CHECK(sh, HM_SHAPE_MAGIC);
	sh->ask = NULL;
	now = shape_now(sh);
	if (reply == NULL) {
		if (err->code == HM_EREDIS)
			HM_ERROR(DISPATCH, "the rate of a channel cannot be shared",
				 HM_S("channel", sh->name), HM_E(err));
		hm_lease_failed(&sh->lease, now);
	} else {
		g = (struct hm_lease_grant){
			.tokens = reply_u64(reply, 0),
			.wait_ms = hm_min(reply_u64(reply, 1), (uint64_t)HM_SHAPE_WAIT_MAX_MS),
			.stamp = reply_u64(reply, 2),
			.permits = (uint32_t)reply_u64(reply, 3),
			.critical = reply_u64(reply, 5) > 0,
		};
		which = hm_reply_at(reply, 4);
		sh->quota_which = g.tokens > 0 || which == NULL ? -1 : (int)which->i;
		/* What is over in a moment is no news for anybody. */
		if (reply_u64(reply, 1) < QUOTA_NEWS_MS)
			sh->quota_which = -1;
		sh->quota_until_ms = sh->quota_which >= 0 ? now + reply_u64(reply, 1) : 0;
		hm_lease_granted(&sh->lease, &g, now);
		sh->stats->leases++;
	}
	shape_refresh(sh);
	if (sh->wanted && hm_lease_room(&sh->lease, true, now) > 0)
		shape_changed(sh);
	shape_schedule(sh);
	shape_command_done(s);
}

void share_ask(struct hm_shape *sh)
{
	struct hm_shaper *s = sh->s;
	struct hm_arena *a = &s->deps.tick->scratch;
	struct hm_arena_mark mark = hm_arena_mark(a);
	struct hm_str key, args[12 + 3 * HM_QUOTAS_MAX];
	struct hm_shape_ask *ask = calloc(1, sizeof(*ask)); /* some ten a second, not one a message */
	struct hm_lease_ask q;
	size_t n = 12;

	hm_lease_ask(&sh->lease, &q, shape_now(sh));
	if (ask == NULL) {
		hm_lease_failed(&sh->lease, shape_now(sh));
		return;
	}
	HM_MAGIC_SET(ask, HM_SHAPE_ASK_MAGIC);
	ask->s = s;
	ask->shape = sh;
	sh->ask = ask;
	s->open++;
	key = share_key(sh, "rate", a);
	args[0] = number(a, hm_clock_offset_ms());
	args[1] = hm_str_c(s->node);
	args[2] = number(a, q.want);
	args[3] = q.urgent ? HM_STR("1") : HM_STR("0");
	args[4] = number(a, q.back);
	args[5] = number(a, q.stamp);
	args[6] = number(a, sh->critical_share);
	args[7] = number(a, sh->lease_ms);
	args[8] = number(a, sh->lease.concurrency);
	args[9] = number(a, q.permits_want);
	args[10] = number(a, q.permits_used);
	args[11] = number(a, HM_LEASE_PERMIT_MS);
	n += share_quota_args(&sh->rate, a, args + n);
	hm_redis_eval(s->deps.redis, lease_script(), &key, 1, args, n, on_lease, ask);
	hm_arena_rewind(a, mark);
}

void share_abandon(struct hm_shape *sh)
{
	if (sh->ask == NULL)
		return;
	sh->ask->shape = NULL;
	sh->ask = NULL;
}

static void on_told(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_shaper *s = arg;

	HM_CHECK(s, HM_SHAPER_MAGIC);
	if (reply == NULL)
		HM_DEBUG(DISPATCH, "what a channel does could not be told to other processes", HM_E(err));
	shape_command_done(s);
}

void share_tell_stop(struct hm_shape *sh, bool account, uint64_t ms)
{
	struct hm_shaper *s = sh->s;
	struct hm_arena *a = &s->deps.tick->scratch;
	struct hm_arena_mark mark = hm_arena_mark(a);
	uint64_t until = shape_now(sh) + ms;
	struct hm_str key;

	/* The answers of one burst say the same; so little more is no news. */
	if (ms < STOP_TOLD_MIN || until < sh->told_until_ms + hm_max(ms / 5, (uint64_t)STOP_TOLD_MIN))
		return;
	sh->told_until_ms = until;
	key = hm_arena_printf(a, "{%s:ctl}:flow", s->prefix);
	{
		const struct hm_str argv[] = {
			HM_STR("XADD"),	   key,
			HM_STR("MAXLEN"),  HM_STR("~"),
			HM_STR(FLOW_MAX),  HM_STR("*"),
			HM_STR("channel"), shape_name(sh),
			HM_STR("account"), number(a, account ? sh->account : 0),
			HM_STR("for"),	   number(a, ms),
			HM_STR("by"),	   hm_str_c(s->node),
		};

		s->open++;
		hm_redis_send(s->deps.redis, key, argv, hm_countof(argv), on_told, s);
	}
	hm_arena_rewind(a, mark);
}

#define STATE_KEPT_MS "86400000" /* a shard that died in trouble is not remembered for ever */

static struct hm_redis_script state_script = {
	.name = "channel state",
	.source = "if ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) "
		  "else redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) redis.call('PEXPIRE', "
		  "KEYS[1], " STATE_KEPT_MS ") end return 1",
};

void share_tell_state(struct hm_shape *sh, enum shape_state state)
{
	struct hm_shaper *s = sh->s;
	struct hm_arena *a = &s->deps.tick->scratch;
	struct hm_arena_mark mark = hm_arena_mark(a);
	struct hm_str key = share_key(sh, "state", a), args[2];
	bool fine = state == SHAPE_OPEN || state == SHAPE_LIMITED || state == SHAPE_PAUSED;

	if (fine && !sh->state_told)
		return;
	sh->state_told = !fine;
	args[0] = hm_str_c(s->node);
	args[1] = fine ? HM_STR("")
		       : hm_arena_printf(a, "%s %" PRIu64 " %s", shape_state_words[state],
					 (uint64_t)s->deps.tick->wall_ms, hm_shape_why(sh));
	s->open++;
	hm_redis_eval(s->deps.redis, &state_script, &key, 1, args, 2, on_told, s);
	hm_arena_rewind(a, mark);
}
