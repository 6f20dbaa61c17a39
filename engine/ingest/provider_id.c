/*
 * provider_id.c - provider's id to message id, in Redis
 */
#include "ingest/provider_id.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/obj.h"
#include "ingest/cancel_mark.h"
#include "ingest/job.h"

#define STORE_MAGIC 0x70696473u
#define FIND_MAGIC  0x70696466u
#define VALUE_MAX   2300
#define EARLY_MS    "600000"
#define EARLY_MAX   "-20"
#define STREAM_MAX  "100000"

static struct hm_redis_script store_script = {
	.name = "pid_store",
	/* KEYS: pid, early, pull; ARGV: value, ms to keep, score and member of pull or "". Returns receipts that came before. */
	.source = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
		  "if ARGV[3] ~= '' then redis.call('ZADD', KEYS[3], 'NX', ARGV[3], ARGV[4]) end\n"
		  "return redis.call('LRANGE', KEYS[2], 0, -1)\n",
};
static struct hm_redis_script find_script = {
	.name = "pid_find",
	/* KEYS: pid of id and recipient, early of that, pid of the id alone, early; ARGV: receipt or "", ms. */
	.source = "local v = redis.call('GET', KEYS[1]) or redis.call('GET', KEYS[3])\n"
		  "if v then return v end\n"
		  "if ARGV[1] ~= '' then\n"
		  "  for i = 2, 4, 2 do\n"
		  "    redis.call('RPUSH', KEYS[i], ARGV[1])\n"
		  "    redis.call('LTRIM', KEYS[i], " EARLY_MAX ", -1)\n"
		  "    redis.call('PEXPIRE', KEYS[i], " EARLY_MS ")\n"
		  "    if KEYS[2] == KEYS[4] then break end\n"
		  "  end\n"
		  "end\n"
		  "return false\n",
};

uint32_t hm_pid_partition(const struct hm_pid *p, struct hm_str provider_id)
{
	return (uint32_t)(hm_hash64(provider_id.p, provider_id.len, 0x706964) % p->partitions);
}

/* Numbers are written with and without a plus, names in either case. */
static struct hm_str plain(struct hm_str s, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len && n < cap; i++)
		if (s.p[i] != '+' && s.p[i] != ' ')
			out[n++] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
	return hm_str_n(out, n);
}

static size_t key_of(const struct hm_pid *p, struct hm_str id, struct hm_str recipient, bool early, char *out,
		     size_t cap)
{
	char what[160], addr[2048];
	struct hm_str a = plain(recipient, addr, sizeof(addr));
	uint64_t h = hm_hash64(p->channel.p, p->channel.len, 1), g;

	g = hm_hash64(id.p, id.len, h);
	h = hm_hash64(id.p, id.len, ~h);
	if (recipient.len > 0) {
		g = hm_hash64(a.p, a.len, g);
		h = hm_hash64(a.p, a.len, h);
	}
	snprintf(what, sizeof(what), "pid:%.*s:%016llx%016llx%s", (int)hm_min(p->channel.len, (size_t)64),
		 p->channel.p, (unsigned long long)g, (unsigned long long)h, early ? ":early" : "");
	return hm_job_key(p->prefix, hm_pid_partition(p, id), what, out, cap);
}

size_t hm_pid_pull_key(const struct hm_pid *p, uint32_t partition, char *out, size_t cap)
{
	char what[100];

	snprintf(what, sizeof(what), "pull:%.*s", (int)hm_min(p->channel.len, (size_t)64), p->channel.p);
	return hm_job_key(p->prefix, partition, what, out, cap);
}

/* -- storing ------------------------------------------------------------------------------- */

struct store {
	uint32_t magic;
	struct hm_redis *r;
	struct hm_ulid id;
	size_t open;
	struct hm_err err;
	hm_pid_stored_fn fn;
	void *arg;
	char early[HM_PID_KEY_MAX], stream[HM_CTL_KEY_MAX], channel[65];
};

static void forget(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	(void)arg;
	(void)reply;
	(void)err;
}

static void stored(struct store *x)
{
	struct hm_str argv[2] = {HM_STR("DEL"), hm_str_c(x->early)};

	if (x->err.code == 0 && x->stream[0] != '\0')
		hm_redis_send(x->r, argv[1], argv, 2, forget, NULL);
	x->fn(x->arg, x->err.code ? &x->err : NULL);
	HM_MAGIC_CLEAR(x);
	free(x);
}

static void on_told(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct store *x = arg;

	HM_CHECK(x, STORE_MAGIC);
	if (reply == NULL)
		x->err = *err;
	if (--x->open == 0)
		stored(x);
}

/* What came before goes the way of all receipts (receipts.h). "delivered 1700000000000" */
static void tell(struct store *x, struct hm_str early)
{
	char id[HM_ULID_TEXT + 1];
	struct hm_str argv[14], event;
	size_t n = 0;

	if (!hm_str_split(&early, ' ', &event) || hm_receipt_find(event) < 0)
		return;
	hm_ulid_text(&x->id, id);
	argv[n++] = HM_STR("XADD");
	argv[n++] = hm_str_c(x->stream);
	argv[n++] = HM_STR("MAXLEN");
	argv[n++] = HM_STR("~");
	argv[n++] = HM_STR(STREAM_MAX);
	argv[n++] = HM_STR("*");
	argv[n++] = HM_STR("id");
	argv[n++] = hm_str_c(id);
	argv[n++] = HM_STR("event");
	argv[n++] = event;
	argv[n++] = HM_STR("at");
	argv[n++] = early;
	argv[n++] = HM_STR("channel");
	argv[n++] = hm_str_c(x->channel);
	x->open++;
	hm_redis_send(x->r, argv[1], argv, n, on_told, x);
}

