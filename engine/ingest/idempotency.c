/*
 * idempotency.c - Idempotency-Key, by one Lua script
 */
#include "ingest/idempotency.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

static struct hm_redis_script submit_script = {
	.name = "idempotent-submit",
	/* KEYS: the idempotency key, the streams of the four lanes. ARGV: time to live, hash, answer, then lane, entry ... */
	.source = "local old = redis.call('GET', KEYS[1])\n"
		  "if old then return old end\n"
		  "for i = 4, #ARGV, 2 do\n"
		  "  redis.call('XADD', KEYS[2 + tonumber(ARGV[i])], '*', 'j', ARGV[i + 1])\n"
		  "end\n"
		  "redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[1])\n"
		  "return false\n",
};

bool hm_idem_begin(struct hm_http_req *r, struct idem *i)
{
	struct hm_str k = hm_str_trim(r->idempotency_key);
	uint8_t text[sizeof(r->key_id) + HTTP_URI_MAX + HM_IDEM_KEY_MAX + 8];
	size_t n = 0;

	/* draft-ietf-httpapi-idempotency-key-header: a structured string; quotes are optional here */
	if (k.len >= 2 && k.p[0] == '"' && k.p[k.len - 1] == '"')
		k = hm_str_n(k.p + 1, k.len - 2);
	if (k.len == 0 || k.len > HM_IDEM_KEY_MAX) {
		hm_http_problem(
			r, HM_PROBLEM_BAD_REQUEST,
			&(struct hm_problem_info){.field = HM_STR("Idempotency-Key"), .close = !r->complete},
			"Idempotency-Key must have 1 to %u characters", HM_IDEM_KEY_MAX);
		return false;
	}
	for (size_t at = 0; at < k.len; at++)
		if ((uint8_t)k.p[at] < 0x20 || k.p[at] == 0x7f) {
			hm_http_problem(r, HM_PROBLEM_BAD_REQUEST,
					&(struct hm_problem_info){.field = HM_STR("Idempotency-Key"),
								  .close = !r->complete},
					"Idempotency-Key must be printable text");
			return false;
		}
	/* parts with their terminators, so that no two different requests give the same text */
	n = strlen(r->key_id) + 1;
	memcpy(text, r->key_id, n);
	memcpy(text + n, r->path.p, r->path.len);
	n += r->path.len;
	text[n++] = 0;
	memcpy(text + n, k.p, k.len);
	n += k.len;
	SHA256(text, n, i->digest);
	i->partition = (uint32_t)(hm_hash64(i->digest, sizeof(i->digest), 0) % r->srv->partitions);
	return true;
}

struct submit {
	idem_fn fn;
	void *arg;
	char body_hex[65];
};

static void hex(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}

static void on_submitted(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct submit *q = arg;
	struct hm_err e;
	uint64_t status;
	struct hm_str v;

	if (err) {
		q->fn(q->arg, IDEM_FAILED, 0, HM_STR_NULL, err);
	} else if (reply->type == HM_REPLY_NIL) {
		q->fn(q->arg, IDEM_NEW, 0, HM_STR_NULL, NULL);
	} else {
		v = reply->s; /* "<64 hex> <3 digits> <answer>" */
		if (v.len < 69 || !hm_str_u64(hm_str_n(v.p + 65, 3), &status)) {
			hm_err_clear(&e);
			hm_err_set(&e, HM_EREDIS, "the stored answer of this Idempotency-Key is damaged");
			q->fn(q->arg, IDEM_FAILED, 0, HM_STR_NULL, &e);
		} else if (memcmp(v.p, q->body_hex, 64) != 0) {
			q->fn(q->arg, IDEM_CONFLICT, 0, HM_STR_NULL, NULL);
		} else {
			q->fn(q->arg, IDEM_REPLAY, (int)status, hm_str_n(v.p + 69, v.len - 69), NULL);
		}
	}
	free(q);
}

void hm_idem_submit(struct hm_http_server *s, const struct idem *i, const struct idem_entry *v, size_t n,
		    int status, struct hm_str answer, idem_fn fn, void *arg)
{
	static const char lanes[HM_LANE_COUNT][2] = {"0", "1", "2", "3"};
	struct hm_arena *scratch = &s->tick->scratch;
	struct hm_arena_mark mark = hm_arena_mark(scratch);
	struct submit *q = malloc(sizeof(*q));
	struct hm_str keys[1 + HM_LANE_COUNT], *args;
	char key[200], id[65], ttl[24];
	struct hm_err e;
	int len;

	static_assert(HM_LANE_COUNT == 4, "lanes above");
	hm_assert(n >= 1 && n <= HM_IDEM_ENTRIES_MAX);
	args = hm_arena_alloc(scratch, (3 + 2 * n) * sizeof(*args));
	if (args)
		args[2] = hm_arena_printf(scratch, "%03d %.*s", status, HM_STRF(answer));
	if (!q || !args || !args[2].p) {
		free(q);
		hm_arena_rewind(scratch, mark);
		hm_err_clear(&e);
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		fn(arg, IDEM_FAILED, 0, HM_STR_NULL, &e);
		return;
	}
	q->fn = fn;
	q->arg = arg;
	hex(i->body, sizeof(i->body), q->body_hex);
	hex(i->digest, sizeof(i->digest), id);
	len = snprintf(key, sizeof(key), "{%.*s:%u}:idem:%s", HM_STRF(s->prefix), i->partition, id);
	hm_assert(len > 0 && (size_t)len < sizeof(key));
	keys[0] = hm_str_n(key, (size_t)len);
	for (int lane = 0; lane < HM_LANE_COUNT; lane++)
		keys[1 + lane] = hm_http_stream(s, i->partition, (enum hm_lane)lane);
	len = snprintf(ttl, sizeof(ttl), "%llu", (unsigned long long)s->lim.idempotency_ttl_ms);
	args[0] = hm_str_n(ttl, (size_t)len);
	args[1] = hm_str_n(q->body_hex, 64);
	for (size_t k = 0; k < n; k++) {
		args[3 + 2 * k] = hm_str_n(lanes[v[k].lane], 1);
		args[4 + 2 * k] = v[k].entry;
	}
	hm_redis_eval(s->deps.redis, &submit_script, keys, 1 + HM_LANE_COUNT, args, 3 + 2 * n, on_submitted,
		      q);
	hm_arena_rewind(scratch, mark);
}

void hm_idem_answer(struct hm_http_req *r, enum idem_result res, int status, struct hm_str answer)
{
	if (res == IDEM_CONFLICT)
		hm_http_problem(r, HM_PROBLEM_KEY_REUSED,
				&(struct hm_problem_info){.field = HM_STR("Idempotency-Key")},
				"this Idempotency-Key was used with a different body; use a new key for a "
				"new request");
	else
		hm_http_reply(r, &(struct hm_http_answer){.status = status,
							  .type = "application/json",
							  .headers = HM_STR("Idempotent-Replayed: true\r\n"),
							  .body = answer});
}
