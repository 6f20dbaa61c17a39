/*
 * script.c - what happens to a user's items inside Redis
 *
 * KEYS of every script: z i e d m p s live (store.h). ARGV begins with now (ms), the user, keep (ms).
 */
#include "inbox/store_int.h"

#define PRELUDE                                                                                                     \
	"local Z, I, E, D, M, P, S, L = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], "            \
	"KEYS[8]\n"                                                                                                 \
	"local call, B = redis.call, 1099511627776\n"                                                               \
	"local now, user, keep = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])\n"                                   \
	"local fell = false\n"                                                                                      \
	"local function drop(id)\n"                                                                                 \
	"  local r = call('HGET', I, id)\n"                                                                         \
	"  if r then\n"                                                                                             \
	"    local nc, nk = struct.unpack('<BH', r, 19)\n"                                                          \
	"    if nk > 0 then\n"                                                                                      \
	"      local k = 'k:' .. string.sub(r, 22 + nc, 21 + nc + nk)\n"                                            \
	"      if call('HGET', M, k) == id then call('HDEL', M, k) end\n"                                           \
	"    end\n"                                                                                                 \
	"  end\n"                                                                                                   \
	"  call('ZREM', Z, id)\n"                                                                                   \
	"  call('HDEL', I, id)\n"                                                                                   \
	"  call('ZREM', E, id)\n"                                                                                   \
	"  call('ZADD', D, now, id)\n"                                                                              \
	"  fell = true\n"                                                                                           \
	"end\n" /* Z, I and E come and go together. Each key has an end; it is moved when an hour of it is over. */ \
	"local function stay()\n"                                                                                   \
	"  if fell then call('ZREMRANGEBYRANK', D, 0, -501) end\n"                                                  \
	"  if call('PTTL', Z) < keep - math.min(3600000, keep / 2) then\n"                                          \
	"    for k = 1, 6 do call('PEXPIRE', KEYS[k], keep) end\n"                                                  \
	"  elseif fell then\n"                                                                                      \
	"    call('PEXPIRE', D, keep)\n"                                                                            \
	"  end\n"                                                                                                   \
	"end\n"                                                                                                     \
	"local function purge()\n"                                                                                  \
	"  local ids = call('ZRANGEBYSCORE', E, '-inf', now)\n"                                                     \
	"  for k = 1, #ids do drop(ids[k]) end\n"                                                                   \
	"  if fell then stay() end\n"                                                                               \
	"end\n"                                                                                                     \
	"local function counts()\n"                                                                                 \
	"  local m = call('HMGET', M, 'n', 'v')\n"                                                                  \
	"  return {call('ZCOUNT', Z, '-inf', '(' .. B), call('ZCOUNT', Z, B, '(' .. 2 * B), call('ZCOUNT', "        \
	"Z, 2 * B, '+inf'),\n"                                                                                      \
	"    tonumber(m[1] or 0), tonumber(m[2] or 0)}\n"                                                           \
	"end\n"                                                                                                     \
	"local function tell(before, kind, ids, record)\n"                                                          \
	"  if call('EXISTS', S) == 0 then return end\n"                                                             \
	"  local c = counts()\n"                                                                                    \
	"  call('XADD', L, 'MAXLEN', '~', 1000, '*', 'u', user, 'c', table.concat(c, ' '), 'b', before, "           \
	"'k', kind, 'i', ids, 'r', "                                                                                \
	"record)\n"                                                                                                 \
	"  call('PEXPIRE', L, 3600000)\n"                                                                           \
	"end\n" /* {id, score} of a state's items, newest first, before an arrival */                               \
	"local function newest(state, before, limit)\n"                                                             \
	"  local hi = before > 0 and '(' .. state * B + before or '(' .. (state + 1) * B\n"                         \
	"  if limit > 0 then return call('ZREVRANGEBYSCORE', Z, hi, state * B, 'WITHSCORES', 'LIMIT', 0, "          \
	"limit) end\n"                                                                                              \
	"  return call('ZREVRANGEBYSCORE', Z, hi, state * B, 'WITHSCORES')\n"                                       \
	"end\n"                                                                                                     \
	"local function category(r)\n"                                                                              \
	"  local nc = struct.unpack('<B', r, 19)\n"                                                                 \
	"  return string.sub(r, 22, 21 + nc)\n"                                                                     \
	"end\n"

