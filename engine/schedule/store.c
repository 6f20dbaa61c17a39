/*
 * store.c - schedules in Redis
 */
#include <stdio.h>

#include "ingest/cancel_mark.h"
#include "schedule/schedule.h"
#include "schedule/store_int.h"

struct keys {
	char set[HM_CTL_KEY_MAX];
	struct hm_str key;
};

static struct hm_str *set_key(struct hm_str prefix, struct keys *k)
{
	k->key = hm_str_n(k->set, hm_ctl_key(prefix, "schedules", k->set, sizeof(k->set)));
	return &k->key;
}

static struct hm_str number(uint64_t v, char text[24])
{
	if (v == HM_SCHEDULE_NEVER)
		return HM_STR("inf");
	return hm_str_n(text, (size_t)snprintf(text, 24, "%llu", (unsigned long long)v));
}

/* KEYS[1]: the set; the hash of a schedule has its name behind it, with one letter less. */
#define HASH "local base = string.sub(KEYS[1], 1, -2) .. ':'\n"

static struct hm_redis_script create_script = {
	.name = "schedule_create",
	/* ARGV: name, next, doc, id, at, by, most */
	.source = HASH
	"local h = base .. ARGV[1]\n"
	"if redis.call('EXISTS', h) == 1 then return 0 end\n"
	"if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[7]) then return -1 end\n"
	"redis.call('HSET', h, 'doc', ARGV[3], 'id', ARGV[4], 'at', ARGV[5], 'by', ARGV[6], 'paused', '', "
	"'runs', 0, 'last', 0)\n"
	"redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])\n"
	"return 1\n",
};
static struct hm_redis_script list_script = {
	.name = "schedule_list",
	/* ARGV: name or empty */
	.source = HASH
	"local out = {}\n"
	"local names = {ARGV[1]}\n"
	"if ARGV[1] == '' then names = redis.call('ZRANGE', KEYS[1], 0, -1) end\n"
	"for _, n in ipairs(names) do\n"
	"  local next = redis.call('ZSCORE', KEYS[1], n)\n"
	"  local v = redis.call('HMGET', base .. n, 'doc', 'id', 'at', 'by', 'paused', 'runs', 'last')\n"
	"  if next and v[1] then out[#out + 1] = {n, next, v[1], v[2], v[3], v[4], v[5], v[6], v[7]} end\n"
	"end\n"
	"return out\n",
};
static struct hm_redis_script due_script = {
	.name = "schedule_due",
	/* ARGV: now, limit. As list_script. */
	.source = HASH
	"local out = {}\n"
	"for _, n in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do\n"
	"  local v = redis.call('HMGET', base .. n, 'doc', 'id', 'at', 'by', 'paused', 'runs', 'last')\n"
	"  if v[1] then out[#out + 1] = {n, redis.call('ZSCORE', KEYS[1], n), v[1], v[2], v[3], v[4], v[5], "
	"v[6], v[7]}\n"
	"  else redis.call('ZREM', KEYS[1], n) end\n"
	"end\n"
	"return out\n",
};
static struct hm_redis_script moved_script = {
	.name = "schedule_moved",
	/* ARGV: name, id, due as it was, next, fired at or empty. Whoever comes second changes nothing. */
	.source = HASH
	"local h = base .. ARGV[1]\n"
	"local was = redis.call('ZSCORE', KEYS[1], ARGV[1])\n"
	"if not was or tonumber(was) ~= tonumber(ARGV[3]) or redis.call('HGET', h, 'id') ~= ARGV[2] then\n"
	"  return 0\n"
	"end\n"
	"redis.call('ZADD', KEYS[1], ARGV[4], ARGV[1])\n"
	"if ARGV[5] ~= '' then\n"
	"  redis.call('HINCRBY', h, 'runs', 1)\n"
	"  redis.call('HSET', h, 'last', ARGV[5])\n"
	"end\n"
	"return 1\n",
};
static struct hm_redis_script delete_script = {
	.name = "schedule_delete",
	.source = HASH "redis.call('ZREM', KEYS[1], ARGV[1])\n"
		       "return redis.call('DEL', base .. ARGV[1])\n",
};
static struct hm_redis_script pause_script = {
	.name = "schedule_pause",
	/* ARGV: name, next or inf, "1" or empty */
	.source = HASH "local h = base .. ARGV[1]\n"
		       "local was = redis.call('HGET', h, 'paused')\n"
		       "if not was then return -1 end\n"
		       "if was == ARGV[3] then return 0 end\n"
		       "redis.call('HSET', h, 'paused', ARGV[3])\n"
		       "redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])\n"
		       "return 1\n",
};

