/*
 * cred_share.c - the scripts behind cred_share.h
 */
#include "adapter/cred_share.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/obj.h"

#define CALL_MAGIC 0x63736863u

static struct hm_redis_script ask_script = {
	.name = "credential ask",
	/* KEYS: token, lock, refresh token. ARGV: owner, lock ms, serial known. */
	.source = "local v = redis.call('HMGET', KEYS[1], 'n', 't')\n"
		  "if v[1] and tonumber(v[1]) > tonumber(ARGV[3]) then return {1, v[1], v[2]} end\n"
		  "if redis.call('GET', KEYS[2]) == ARGV[1] or\n"
		  "   redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then\n"
		  "  return {2, '0', redis.call('GET', KEYS[3]) or ''}\n"
		  "end\n"
		  "return {3, tostring(redis.call('PTTL', KEYS[2])), ''}\n",
};
static struct hm_redis_script tell_script = {
	.name = "credential tell",
	/* ARGV: owner, token, ttl ms, refresh token or ''. Serials follow the clock, so that they grow over the end of a token. */
	.source = "if ARGV[4] ~= '' then redis.call('SET', KEYS[3], ARGV[4]) end\n"
		  "local mine = redis.call('GET', KEYS[2])\n"
		  "if mine and mine ~= ARGV[1] then return {3, '0', ''} end\n"
		  "local t = redis.call('TIME')\n"
		  "local n = t[1] * 1000 + math.floor(t[2] / 1000)\n"
		  "local old = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')\n"
		  "if old >= n then n = old + 1 end\n"
		  "local s = string.format('%.0f', n)\n"
		  "redis.call('HSET', KEYS[1], 'n', s, 't', ARGV[2])\n"
		  "redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
		  "redis.call('DEL', KEYS[2])\n"
		  "return {2, s, ''}\n",
};
static struct hm_redis_script release_script = {
	.name = "credential release",
	.source = "if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end\nreturn {3, "
		  "'0', ''}\n",
};

static void on_reply(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_share_call *c = arg;
	struct hm_share_reply r = {.answer = HM_SHARE_DOWN, .err = err};
	const struct hm_reply *kind = reply ? hm_reply_at(reply, 0) : NULL,
			      *n = reply ? hm_reply_at(reply, 1) : NULL,
			      *text = reply ? hm_reply_at(reply, 2) : NULL;
	struct hm_err odd = {0};

	HM_CHECK(c, CALL_MAGIC);
	if (kind != NULL && n != NULL && text != NULL && kind->i >= 1 && kind->i <= 3) {
		r.answer = (enum hm_share_answer)(kind->i - 1);
		r.text = text->s;
		if (!hm_str_u64(n->s, r.answer == HM_SHARE_BUSY ? &r.wait_ms : &r.serial) &&
		    r.answer != HM_SHARE_BUSY)
			r.answer = HM_SHARE_DOWN;
	}
	if (r.answer == HM_SHARE_DOWN && r.err == NULL) {
		hm_err_set(&odd, HM_EPROTO, "an answer of Redis about a credential makes no sense");
		r.err = &odd;
	}
	HM_MAGIC_CLEAR(c);
	c->fn(c, &r);
}

static void on_nothing(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
}

static void eval(struct hm_cred_share *s, struct hm_redis_script *script, uint64_t id,
		 const struct hm_str *args, size_t n, struct hm_share_call *c, hm_share_fn fn)
{
	char key[3][160];
	struct hm_str keys[3];

	if (c != NULL) {
		HM_MAGIC_SET(c, CALL_MAGIC);
		c->fn = fn;
	}
	snprintf(key[0], sizeof(key[0]), "%s%016" PRIx64, s->prefix, id);
	snprintf(key[1], sizeof(key[1]), "%s%016" PRIx64 ":lock", s->prefix, id);
	snprintf(key[2], sizeof(key[2]), "%s%016" PRIx64 ":refresh", s->prefix, id);
	for (int i = 0; i < 3; i++)
		keys[i] = hm_str_c(key[i]);
	hm_redis_eval(s->redis, script, keys, 3, args, n, c ? on_reply : on_nothing, c);
}

int hm_cred_share_init(struct hm_cred_share *s, struct hm_redis *r, struct hm_str prefix, struct hm_err *e)
{
	unsigned char raw[16];

	memset(s, 0, sizeof(*s));
	if (prefix.len >= sizeof(s->prefix) || RAND_bytes(raw, sizeof(raw)) != 1)
		return hm_err_set(e, HM_EINVAL, "credentials cannot be shared: the key prefix is too long");
	memcpy(s->prefix, prefix.p, prefix.len);
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(s->owner + 2 * i, 3, "%02x", raw[i]);
	s->redis = r;
	return 0;
}

void hm_cred_share_ask(struct hm_cred_share *s, uint64_t id, uint64_t have, uint32_t lock_ms,
		       struct hm_share_call *c, hm_share_fn fn)
{
	char ms[24], known[24];
	struct hm_str args[3];

	snprintf(ms, sizeof(ms), "%u", lock_ms);
	snprintf(known, sizeof(known), "%" PRIu64, have);
	args[0] = hm_str_c(s->owner);
	args[1] = hm_str_c(ms);
	args[2] = hm_str_c(known);
	eval(s, &ask_script, id, args, 3, c, fn);
}

void hm_cred_share_tell(struct hm_cred_share *s, uint64_t id, struct hm_str token, uint64_t ttl_ms,
			struct hm_str refresh, struct hm_share_call *c, hm_share_fn fn)
{
	char ms[24];
	struct hm_str args[4] = {hm_str_c(s->owner), token, HM_STR(""), refresh};

	snprintf(ms, sizeof(ms), "%" PRIu64, hm_max(ttl_ms, (uint64_t)1));
	args[2] = hm_str_c(ms);
	eval(s, &tell_script, id, args, 4, c, fn);
}

void hm_cred_share_release(struct hm_cred_share *s, uint64_t id)
{
	const struct hm_str args[1] = {hm_str_c(s->owner)};

	eval(s, &release_script, id, args, 1, NULL, NULL);
}
