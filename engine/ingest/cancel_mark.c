/*
 * cancel_mark.c - entries of the control stream, written and read
 */
#include "ingest/cancel_mark.h"

#include <stdio.h>

#define LABEL_MAX 64 /* HM_JOB_MAX_LABEL */

static const char *const kinds[] = {"id", "campaign", "tag", "tenant"};

size_t hm_ctl_key(struct hm_str prefix, const char *what, char *out, size_t cap)
{
	int n = snprintf(out, cap, "{%.*s:ctl}:%s", HM_STRF(prefix), what);

	hm_assert(n > 0 && (size_t)n < cap);
	return (size_t)n;
}

static struct hm_str field(const struct hm_reply *fields, const char *name)
{
	for (size_t i = 0; i + 1 < fields->n; i += 2)
		if (hm_str_is(fields->v[i].s, name))
			return fields->v[i + 1].s;
	return HM_STR_NULL;
}

int hm_ctl_parse(const struct hm_reply *entry, struct hm_str *entry_id_r, struct hm_ctl_event *ev,
		 struct hm_err *e)
{
	const struct hm_reply *id = hm_reply_at(entry, 0), *fields = hm_reply_at(entry, 1);
	struct hm_str type, at;

	memset(ev, 0, sizeof(*ev));
	ev->type = HM_CTL_OTHER;
	if (!id || !fields || fields->type != HM_REPLY_ARRAY)
		return hm_err_set(e, HM_EINVAL, "not a stream entry");
	*entry_id_r = id->s;
	type = field(fields, "type");
	at = field(fields, "at");
	ev->by = field(fields, "by");
	if (hm_str_is(type, "template")) {
		ev->name = field(fields, "name");
		ev->etag = field(fields, "etag");
		if (ev->name.len == 0)
			return hm_err_set(e, HM_EINVAL, "control entry %.*s: template needs a name",
					  HM_STRF(id->s));
		ev->type = HM_CTL_TEMPLATE;
		return 0;
	}
	if (hm_str_is(type, "channel")) {
		struct hm_str action = field(fields, "action");

		ev->name = field(fields, "name");
		ev->note = field(fields, "note");
		ev->paused = hm_str_is(action, "pause");
		if (ev->name.len == 0 || (!ev->paused && !hm_str_is(action, "resume")))
			return hm_err_set(
				e, HM_EINVAL,
				"control entry %.*s: channel needs a name and the action pause or resume",
				HM_STRF(id->s));
		ev->type = HM_CTL_CHANNEL;
		return 0;
	}
	if (hm_str_is(type, "lists")) {
		ev->type = HM_CTL_LISTS;
		return 0;
	}
	if (hm_str_is(type, "cancel"))
		ev->type = HM_CTL_CANCEL;
	else if (hm_str_is(type, "pause"))
		ev->type = HM_CTL_PAUSE;
	else if (hm_str_is(type, "resume"))
		ev->type = HM_CTL_RESUME;
	else if (hm_str_is(type, "keys"))
		ev->type = HM_CTL_KEYS;
	else
		return 0;
	if (!hm_str_u64(at, &ev->at_ms)) {
		ev->type = HM_CTL_OTHER;
		return hm_err_set(e, HM_EINVAL, "control entry %.*s: at must be milliseconds of Unix time",
				  HM_STRF(id->s));
	}
	if (ev->type == HM_CTL_KEYS) {
		ev->by = field(fields, "id");
		return 0;
	}
	for (size_t i = 0; i < hm_countof(kinds) && ev->what.p == NULL; i++) {
		ev->kind = hm_str_c(kinds[i]);
		ev->what = field(fields, kinds[i]);
	}
	if (ev->what.p == NULL || !hm_ctl_name_ok(ev->kind, ev->what)) {
		ev->type = HM_CTL_OTHER;
		return hm_err_set(e, HM_EINVAL,
				  "control entry %.*s: %.*s needs id (a ULID), campaign, tag or tenant",
				  HM_STRF(id->s), HM_STRF(type));
	}
	return 0;
}

bool hm_ctl_name_ok(struct hm_str kind, struct hm_str what)
{
	struct hm_ulid id;

	if (hm_str_is(kind, "id"))
		return hm_ulid_parse(what, &id);
	return what.len > 0 && what.len <= LABEL_MAX;
}

static bool id_parts(struct hm_str id, uint64_t *ms, uint64_t *seq)
{
	struct hm_str part;

	return hm_str_split(&id, '-', &part) && hm_str_u64(part, ms) && hm_str_u64(id, seq);
}

