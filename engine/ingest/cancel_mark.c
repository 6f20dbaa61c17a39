/*
 * cancel_mark.c - entries of the control stream, written and read
 */
#include "ingest/cancel_mark.h"

#include <stdio.h>

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
	struct hm_str type, at, what;

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
			return hm_err_set(e, HM_EINVAL,
					  "control entry %.*s: channel needs a name and the action pause or resume",
					  HM_STRF(id->s));
		ev->type = HM_CTL_CHANNEL;
		return 0;
	}
	if (!hm_str_is(type, "cancel") && !hm_str_is(type, "keys"))
		return 0;
	if (!hm_str_u64(at, &ev->at_ms))
		return hm_err_set(e, HM_EINVAL, "control entry %.*s: at must be milliseconds of Unix time",
				  HM_STRF(id->s));
	what = field(fields, "id");
	if (hm_str_is(type, "keys")) {
		ev->type = HM_CTL_KEYS;
		ev->by = what;
		return 0;
	}
	if (what.p) {
		if (!hm_ulid_parse(what, &ev->id))
			return hm_err_set(e, HM_EINVAL, "control entry %.*s: id must be a ULID",
					  HM_STRF(id->s));
		ev->type = HM_CTL_CANCEL_ID;
		return 0;
	}
	ev->campaign = field(fields, "campaign");
	if (ev->campaign.len == 0)
		return hm_err_set(e, HM_EINVAL, "control entry %.*s: cancel needs id or campaign",
				  HM_STRF(id->s));
	ev->type = HM_CTL_CANCEL_CAMPAIGN;
	return 0;
}

void hm_ctl_send(struct hm_redis *r, struct hm_str prefix, const struct hm_ctl_event *ev, hm_reply_fn fn,
		 void *arg)
{
	char key[HM_CTL_KEY_MAX], text[HM_ULID_TEXT + 1], at[24];
	struct hm_str k = hm_str_n(key, hm_ctl_key(prefix, "events", key, sizeof(key)));
	struct hm_str argv[16];
	size_t n = 0;

	hm_assert(ev->type != HM_CTL_OTHER && ev->type != HM_CTL_TEMPLATE && ev->type != HM_CTL_CHANNEL);
	argv[n++] = HM_STR("XADD");
	argv[n++] = k;
	argv[n++] = HM_STR("MAXLEN");
	argv[n++] = HM_STR("~");
	argv[n++] = HM_STR("1000000");
	argv[n++] = HM_STR("*");
	argv[n++] = HM_STR("type");
	argv[n++] = ev->type == HM_CTL_KEYS ? HM_STR("keys") : HM_STR("cancel");
	if (ev->type == HM_CTL_CANCEL_CAMPAIGN) {
		argv[n++] = HM_STR("campaign");
		argv[n++] = ev->campaign;
	} else if (ev->type == HM_CTL_CANCEL_ID) {
		hm_ulid_text(&ev->id, text);
		argv[n++] = HM_STR("id");
		argv[n++] = hm_str_n(text, HM_ULID_TEXT);
	} else {
		argv[n++] = HM_STR("id");
		argv[n++] = ev->by;
	}
	argv[n++] = HM_STR("at");
	argv[n++] = hm_str_n(at, (size_t)snprintf(at, sizeof(at), "%llu", (unsigned long long)ev->at_ms));
	if (ev->type != HM_CTL_KEYS && ev->by.len) {
		argv[n++] = HM_STR("by");
		argv[n++] = ev->by;
	}
	hm_redis_send(r, k, argv, n, fn, arg);
}
