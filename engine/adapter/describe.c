/*
 * describe.c - one adapter on one line, or as JSON: what it takes at once, how much, what comes back, how sure that is
 */
#include <stdio.h>

#include "adapter/dryrun.h"
#include "adapter/model.h"

static const char *const kinds[] = {"string", "int", "bool", "enum", "duration", "url",
				    "path",   "key", "json", "list", "map"};

static void json_member(struct hm_buf *out, const char *name, struct hm_str v)
{
	hm_buf_printf(out, "\"%s\":\"", name);
	hm_buf_json(out, v);
	hm_buf_putc(out, '"');
}

static void describe_setting(const struct hm_setting_decl *d, struct hm_buf *out)
{
	hm_buf_putc(out, '{');
	json_member(out, "name", d->name);
	hm_buf_printf(out, ",\"type\":\"%s\",\"required\":%s,\"secret\":%s,\"verified\":%s,", kinds[d->kind],
		      d->required ? "true" : "false", d->secret ? "true" : "false",
		      d->verified ? "true" : "false");
	json_member(out, "doc", d->doc);
	if (d->def.t != HM_V_NONE) {
		hm_buf_lit(out, ",\"default\":");
		hm_val_json(&d->def, out);
	}
	if (d->required_when)
		hm_buf_lit(out, ",\"conditional\":true");
	if (d->n_choices) {
		hm_buf_lit(out, ",\"values\":[");
		for (uint32_t i = 0; i < d->n_choices; i++) {
			hm_buf_puts(out, i ? HM_STR(",\"") : HM_STR("\""));
			hm_buf_json(out, d->choices[i]);
			hm_buf_putc(out, '"');
		}
		hm_buf_putc(out, ']');
	}
	if (d->example.len) {
		hm_buf_putc(out, ',');
		json_member(out, "example", d->example);
	}
	hm_buf_putc(out, '}');
}

/* -- facts ------------------------------------------------------------------------------ */

/* Numbers an expression may come to, as far as they stand there: the ends of a condition. */
static void each_number(const struct hm_expr *e, int64_t *max, bool *computed)
{
	int64_t i;

	switch ((enum hm_op)e->op) {
	case HM_EX_CONST:
		if (hm_val_int_of(&e->k, &i))
			*max = hm_max(*max, i);
		break;
	case HM_EX_COND:
		*computed = true;
		each_number(e->a[1], max, computed);
		each_number(e->a[2], max, computed);
		break;
	case HM_EX_COALESCE:
	case HM_EX_OR:
		*computed = true;
		each_number(e->a[0], max, computed);
		each_number(e->a[1], max, computed);
		break;
	default: *computed = true; break;
	}
}

static int64_t batch_of(const struct hm_adapter *ad, bool *computed)
{
	int64_t max = 1;

	*computed = false;
	if (ad->batch_max)
		each_number(ad->batch_max, &max, computed);
	return max;
}

static const char *receipts_of(const struct hm_adapter *ad)
{
	static const char *const names[] = {"none",    "push",	       "pull",	       "push+pull",
					    "session", "push+session", "pull+session", "push+pull+session"};
	const struct hm_cb_decl *r = &ad->receipts;

	return names[(r->push.present ? 1 : 0) | (r->pull.present ? 2 : 0) | (r->session ? 4 : 0)];
}

/* Declared numbers nobody could check against the provider are settings that say so. */
static uint32_t unverified(const struct hm_adapter *ad)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ad->n_settings; i++)
		n += !ad->settings[i].verified;
	return n;
}

static const char *const units[] = {"bytes", "chars", "utf16", "segments"};
static const char *const overs[] = {"cut", "refuse", "split", "short"};
static const char *const scopes[] = {"recipient", "credential", "channel"};

static void put_duration(struct hm_buf *out, uint64_t ms)
{
	if (ms % 86400000 == 0)
		hm_buf_printf(out, "%llud", (unsigned long long)(ms / 86400000));
	else if (ms % 3600000 == 0)
		hm_buf_printf(out, "%lluh", (unsigned long long)(ms / 3600000));
	else if (ms % 60000 == 0)
		hm_buf_printf(out, "%llum", (unsigned long long)(ms / 60000));
	else if (ms % 1000 == 0)
		hm_buf_printf(out, "%llus", (unsigned long long)(ms / 1000));
	else
		hm_buf_printf(out, "%llums", (unsigned long long)ms);
}

/* "body 2048 bytes", the largest of a field; computed ones have a "<=" when something in them is a number, else "?". */
static void put_limits(const struct hm_adapter *ad, struct hm_buf *out)
{
	size_t start = out->len;
	bool computed = false;
	int64_t max = 0;

	for (uint32_t i = 0; i < ad->n_limits; i++) {
		const struct hm_limit *l = &ad->limits[i];
		bool again = false;

		for (uint32_t k = 0; k < i; k++)
			again = again || (ad->limits[k].field == l->field && ad->limits[k].unit == l->unit);
		if (again)
			continue;
		max = 0;
		computed = false;
		for (uint32_t k = i; k < ad->n_limits; k++)
			if (ad->limits[k].field == l->field && ad->limits[k].unit == l->unit)
				each_number(ad->limits[k].max, &max, &computed);
		hm_buf_printf(out, "%s%s ", out->len > start ? ", " : "", hm_var_name(l->field));
		if (max)
			hm_buf_printf(out, "%s%lld %s", computed ? "<=" : "", (long long)max, units[l->unit]);
		else
			hm_buf_printf(out, "? %s", units[l->unit]);
	}
	if (ad->payload_bytes) {
		max = 0;
		computed = false;
		each_number(ad->payload_bytes, &max, &computed);
		hm_buf_printf(out, "%spayload ", out->len > start ? ", " : "");
		if (max)
			hm_buf_printf(out, "%s%lld bytes", computed ? "<=" : "", (long long)max);
		else
			hm_buf_lit(out, "?");
	}
	for (uint32_t i = 0; i < ad->n_rates; i++) {
		hm_buf_printf(out, "%s%u/", out->len > start ? ", " : "", ad->rates[i].max);
		put_duration(out, ad->rates[i].window_ms);
		if (ad->rates[i].per == HM_SCOPE_RECIPIENT)
			hm_buf_lit(out, " per recipient");
	}
	if (out->len == start)
		hm_buf_putc(out, '-');
}