bool hm_ctl_id_upto(struct hm_str a, struct hm_str b)
{
	uint64_t am, as, bm, bs;

	return id_parts(a, &am, &as) && id_parts(b, &bm, &bs) && (am < bm || (am == bm && as <= bs));
}

void hm_ctl_send(struct hm_redis *r, struct hm_str prefix, const struct hm_ctl_event *ev, hm_reply_fn fn,
		 void *arg)
{
	char key[HM_CTL_KEY_MAX], at[24];
	struct hm_str k = hm_str_n(key, hm_ctl_key(prefix, "events", key, sizeof(key)));
	struct hm_str argv[16];
	size_t n = 0;

	hm_assert(ev->type == HM_CTL_CANCEL || ev->type == HM_CTL_KEYS);
	argv[n++] = HM_STR("XADD");
	argv[n++] = k;
	argv[n++] = HM_STR("MAXLEN");
	argv[n++] = HM_STR("~");
	argv[n++] = HM_STR("1000000");
	argv[n++] = HM_STR("*");
	argv[n++] = HM_STR("type");
	argv[n++] = ev->type == HM_CTL_KEYS ? HM_STR("keys") : HM_STR("cancel");
	argv[n++] = ev->type == HM_CTL_KEYS ? HM_STR("id") : ev->kind;
	argv[n++] = ev->type == HM_CTL_KEYS ? ev->by : ev->what;
	argv[n++] = HM_STR("at");
	argv[n++] = hm_str_n(at, (size_t)snprintf(at, sizeof(at), "%llu", (unsigned long long)ev->at_ms));
	if (ev->type != HM_CTL_KEYS && ev->by.len) {
		argv[n++] = HM_STR("by");
		argv[n++] = ev->by;
	}
	hm_redis_send(r, k, argv, n, fn, arg);
}

static struct hm_redis_script pause_script = {
	.name = "ctl_pause",
	/* KEYS: pauses, events; ARGV: pause or resume, kind, what, at, by */
	.source = "local f = ARGV[2] .. ':' .. ARGV[3]\n"
		  "local n\n"
		  "if ARGV[1] == 'pause' then\n"
		  "  n = redis.call('HSETNX', KEYS[1], f, "
		  "cjson.encode({at = tonumber(ARGV[4]), by = ARGV[5]}))\n"
		  "else n = redis.call('HDEL', KEYS[1], f) end\n"
		  "redis.call('XADD', KEYS[2], 'MAXLEN', '~', '1000000', '*', 'type', ARGV[1], ARGV[2], "
		  "ARGV[3], "
		  "'at', ARGV[4], 'by', ARGV[5])\n"
		  "return n\n",
};
static struct hm_redis_script pauses_script = {
	.name = "ctl_pauses",
	/* KEYS: pauses, events */
	.source = "local l = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)\n"
		  "return {l[1] and l[1][1] or '0-0', redis.call('HGETALL', KEYS[1])}\n",
};

void hm_ctl_pause(struct hm_redis *r, struct hm_str prefix, const struct hm_ctl_event *ev, hm_reply_fn fn,
		  void *arg)
{
	char k1[HM_CTL_KEY_MAX], k2[HM_CTL_KEY_MAX], at[24];
	const struct hm_str keys[2] = {hm_str_n(k1, hm_ctl_key(prefix, "pauses", k1, sizeof(k1))),
				       hm_str_n(k2, hm_ctl_key(prefix, "events", k2, sizeof(k2)))};
	struct hm_str args[5] = {ev->type == HM_CTL_PAUSE ? HM_STR("pause") : HM_STR("resume"), ev->kind,
				 ev->what};

	hm_assert(ev->type == HM_CTL_PAUSE || ev->type == HM_CTL_RESUME);
	args[3] = hm_str_n(at, (size_t)snprintf(at, sizeof(at), "%llu", (unsigned long long)ev->at_ms));
	args[4] = ev->by.p ? ev->by : HM_STR("");
	hm_redis_eval(r, &pause_script, keys, 2, args, 5, fn, arg);
}

void hm_ctl_pauses(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn, void *arg)
{
	char k1[HM_CTL_KEY_MAX], k2[HM_CTL_KEY_MAX];
	const struct hm_str keys[2] = {hm_str_n(k1, hm_ctl_key(prefix, "pauses", k1, sizeof(k1))),
				       hm_str_n(k2, hm_ctl_key(prefix, "events", k2, sizeof(k2)))};

	hm_redis_eval(r, &pauses_script, keys, 2, NULL, 0, fn, arg);
}