static void on_stored(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct store *x = arg;

	HM_CHECK(x, STORE_MAGIC);
	if (reply == NULL) {
		x->err = *err;
		x->stream[0] = '\0';
	} else if (reply->type == HM_REPLY_ARRAY && reply->n > 0) {
		for (size_t i = 0; i < reply->n; i++)
			tell(x, reply->v[i].s);
	} else {
		x->stream[0] = '\0';
	}
	if (--x->open == 0)
		stored(x);
}

static void no_memory(void *arg, hm_pid_stored_fn fn)
{
	struct hm_err e = {0};

	hm_err_set(&e, HM_ENOMEM, "out of memory");
	fn(arg, &e);
}

void hm_pid_store(struct hm_redis *r, const struct hm_pid *p, const struct hm_pid_note *n,
		  hm_pid_stored_fn fn, void *arg)
{
	struct store *x = calloc(1, sizeof(*x));
	struct hm_str addr = n->shared ? n->recipient : HM_STR(""), keys[3], args[4];
	char pid[HM_PID_KEY_MAX], pull[HM_PID_KEY_MAX], value[VALUE_MAX], keep[24],
		due[24] = "", id[HM_ULID_TEXT + 1], member[430];

	if (x == NULL) {
		no_memory(arg, fn);
		return;
	}
	HM_MAGIC_SET(x, STORE_MAGIC);
	x->r = r;
	x->id = n->id;
	x->fn = fn;
	x->arg = arg;
	x->open = 1;
	snprintf(x->channel, sizeof(x->channel), "%.*s", HM_STRF(p->channel));
	hm_ctl_key(p->prefix, "receipts", x->stream, sizeof(x->stream));
	hm_ulid_text(&n->id, id);
	keys[0] = hm_str_n(pid, key_of(p, n->provider_id, addr, false, pid, sizeof(pid)));
	keys[1] = hm_str_n(x->early, key_of(p, n->provider_id, addr, true, x->early, sizeof(x->early)));
	keys[2] = hm_str_n(pull, hm_pid_pull_key(p, hm_pid_partition(p, n->provider_id), pull, sizeof(pull)));
	snprintf(value, sizeof(value), "%s %llu %.*s", id, (unsigned long long)n->sent_ms,
		 (int)hm_min(n->recipient.len, (size_t)2048), n->recipient.p ? n->recipient.p : "");
	snprintf(keep, sizeof(keep), "%llu", (unsigned long long)n->keep_ms);
	if (n->pull_ms > 0)
		snprintf(due, sizeof(due), "%llu", (unsigned long long)n->pull_ms);
	args[0] = hm_str_c(value);
	args[1] = hm_str_c(keep);
	args[2] = hm_str_c(due);
	snprintf(member, sizeof(member), "%llu %.*s", (unsigned long long)n->sent_ms,
		 (int)hm_min(n->provider_id.len, (size_t)400), n->provider_id.p);
	args[3] = hm_str_c(member);
	hm_redis_eval(r, &store_script, keys, 3, args, 4, on_stored, x);
}

/* -- finding -------------------------------------------------------------------------------- */

struct find {
	uint32_t magic;
	hm_pid_found_fn fn;
	void *arg;
};

static void on_found(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct find *x = arg;
	struct hm_pid_found f = {0};
	struct hm_str v, id, at;

	HM_CHECK(x, FIND_MAGIC);
	if (reply != NULL && reply->type == HM_REPLY_STR) {
		v = reply->s;
		f.known = hm_str_split(&v, ' ', &id) && hm_ulid_parse(id, &f.id) &&
			  hm_str_split(&v, ' ', &at) && hm_str_u64(at, &f.sent_ms);
		f.address = v;
	}
	x->fn(x->arg, &f, reply == NULL ? err : NULL);
	HM_MAGIC_CLEAR(x);
	free(x);
}

void hm_pid_find(struct hm_redis *r, const struct hm_pid *p, struct hm_str provider_id,
		 struct hm_str recipient, int receipt, uint64_t at_ms, hm_pid_found_fn fn, void *arg)
{
	struct find *x = calloc(1, sizeof(*x));
	char k[4][HM_PID_KEY_MAX], early[64] = "";
	struct hm_str keys[4], text;
	struct hm_err e = {0};

	if (x == NULL) {
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		fn(arg, &(struct hm_pid_found){0}, &e);
		return;
	}
	HM_MAGIC_SET(x, FIND_MAGIC);
	x->fn = fn;
	x->arg = arg;
	for (int i = 0; i < 4; i++)
		keys[i] = hm_str_n(k[i], key_of(p, provider_id, i < 2 ? recipient : HM_STR(""), i & 1, k[i],
						sizeof(k[i])));
	if (receipt >= 0)
		snprintf(early, sizeof(early), "%s %llu", hm_receipt_name((enum hm_receipt)receipt),
			 (unsigned long long)at_ms);
	text = hm_str_c(early);
	hm_redis_eval(r, &find_script, keys, 4, &text, 1, on_found, x);
}