/* id, category, collapse key, expiry, most items, JSON. Answers 0 (was there already, or is gone), 1, 2 (too late). */
struct hm_redis_script inbox_add_script = {
	.name = "inbox-add",
	.source = PRELUDE
	"local id, cat, coll, till, most, json = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), "
	"tonumber(ARGV[8]), ARGV[9]\n"
	"purge()\n"
	"if call('HEXISTS', I, id) == 1 or call('ZSCORE', D, id) then return 0 end\n"
	"if till == 0 or till > now + keep then till = now + keep end\n"
	"if till <= now then return 2 end\n"
	"local n, gone = call('HINCRBY', M, 'n', 1), {}\n"
	"local record = struct.pack('<I6I6I6BH', now, till, 0, #cat, #coll) .. cat .. coll .. json\n"
	"if coll ~= '' then\n"
	"  local old = call('HGET', M, 'k:' .. coll)\n"
	"  local score = old and call('ZSCORE', Z, old)\n"
	"  if score and tonumber(score) < B then\n"
	"    drop(old)\n"
	"    gone[1] = old\n"
	"  end\n"
	"  call('HSET', M, 'k:' .. coll, id)\n"
	"end\n"
	"call('HSET', I, id, record)\n"
	"call('ZADD', Z, n, id)\n"
	"call('ZADD', E, till, id)\n"
	"for k = 1, call('ZCARD', Z) - most do\n"
	"  local old = call('ZRANGEBYSCORE', Z, 2 * B, '+inf', 'LIMIT', 0, 1)[1] or\n"
	"    call('ZRANGEBYSCORE', Z, B, '(' .. 2 * B, 'LIMIT', 0, 1)[1] or call('ZRANGE', Z, 0, 0)[1]\n"
	"  drop(old)\n"
	"  gone[#gone + 1] = old\n"
	"end\n"
	"local v = call('HINCRBY', M, 'v', #gone > 0 and 2 or 1)\n"
	"stay()\n"
	"tell(#gone > 0 and v - 2 or v - 1, #gone > 200 and 'reload' or 'item', #gone > 200 and '' or "
	"table.concat(gone, ' '), id .. "
	"record)\n"
	"return 1\n",
};

/* states (a digit each), before, limit, 1 when only one category is wanted, that category.
 * Answers {counts, next, unreported, {id, score, record ...}}. */
struct hm_redis_script inbox_list_script = {
	.name = "inbox-list",
	.source = PRELUDE
	"local states, before, limit, only, cat = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == "
	"'1', ARGV[8]\n"
	"purge()\n"
	"local all, out, following, n = {}, {}, 0, 0\n"
	"for state in string.gmatch(limit > 0 and states or '', '%d') do\n"
	"  local v = newest(tonumber(state), before, only and 0 or limit + 1)\n"
	"  for k = 1, #v, 2 do all[#all + 1] = {v[k], v[k + 1], tonumber(v[k + 1]) % B} end\n"
	"end\n"
	"table.sort(all, function(a, b) return a[3] > b[3] end)\n"
	"local last = 0\n"
	"for k = 1, #all do\n"
	"  local r = call('HGET', I, all[k][1])\n"
	"  if r and (not only or category(r) == cat) then\n"
	"    if n == limit then\n"
	"      following = last\n"
	"      break\n"
	"    end\n"
	"    n, last = n + 1, all[k][3]\n"
	"    out[3 * n - 2], out[3 * n - 1], out[3 * n] = all[k][1], all[k][2], r\n"
	"  end\n"
	"end\n"
	"return {counts(), following, call('SMEMBERS', P), out}\n",
};

/* id. The same answer. */
struct hm_redis_script inbox_get_script = {
	.name = "inbox-get",
	.source = PRELUDE
	"purge()\n"
	"local score, r = call('ZSCORE', Z, ARGV[4]), call('HGET', I, ARGV[4])\n"
	"return {counts(), 0, call('SMEMBERS', P), score and r and {ARGV[4], score, r} or {}}\n",
};

/* after, limit, listener, lease, most listeners. The same answer, oldest first, or 0: too many. */
struct hm_redis_script inbox_since_script = {
	.name = "inbox-since",
	.source = PRELUDE
	"local after, limit, who, lease, most = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], "
	"tonumber(ARGV[7]), tonumber(ARGV[8])\n"
	"purge()\n"
	"if who ~= '' then\n"
	"  call('ZREMRANGEBYSCORE', S, '-inf', now)\n"
	"  if not call('ZSCORE', S, who) and call('ZCARD', S) >= most then return 0 end\n"
	"  call('ZADD', S, now + lease, who)\n"
	"  call('PEXPIRE', S, 2 * lease)\n"
	"end\n"
	"local all, out, more = {}, {}, 0\n"
	"for state = 0, limit > 0 and 2 or -1 do\n"
	"  local v = call('ZRANGEBYSCORE', Z, '(' .. state * B + after, '(' .. (state + 1) * B, "
	"'WITHSCORES', 'LIMIT', 0, limit + 1)\n"
	"  for k = 1, #v, 2 do all[#all + 1] = {v[k], v[k + 1], tonumber(v[k + 1]) % B} end\n"
	"end\n"
	"table.sort(all, function(a, b) return a[3] < b[3] end)\n"
	"for k = 1, #all do\n"
	"  if k > limit then\n"
	"    more = all[k - 1][3]\n"
	"    break\n"
	"  end\n"
	"  local r = call('HGET', I, all[k][1])\n"
	"  if r then out[#out + 1], out[#out + 2], out[#out + 3] = all[k][1], all[k][2], r end\n"
	"end\n"
	"return {counts(), more, call('SMEMBERS', P), out}\n",
};