void hm_schedule_create(struct hm_redis *r, struct hm_str prefix, struct hm_str name, uint64_t next_ms,
			struct hm_str doc, uint64_t at_ms, struct hm_str by, hm_reply_fn fn, void *arg)
{
	char next[24], at[24], most[24], id[HM_ULID_TEXT + 1];
	struct hm_str args[7] = {name, number(next_ms, next), doc};
	struct hm_ulid u;
	struct keys k;

	hm_ulid_new(&u, at_ms);
	hm_ulid_text(&u, id);
	args[3] = hm_str_c(id);
	args[4] = number(at_ms, at);
	args[5] = by.p ? by : HM_STR("");
	args[6] = number(HM_SCHEDULES_MAX, most);
	hm_redis_eval(r, &create_script, set_key(prefix, &k), 1, args, 7, fn, arg);
}

void hm_schedule_list(struct hm_redis *r, struct hm_str prefix, struct hm_str name, hm_reply_fn fn, void *arg)
{
	struct keys k;

	if (name.p == NULL)
		name = HM_STR("");
	hm_redis_eval(r, &list_script, set_key(prefix, &k), 1, &name, 1, fn, arg);
}

void hm_schedule_ask_due(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms, uint32_t limit,
			 hm_reply_fn fn, void *arg)
{
	char now[24], most[24];
	struct hm_str args[2] = {number(now_ms, now), number(limit, most)};
	struct keys k;

	hm_redis_eval(r, &due_script, set_key(prefix, &k), 1, args, 2, fn, arg);
}

void hm_schedule_moved(struct hm_redis *r, struct hm_str prefix, struct hm_str name, struct hm_str id,
		       uint64_t due_ms, uint64_t next_ms, uint64_t fired_ms, hm_reply_fn fn, void *arg)
{
	char due[24], next[24], fired[24];
	struct hm_str args[5] = {name, id, number(due_ms, due), number(next_ms, next),
				 fired_ms ? number(fired_ms, fired) : HM_STR("")};
	struct keys k;

	hm_redis_eval(r, &moved_script, set_key(prefix, &k), 1, args, 5, fn, arg);
}

void hm_schedule_delete(struct hm_redis *r, struct hm_str prefix, struct hm_str name, hm_reply_fn fn,
			void *arg)
{
	struct keys k;

	hm_redis_eval(r, &delete_script, set_key(prefix, &k), 1, &name, 1, fn, arg);
}

void hm_schedule_pause(struct hm_redis *r, struct hm_str prefix, struct hm_str name, uint64_t next_ms,
		       hm_reply_fn fn, void *arg)
{
	char next[24];
	struct hm_str args[3] = {name, number(next_ms, next),
				 next_ms == HM_SCHEDULE_NEVER ? HM_STR("1") : HM_STR("")};
	struct keys k;

	hm_redis_eval(r, &pause_script, set_key(prefix, &k), 1, args, 3, fn, arg);
}

void hm_schedule_json(const struct hm_reply *row, struct hm_buf *b)
{
	uint64_t next;
	struct hm_str doc = row->v[2].s;

	hm_assert(row->n == HM_SCHEDULE_ROW);
	/* The document is a JSON object: what is known of it goes in front. */
	hm_buf_printf(b, "{\"id\":\"%.*s\",\"created\":%.*s,\"by\":\"", HM_STRF(row->v[3].s),
		      HM_STRF(row->v[4].s));
	hm_buf_json(b, row->v[5].s);
	hm_buf_printf(b, "\",\"paused\":%s,\"runs\":%.*s,\"last\":", row->v[6].s.len ? "true" : "false",
		      HM_STRF(row->v[7].s));
	if (hm_str_is(row->v[8].s, "0"))
		hm_buf_lit(b, "null");
	else
		hm_buf_puts(b, row->v[8].s);
	hm_buf_lit(b, ",\"next\":");
	if (hm_str_u64(row->v[1].s, &next))
		hm_buf_puts(b, row->v[1].s);
	else
		hm_buf_lit(b, "null");
	if (doc.len > 2) {
		hm_buf_putc(b, ',');
		hm_buf_put(b, doc.p + 1, doc.len - 1);
	} else {
		hm_buf_putc(b, '}');
	}
}