static void json_limits(const struct hm_adapter *ad, struct hm_buf *out)
{
	for (uint32_t i = 0; i < ad->n_limits; i++) {
		const struct hm_limit *l = &ad->limits[i];
		bool computed = false;
		int64_t max = 0;

		each_number(l->max, &max, &computed);
		hm_buf_printf(out, "%s{\"field\":\"%s\",", i ? "," : "", hm_var_name(l->field));
		if (max)
			hm_buf_printf(out, "\"max\":%lld,", (long long)max);
		hm_buf_printf(out, "\"computed\":%s,\"conditional\":%s,\"unit\":\"%s\",\"over\":\"%s\"}",
			      computed ? "true" : "false", l->when ? "true" : "false", units[l->unit],
			      overs[l->over]);
	}
}

void hm_adapter_describe(const struct hm_adapter_set *s, size_t i, struct hm_buf *out)
{
	const struct hm_adapter *ad = s->v[i];
	bool computed = false;
	int64_t batch = batch_of(ad, &computed), payload = 0;
	uint32_t doubtful = unverified(ad);

	hm_buf_putc(out, '{');
	json_member(out, "name", ad->name);
	hm_buf_putc(out, ',');
	json_member(out, "medium", hm_str_c(hm_medium_name(ad->medium)));
	hm_buf_putc(out, ',');
	json_member(out, "title", ad->title);
	hm_buf_putc(out, ',');
	json_member(out, "docs", ad->docs);
	hm_buf_putc(out, ',');
	json_member(out, "file", hm_str_c(ad->file));
	hm_buf_printf(out,
		      ",\"credential\":\"%s\",\"idempotent\":%s,\"batch\":{\"max\":%lld,\"computed\":%s}",
		      !ad->cred.present	  ? "none"
		      : ad->cred.exchange ? "exchange"
					  : "jwt",
		      ad->idempotent ? "true" : "false", (long long)batch, computed ? "true" : "false");
	hm_buf_printf(out, ",\"receipts\":\"%s\",\"facts\":{\"verified\":%u,\"unverified\":%u},\"limits\":{",
		      receipts_of(ad), ad->n_settings - doubtful, doubtful);
	if (ad->payload_bytes)
		each_number(ad->payload_bytes, &payload, &computed);
	if (payload)
		hm_buf_printf(out, "\"payload_bytes\":%lld,", (long long)payload);
	hm_buf_lit(out, "\"fields\":[");
	json_limits(ad, out);
	hm_buf_lit(out, "]},\"rates\":[");
	for (uint32_t k = 0; k < ad->n_rates; k++)
		hm_buf_printf(out, "%s{\"per\":\"%s\",\"max\":%u,\"window_ms\":%llu}", k ? "," : "",
			      scopes[ad->rates[k].per], ad->rates[k].max,
			      (unsigned long long)ad->rates[k].window_ms);
	hm_buf_lit(out, "],\"settings\":[");
	for (uint32_t k = 0; k < ad->n_settings; k++) {
		if (k)
			hm_buf_putc(out, ',');
		describe_setting(&ad->settings[k], out);
	}
	hm_buf_lit(out, "]}");
}

void hm_adapter_line(const struct hm_adapter_set *s, size_t i, struct hm_buf *out)
{
	const struct hm_adapter *ad = s->v[i];
	bool computed, first = true;
	int64_t batch = batch_of(ad, &computed);
	uint32_t doubtful = unverified(ad);
	char facts[40], size[24];

	if (i == 0)
		hm_buf_printf(out, "%-24s %-8s %6s  %-13s %-16s %s\n", "ADAPTER", "MEDIUM", "BATCH",
			      "RECEIPTS", "SETTINGS", "TITLE, NEEDS, LIMITS");
	snprintf(size, sizeof(size), "%s%lld", computed ? "<=" : "", (long long)batch);
	if (doubtful)
		snprintf(facts, sizeof(facts), "%u, %u unverified", ad->n_settings, doubtful);
	else
		snprintf(facts, sizeof(facts), "%u", ad->n_settings);
	hm_buf_printf(out, "%-24.*s %-8s %6s  %-13s %-16s %.*s\n", HM_STRF(ad->name),
		      hm_medium_name(ad->medium), size, receipts_of(ad), facts, HM_STRF(ad->title));
	for (uint32_t k = 0; k < ad->n_settings; k++) {
		if (!ad->settings[k].required && !ad->settings[k].required_when)
			continue;
		if (first)
			hm_buf_printf(out, "%-24s ", "");
		hm_buf_printf(out, "%s%.*s", first ? "needs " : ", ", HM_STRF(ad->settings[k].name));
		first = false;
	}
	if (!first)
		hm_buf_putc(out, '\n');
	hm_buf_printf(out, "%-24s limits ", "");
	put_limits(ad, out);
	hm_buf_putc(out, '\n');
}