/* action, states, 1 when only one category, that category, until, ids ... (none: all that fit).
 * Answers {counts, changed, missing, unreported}, or 0: `until` is not there. */
struct hm_redis_script inbox_mark_script = {
	.name = "inbox-mark",
	.source = PRELUDE
	"local action, states, only, cat, til = ARGV[4], ARGV[5], ARGV[6] == '1', ARGV[7], ARGV[8]\n"
	"local ids, missing, changed, before = {}, 0, {}, 0\n"
	"purge()\n"
	"if #ARGV > 8 then\n"
	"  for k = 9, #ARGV do ids[k - 8] = ARGV[k] end\n"
	"else\n"
	"  if til ~= '' then\n"
	"    local score = call('ZSCORE', Z, til)\n"
	"    if not score then return 0 end\n"
	"    before = tonumber(score) % B + 1\n"
	"  end\n"
	"  for state in string.gmatch(states, '%d') do\n"
	"    local v = newest(tonumber(state), before, 0)\n"
	"    for k = 1, #v, 2 do\n"
	"      local r = only and call('HGET', I, v[k])\n"
	"      if not only or (r and category(r) == cat) then ids[#ids + 1] = v[k] end\n"
	"    end\n"
	"  end\n"
	"end\n"
	"local function first_reading(id, r)\n"
	"  if struct.unpack('<I6', r, 13) ~= 0 then return end\n"
	"  call('HSET', I, id, string.sub(r, 1, 12) .. struct.pack('<I6', now) .. string.sub(r, 19))\n"
	"  call('SADD', P, id)\n"
	"  call('PEXPIRE', P, keep)\n"
	"end\n"
	"for k = 1, #ids do\n"
	"  local id = ids[k]\n"
	"  local score, r = call('ZSCORE', Z, id), call('HGET', I, id)\n"
	"  if not score or not r then\n"
	"    missing = missing + 1\n"
	"  else\n"
	"    local state = math.floor(tonumber(score) / B)\n"
	"    local to, arrival = state, tonumber(score) % B\n"
	"    if action == 'read' then\n"
	"      if state == 0 then to = 1 end\n"
	"      first_reading(id, r)\n"
	"    elseif action == 'unread' then\n"
	"      if state == 1 then to = 0 end\n"
	"    elseif action == 'archive' then\n"
	"      to = 2\n"
	"    elseif action == 'unarchive' then\n"
	"      if state == 2 then to = struct.unpack('<I6', r, 13) ~= 0 and 1 or 0 end\n"
	"    end\n"
	"    if action == 'delete' then\n"
	"      drop(id)\n"
	"      changed[#changed + 1] = id\n"
	"    elseif to ~= state then\n"
	"      call('ZADD', Z, to * B + arrival, id)\n"
	"      changed[#changed + 1] = id\n"
	"    end\n"
	"  end\n"
	"end\n"
	"if #changed > 0 then\n"
	"  local v = call('HINCRBY', M, 'v', 1)\n"
	"  stay()\n"
	"  tell(v - 1, #changed > 200 and 'reload' or action, #changed > 200 and '' or table.concat(changed, "
	"' '), '')\n"
	"end\n"
	"return {counts(), #changed, missing, call('SMEMBERS', P)}\n",
};

/* Answers 1. Listeners are told to look again. */
struct hm_redis_script inbox_erase_script = {
	.name = "inbox-erase",
	.source = PRELUDE
	"local n, v = tonumber(call('HGET', M, 'n') or 0), tonumber(call('HGET', M, 'v') or 0)\n"
	"call('DEL', Z, I, E, D, M, P)\n"
	"if call('EXISTS', S) == 1 then\n" /* who listens goes on counting */
	"  call('HSET', M, 'n', n, 'v', v + 2)\n"
	"  call('PEXPIRE', M, keep)\n"
	"  tell(v, 'reload', '', '')\n"
	"end\n"
	"return 1\n",
};
