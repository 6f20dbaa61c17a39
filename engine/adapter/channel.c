/*
 * channel.c - a channel: an adapter folded with one account's settings
 *
 * A channel's map holds the adapter's settings beside the options every channel has.
 * Everything that can be wrong with an account without asking the provider is found
 * here, with the line where it stands.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "adapter/jsonscan.h"
#include "adapter/model.h"

#define MAX_FILE (256u << 10)

struct builder {
	struct hm_channel *c;
	struct hm_arena *a;
	const struct hm_yaml *map;
	hm_report_fn report;
	void *arg;
	size_t errors;
};

static void problem(struct builder *b, const struct hm_err *e)
{
	b->errors++;
	if (b->report)
		b->report(b->arg, e);
}

#define fail_at(b, node, ...)                                      \
	do {                                                       \
		struct hm_err e_;                                  \
		hm_err_clear(&e_);                                 \
		hm_yaml_err((node), &e_, HM_ECONFIG, __VA_ARGS__); \
		problem((b), &e_);                                 \
	} while (0)

/* -- values of settings --------------------------------------------------------------- */

static bool read_file(struct builder *b, const struct hm_yaml *y, struct hm_str *text_r)
{
	FILE *f = fopen(y->text.p, "rb");
	char *p;
	size_t n;

	if (f == NULL) {
		fail_at(b, y, "%.*s: cannot read %.*s: %s", HM_STRF(y->key), HM_STRF(y->text),
			strerror(errno));
		return false;
	}
	p = hm_arena_alloc(b->a, MAX_FILE + 1);
	n = p ? fread(p, 1, MAX_FILE + 1, f) : 0;
	fclose(f);
	if (p == NULL || n > MAX_FILE || n == 0) {
		fail_at(b, y, "%.*s: %.*s %s", HM_STRF(y->key), HM_STRF(y->text),
			n ? "is too large for a key or document" : "is empty");
		return false;
	}
	*text_r = hm_str_n(p, n);
	return true;
}

static bool keep_key(struct builder *b, struct hm_key *k)
{
	if (b->c->n_keys == HM_CHANNEL_MAX_KEYS) {
		hm_key_free(k);
		return false;
	}
	b->c->keys[b->c->n_keys++] = k;
	return true;
}

static int keep_folded_key(void *arg, struct hm_key *k)
{
	return keep_key(arg, k) ? 0 : HM_ELIMIT;
}

static struct hm_val key_value(struct builder *b, const struct hm_yaml *y, struct hm_str text)
{
	struct hm_key *k;
	struct hm_err e;
	char what[64];

	hm_err_clear(&e);
	snprintf(what, sizeof(what), "%.*s", HM_STRF(y->key));
	if (hm_key_parse(text, what, &k, &e) != 0) {
		fail_at(b, y, "%s", e.text);
		return HM_NONE;
	}
	if (!keep_key(b, k)) {
		fail_at(b, y, "%s: more than %d keys", what, HM_CHANNEL_MAX_KEYS);
		return HM_NONE;
	}
	return (struct hm_val){.t = HM_V_KEY, .key = k};
}

static struct hm_val list_value(struct builder *b, const struct hm_yaml *y)
{
	struct hm_val *v;
	uint32_t n = 0;

	if (y->type == HM_YAML_SCALAR) { /* one is a list of one */
		v = hm_arena_alloc(b->a, sizeof(*v));
		if (v == NULL)
			return HM_NONE;
		v[n++] = hm_val_str(y->text);
		return (struct hm_val){.t = HM_V_LIST, .n = n, .list = v};
	}
	if (y->type != HM_YAML_SEQ) {
		fail_at(b, y, "%.*s: expected a list of texts", HM_STRF(y->key));
		return HM_NONE;
	}
	v = hm_arena_alloc(b->a, y->len * sizeof(*v) + 1);
	for (const struct hm_yaml *c = y->first; c && v; c = c->next) {
		if (c->type != HM_YAML_SCALAR || c->text.len == 0)
			fail_at(b, c, "%.*s: expected a text that is not empty", HM_STRF(y->key));
		else
			v[n++] = hm_val_str(c->text);
	}
	return (struct hm_val){.t = HM_V_LIST, .n = v ? n : 0, .list = v};
}

static struct hm_val map_value(struct builder *b, const struct hm_yaml *y)
{
	struct hm_pair *p;
	uint32_t n = 0;

	if (y->type != HM_YAML_MAP) {
		fail_at(b, y, "%.*s: expected a map of names and texts", HM_STRF(y->key));
		return HM_NONE;
	}
	p = hm_arena_alloc(b->a, y->len * sizeof(*p) + 1);
	for (const struct hm_yaml *c = y->first; c && p; c = c->next) {
		if (c->type != HM_YAML_SCALAR)
			fail_at(b, c, "%.*s.%.*s: expected a text", HM_STRF(y->key), HM_STRF(c->key));
		else
			p[n++] = (struct hm_pair){.name = c->key, .v = hm_val_str(c->text)};
	}
	return (struct hm_val){.t = HM_V_MAP, .n = p ? n : 0, .map = p};
}

static bool valid_url(struct builder *b, const struct hm_yaml *y)
{
	struct hm_origin_opts o = {0};
	struct hm_str path;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_wire_parse_url(y->text, &o, &path, &e) == 0)
		return true;
	fail_at(b, y, "%.*s: %s", HM_STRF(y->key), e.text);
	return false;
}

static struct hm_val scalar_value(struct builder *b, const struct hm_yaml *y, const struct hm_setting_decl *d)
{
	struct hm_err e;
	struct hm_str s;
	uint64_t ms;
	int64_t i;
	bool yes;

	hm_err_clear(&e);
	switch (d->kind) {
	case HM_SET_K_INT:
		if (hm_yaml_i64(y, d->min, d->max, &i, &e) == 0)
			return hm_val_int(i);
		break;
	case HM_SET_K_BOOL:
		if (hm_yaml_bool(y, &yes, &e) == 0)
			return hm_val_bool(yes);
		break;
	case HM_SET_K_DURATION:
		if (hm_yaml_duration(y, &ms, &e) == 0)
			return hm_val_int((int64_t)ms);
		break;
	default:
		if (hm_yaml_str(y, &s, &e) != 0)
			break;
		if (d->kind == HM_SET_K_URL && s.len && !valid_url(b, y))
			return HM_NONE;
		if (d->kind == HM_SET_K_ENUM) {
			for (uint32_t k = 0; k < d->n_choices; k++)
				if (hm_str_eq(d->choices[k], s))
					return hm_val_str(s);
			fail_at(b, y,
				"%.*s: \"%.*s\" is not one of its values, the first of which is \"%.*s\"",
				HM_STRF(d->name), HM_STRF(s), HM_STRF(d->choices[0]));
			return HM_NONE;
		}
		return hm_val_given(s);
	}
	problem(b, &e);
	return HM_NONE;
}

/* NAME or NAME_file for keys and documents. */
static struct hm_val text_or_file(struct builder *b, const struct hm_setting_decl *d,
				  const struct hm_yaml **at_r)
{
	char file_name[128];
	const struct hm_yaml *y = hm_yaml_get(b->map, d->name.p), *f;
	struct hm_str text;

	snprintf(file_name, sizeof(file_name), "%.*s_file", HM_STRF(d->name));
	f = hm_yaml_get(b->map, file_name);
	if (y && f) {
		fail_at(b, f, "either %.*s or %s, not both", HM_STRF(d->name), file_name);
		return HM_NONE;
	}
	*at_r = y ? y : f;
	if (*at_r == NULL)
		return HM_NONE;
	if ((*at_r)->type != HM_YAML_SCALAR || (*at_r)->text.len == 0) {
		fail_at(b, *at_r, "%.*s: expected a text", HM_STRF((*at_r)->key));
		return HM_NONE;
	}
	text = (*at_r)->text;
	if (f && !read_file(b, f, &text))
		return HM_NONE;
	if (d->kind == HM_SET_K_KEY)
		return key_value(b, *at_r, text);
	if (!hm_json_check(text)) {
		fail_at(b, *at_r, "%.*s: not a JSON document", HM_STRF((*at_r)->key));
		return HM_NONE;
	}
	return hm_val_of_json(text, b->a);
}

static void load_value(struct builder *b, uint32_t i)
{
	const struct hm_setting_decl *d = &b->c->ad->settings[i];
	const struct hm_yaml *y = hm_yaml_get(b->map, d->name.p);
	struct hm_val *v = &b->c->settings[i];

	*v = HM_NONE;
	if (d->kind == HM_SET_K_KEY || d->kind == HM_SET_K_JSON) {
		y = NULL;
		*v = text_or_file(b, d, &y);
	} else if (y != NULL && y->type != HM_YAML_NULL) {
		if (d->kind == HM_SET_K_LIST)
			*v = list_value(b, y);
		else if (d->kind == HM_SET_K_MAP)
			*v = map_value(b, y);
		else
			*v = scalar_value(b, y, d);
	} else {
		y = NULL;
	}
	if (y == NULL)
		*v = d->def;
	if (y == NULL && d->required && v->t == HM_V_NONE)
		fail_at(b, b->map, "channel %.*s: %.*s is missing: %.*s", HM_STRF(b->c->info.name),
			HM_STRF(d->name), HM_STRF(d->doc));
}

static void check_required_when(struct builder *b, struct hm_eval *ev)
{
	for (uint32_t i = 0; i < b->c->ad->n_settings; i++) {
		const struct hm_setting_decl *d = &b->c->ad->settings[i];
		struct hm_val v;

		if (d->required_when == NULL || b->c->settings[i].t != HM_V_NONE)
			continue;
		v = hm_eval(ev, d->required_when);
		if (hm_val_true(&v))
			fail_at(b, b->map, "channel %.*s: %.*s is missing: %.*s", HM_STRF(b->c->info.name),
				HM_STRF(d->name), HM_STRF(d->doc));
	}
}

static const char *const common[] = {"adapter",	       "endpoint",	 "timeout",	   "max_attempts",
				     "resend_unknown", "rate",		 "burst",	   "concurrency",
				     "batch",	       "title",		 "breaker",	   "cost",
				     "per_recipient",  "callback_token", "retry_schedule", NULL};

static void check_known(struct builder *b)
{
	const struct hm_adapter *ad = b->c->ad;
	const char **keys = hm_arena_zalloc(b->a,
					    (hm_countof(common) + 2 * ad->n_settings + 1) * sizeof(*keys));
	size_t n = 0;
	struct hm_err e;

	if (keys == NULL)
		return;
	for (size_t i = 0; common[i]; i++)
		keys[n++] = common[i];
	for (uint32_t i = 0; i < ad->n_settings; i++) {
		keys[n++] = hm_arena_strdup(b->a, ad->settings[i].name);
		if (ad->settings[i].kind == HM_SET_K_KEY || ad->settings[i].kind == HM_SET_K_JSON)
			keys[n++] = hm_arena_printf(b->a, "%.*s_file", HM_STRF(ad->settings[i].name)).p;
		if (keys[n - 1] == NULL)
			return;
	}
	hm_err_clear(&e);
	if (hm_yaml_known(b->map, keys, &e) != 0) {
		hm_err_wrap(&e, "channel %.*s", HM_STRF(b->c->info.name));
		problem(b, &e);
	}
}

/* -- options every channel has ------------------------------------------------------------ */

/* "0.5" as 1 in twice the time: a bucket counts whole requests. */
static bool whole_of(struct hm_str s, uint64_t *n_r, uint64_t *times_r)
{
	ptrdiff_t dot = hm_str_chr(s, '.');
	uint64_t whole, frac = 0, times = 1, n;

	if (!hm_str_u64(dot < 0 ? s : hm_str_n(s.p, (size_t)dot), &whole) || whole > 1000000000)
		return false;
	if (dot >= 0) {
		struct hm_str rest = hm_str_n(s.p + dot + 1, s.len - (size_t)dot - 1);

		if (rest.len == 0 || rest.len > 3 || !hm_str_u64(rest, &frac))
			return false;
		for (size_t i = 0; i < rest.len; i++)
			times *= 10;
	}
	n = whole * times + frac;
	for (uint64_t p = 2; p <= 5; p += 3)
		while (times % p == 0 && n % p == 0) {
			n /= p;
			times /= p;
		}
	*n_r = n;
	*times_r = times;
	return n > 0 && n <= 1000000000;
}

/* "500/s" "600/min" "10000/h" "1000/day" "5/2s" */
static bool parse_quota(struct hm_str s, struct hm_quota *q)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"s", 1000},     {"sec", 1000},	 {"second", 1000}, {"m", 60000},
		     {"min", 60000},  {"minute", 60000}, {"h", 3600000},   {"hour", 3600000},
		     {"d", 86400000}, {"day", 86400000}};
	ptrdiff_t slash = hm_str_chr(s, '/');
	struct hm_str per;
	uint64_t n, times;

	if (slash <= 0)
		return false;
	per = hm_str_trim(hm_str_n(s.p + slash + 1, s.len - (size_t)slash - 1));
	if (!whole_of(hm_str_trim(hm_str_n(s.p, (size_t)slash)), &n, &times))
		return false;
	*q = (struct hm_quota){.max = (uint32_t)n};
	for (size_t i = 0; i < hm_countof(units); i++)
		if (hm_str_is(per, units[i].name))
			q->window_ms = units[i].ms;
	if (q->window_ms == 0 && !hm_str_duration_ms(per, &q->window_ms))
		return false;
	q->window_ms *= times;
	return q->window_ms >= 10 && q->window_ms <= 31 * 86400000ull;
}

/* Of one window the smaller counts. */
static bool add_quota(struct hm_quotas *to, const struct hm_quota *q)
{
	for (uint32_t i = 0; i < to->n; i++)
		if (to->v[i].window_ms == q->window_ms) {
			to->v[i].max = hm_min(to->v[i].max, q->max);
			return true;
		}
	if (to->n == HM_QUOTAS_MAX)
		return false;
	to->v[to->n++] = *q;
	return true;
}

static void load_quota_text(struct builder *b, const struct hm_yaml *y, const char *key, struct hm_quotas *to)
{
	struct hm_str rest = y->text, part;
	struct hm_quota q;

	while (hm_str_split(&rest, ',', &part)) {
		if (!parse_quota(hm_str_trim(part), &q)) {
			fail_at(b, y,
				"%s: expected a number per second, minute, hour or day, such as 500/s, "
				"20/min, 1000/day or "
				"5/2s",
				key);
			return;
		}
		if (!add_quota(to, &q)) {
			fail_at(b, y, "%s: more than %d windows", key, HM_QUOTAS_MAX);
			return;
		}
	}
}

/* One, several in a text or a list, or off; replaces what the adapter declares. */
static void load_quotas(struct builder *b, const char *key, struct hm_quotas *to)
{
	const struct hm_yaml *y = hm_yaml_get(b->map, key);

	if (y == NULL)
		return;
	to->n = 0;
	if (y->type == HM_YAML_SCALAR && (hm_str_is(y->text, "off") || hm_str_is(y->text, "none")))
		return;
	if (y->type == HM_YAML_SCALAR && y->text.len > 0) {
		load_quota_text(b, y, key, to);
		return;
	}
	if (y->type != HM_YAML_SEQ || y->len == 0) {
		fail_at(b, y, "%s: expected a rate such as 500/s, a list such as [20/min, 1000/day], or off",
			key);
		return;
	}
	for (const struct hm_yaml *c = y->first; c; c = c->next) {
		if (c->type == HM_YAML_SCALAR && c->text.len > 0)
			load_quota_text(b, c, key, to);
		else
			fail_at(b, c, "%s: expected a rate such as 20/min", key);
	}
}

static void load_part(struct builder *b, const struct hm_yaml *map, const char *key, uint64_t min,
		      uint64_t max, bool is_duration, int64_t *v)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_err e;
	uint64_t ms;

	if (y == NULL)
		return;
	hm_err_clear(&e);
	if (!is_duration) {
		if (hm_yaml_i64(y, (int64_t)min, (int64_t)max, v, &e) != 0)
			problem(b, &e);
	} else if (hm_yaml_duration(y, &ms, &e) != 0) {
		problem(b, &e);
	} else if (ms < min || ms > max) {
		fail_at(b, y, "breaker.%s: expected something between %llums and %llums", key,
			(unsigned long long)min, (unsigned long long)max);
	} else {
		*v = (int64_t)ms;
	}
}

/* breaker: off, or a map of what is different from section breaker. */
static void load_breaker(struct builder *b)
{
	static const char *const keys[] = {"share", "min", "window", "latency", "open", NULL};
	struct hm_breaker_conf *c = &b->c->info.breaker;
	const struct hm_yaml *y = hm_yaml_get(b->map, "breaker");
	struct hm_err e;

	*c = (struct hm_breaker_conf){-1, -1, -1, -1, -1};
	if (y == NULL)
		return;
	if (y->type == HM_YAML_SCALAR &&
	    (hm_str_is(y->text, "off") || hm_str_is(y->text, "no") || hm_str_is(y->text, "false"))) {
		c->share = c->latency_ms = 0;
		return;
	}
	hm_err_clear(&e);
	if (y->type != HM_YAML_MAP) {
		fail_at(b, y, "breaker: expected off, or a map such as {share: 30, open: 10s}");
		return;
	}
	if (hm_yaml_known(y, keys, &e) != 0)
		problem(b, &e);
	load_part(b, y, "share", 0, 100, false, &c->share);
	load_part(b, y, "min", 1, 1000000, false, &c->min);
	load_part(b, y, "window", 100, 600000, true, &c->window_ms);
	load_part(b, y, "latency", 0, 600000, true, &c->latency_ms);
	load_part(b, y, "open", 10, 3600000, true, &c->open_ms);
}

static void load_int(struct builder *b, const char *key, int64_t min, int64_t max, uint32_t *v)
{
	const struct hm_yaml *y = hm_yaml_get(b->map, key);
	struct hm_err e;
	int64_t i;

	hm_err_clear(&e);
	if (y == NULL)
		return;
	if (hm_yaml_i64(y, min, max, &i, &e) != 0)
		problem(b, &e);
	else
		*v = (uint32_t)i;
}

static void load_rates(struct builder *b)
{
	struct hm_channel_info *info = &b->c->info;
	uint32_t burst = 0;

	for (uint32_t i = 0; i < b->c->ad->n_rates; i++) {
		const struct hm_rate *r = &b->c->ad->rates[i];
		struct hm_quota q = {.max = r->max, .window_ms = r->window_ms};

		if (!add_quota(r->per == HM_SCOPE_RECIPIENT ? &info->recipient : &info->rate, &q))
			fail_at(b, b->map, "rates: more than %d windows in the adapter", HM_QUOTAS_MAX);
	}
	load_quotas(b, "rate", &info->rate);
	load_quotas(b, "per_recipient", &info->recipient);
	load_int(b, "burst", 1, 1000000000, &burst);
	for (uint32_t i = 0; burst > 0 && i < info->rate.n; i++)
		info->rate.v[i].burst = burst;
}

/* Where the provider reports to; with a callback_token that is part of the address. */
static void load_callbacks(struct builder *b)
{
	const struct hm_yaml *y = hm_yaml_get(b->map, "callback_token");
	struct hm_channel *c = b->c;
	struct hm_err e;
	struct hm_buf u;

	hm_err_clear(&e);
	if (y != NULL && hm_yaml_str(y, &c->callback_token, &e) != 0)
		problem(b, &e);
	else if (y != NULL && (c->callback_token.len < 16 || c->callback_token.len > 200))
		fail_at(b, y, "callback_token: expected 16 to 200 characters that nobody guesses");
	if (c->set->public_url.len == 0 || !c->ad->receipts.push.present)
		return;
	hm_buf_init_arena(&u, b->a, 4096);
	hm_buf_puts(&u, c->set->public_url);
	hm_buf_lit(&u, "/v1/callbacks/");
	hm_buf_percent(&u, c->info.name);
	if (c->callback_token.len > 0) {
		hm_buf_lit(&u, "?token=");
		hm_buf_percent(&u, c->callback_token);
	}
	if (u.err == 0)
		c->callback_url = hm_buf_str(&u);
}

#define RETRY_WAITS_MAX 30u

/* retry_schedule: [5s, 5m, 30m]: these waits instead of growing ones; as many attempts as it says, and the first. */
static void load_retry_schedule(struct builder *b)
{
	struct hm_channel_info *info = &b->c->info;
	const struct hm_yaml *y = hm_yaml_get(b->map, "retry_schedule"), *one;
	uint64_t *waits;
	struct hm_err e;

	if (y == NULL)
		return;
	if (y->type != HM_YAML_SEQ || y->len == 0 || y->len > RETRY_WAITS_MAX) {
		fail_at(b, y, "retry_schedule: expected a list of 1 to %u waits such as [5s, 5m, 30m]",
			RETRY_WAITS_MAX);
		return;
	}
	waits = hm_arena_alloc(b->a, y->len * sizeof(*waits));
	if (waits == NULL)
		return;
	hm_err_clear(&e);
	for (one = y->first; one; one = one->next) {
		uint64_t *ms = &waits[info->n_retry_waits++];

		*ms = 0;
		if (hm_yaml_duration(one, ms, &e) != 0)
			problem(b, &e);
		else if (*ms == 0 || *ms > 7 * 86400000ull)
			fail_at(b, one, "retry_schedule: expected waits between 1ms and 7d");
	}
	info->retry_waits_ms = waits;
	if (info->max_attempts == 0)
		info->max_attempts = info->n_retry_waits + 1;
}

static void load_common(struct builder *b)
{
	struct hm_channel_info *info = &b->c->info;
	const struct hm_yaml *y;
	struct hm_err e;
	uint64_t ms;

	hm_err_clear(&e);
	info->timeout_ms = (uint32_t)b->c->ad->timeout_ms;
	if ((y = hm_yaml_get(b->map, "timeout"))) {
		if (hm_yaml_duration(y, &ms, &e) != 0)
			problem(b, &e);
		else if (ms == 0 || ms > 600000)
			fail_at(b, y, "timeout: expected something between 1ms and 10m");
		else
			info->timeout_ms = (uint32_t)ms;
	}
	/* Losing a message is worse than repeating it, except where each one costs money or rings a phone. */
	info->resend_unknown = info->medium != HM_MED_SMS && info->medium != HM_MED_VOICE;
	if ((y = hm_yaml_get(b->map, "resend_unknown")) && hm_yaml_bool(y, &info->resend_unknown, &e) != 0)
		problem(b, &e);
	load_int(b, "max_attempts", 1, 100, &info->max_attempts);
	load_retry_schedule(b);
	load_int(b, "concurrency", 1, 1000000, &info->max_concurrency);
	load_rates(b);
	load_breaker(b);
	load_callbacks(b);
}

static bool origin_str(struct builder *b, const struct hm_yaml *map, const char *key, struct hm_str *v)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_err e;

	hm_err_clear(&e);
	if (y == NULL)
		return false;
	if (hm_yaml_str(y, v, &e) != 0)
		problem(b, &e);
	return true;
}

/* endpoint: where calls go when not to the provider itself (tests, gateways, proxies). */
static struct hm_str load_endpoint(struct builder *b, struct hm_str url)
{
	static const char *const keys[] = {"url",	"http",		"verify",	   "ca_file",
					   "cert_file", "key_file",	"server_name",	   "connect_to",
					   "proxy",	"deny_private", "max_connections", "max_streams",
					   NULL};
	static const char *const versions[] = {"auto", "1.1", "2", "h2c", NULL};
	static const enum hm_http_version version_of[] = {HM_HTTP_AUTO, HM_HTTP_1, HM_HTTP_2,
							  HM_HTTP_2_PRIOR};
	const struct hm_yaml *map = hm_yaml_get(b->map, "endpoint"), *y;
	struct hm_origin_opts *o = &b->c->info.origin;
	struct hm_err e;
	int64_t n;

	if (map == NULL)
		return url;
	hm_err_clear(&e);
	if (map->type != HM_YAML_MAP) {
		fail_at(b, map,
			"endpoint: expected a map such as {url: https://127.0.0.1:8443, ca_file: ca.pem}");
		return url;
	}
	if (hm_yaml_known(map, keys, &e) != 0)
		problem(b, &e);
	origin_str(b, map, "url", &url);
	origin_str(b, map, "ca_file", &o->ca_file);
	origin_str(b, map, "cert_file", &o->cert_file);
	origin_str(b, map, "key_file", &o->key_file);
	origin_str(b, map, "server_name", &o->server_name);
	origin_str(b, map, "connect_to", &o->connect_to);
	origin_str(b, map, "proxy", &o->proxy);
	if ((y = hm_yaml_get(map, "verify")) && hm_yaml_bool(y, &o->verify, &e) != 0)
		problem(b, &e);
	if ((y = hm_yaml_get(map, "deny_private")) && hm_yaml_bool(y, &o->deny_private, &e) != 0)
		problem(b, &e);
	if ((y = hm_yaml_get(map, "max_connections"))) {
		if (hm_yaml_i64(y, 1, 10000, &n, &e) != 0)
			problem(b, &e);
		else
			o->max_connections = (uint32_t)n;
	}
	if ((y = hm_yaml_get(map, "max_streams"))) {
		if (hm_yaml_i64(y, 1, 100000, &n, &e) != 0)
			problem(b, &e);
		else
			o->max_streams = (uint32_t)n;
	}
	if ((y = hm_yaml_get(map, "http"))) {
		int i = 0;

		while (versions[i] && !(y->type == HM_YAML_SCALAR && hm_str_is(y->text, versions[i])))
			i++;
		if (versions[i])
			o->version = version_of[i];
		else
			fail_at(b, y, "endpoint.http: expected auto, 1.1, 2 or h2c");
	}
	return url;
}

/* -- folding --------------------------------------------------------------------------------- */

/* A failure while folding is about this channel's values: say which channel, and where its map stands. */
static void fold_failed(struct builder *b, struct hm_eval *ev, const char *what)
{
	fail_at(b, b->map, "channel %.*s: %s: %s", HM_STRF(b->c->info.name), what,
		ev->err->text[0] ? ev->err->text : "out of memory");
	ev->rc = 0;
	hm_err_clear(ev->err);
}

static struct hm_expr **fold_lets(struct builder *b, struct hm_eval *ev, const struct hm_lets *lets)
{
	struct hm_expr **v = hm_arena_zalloc(b->a, (lets->n + 1) * sizeof(*v));

	if (v == NULL)
		return NULL;
	ev->let = v;
	for (uint32_t i = 0; i < lets->n; i++) {
		ev->n_lets = i; /* sees only those before it */
		v[i] = hm_expr_fold(ev, b->a, lets->e[i]);
		if (v[i] == NULL) {
			char what[80];

			snprintf(what, sizeof(what), "let %.*s", HM_STRF(lets->names[i]));
			fold_failed(b, ev, what);
			return NULL;
		}
	}
	ev->n_lets = lets->n;
	return v;
}

static bool constant_bool(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val v;

	if (e == NULL)
		return false;
	v = hm_eval(ev, e);
	return hm_val_true(&v);
}

static struct hm_str constant_text(struct hm_eval *ev, const struct hm_tpl *t)
{
	struct hm_val v;

	if (t == NULL)
		return HM_STR("");
	v = hm_eval_tpl(ev, t);
	return hm_val_text(&v, ev->a);
}

/* Paths of origin options become C strings further down. */
static struct hm_str terminated(struct hm_arena *a, struct hm_str s)
{
	return s.len ? hm_str_n(hm_arena_strdup(a, s), s.len) : HM_STR("");
}

/* What logs in, as wire.h wants it: "name\0value\0"... in the order of the file; values that are absent are left out. */
static struct hm_str session_pairs(struct builder *b, struct hm_eval *ev, const struct hm_tree *t)
{
	struct hm_val pairs;
	struct hm_buf out;

	if (t == NULL)
		return HM_STR("");
	pairs = hm_tree_pairs(ev, t);
	hm_buf_init_arena(&out, b->a, 64u << 10);
	for (uint32_t i = 0; ev->rc == 0 && i < pairs.n; i++) {
		struct hm_str v = hm_val_text(&pairs.map[i].v, b->a);

		if (hm_str_chr(v, '\0') >= 0)
			ev->rc = hm_err_set(ev->err, HM_ECONFIG, "%.*s holds a NUL",
					    HM_STRF(pairs.map[i].name));
		hm_buf_puts(&out, pairs.map[i].name);
		hm_buf_putc(&out, '\0');
		hm_buf_puts(&out, v);
		hm_buf_putc(&out, '\0');
	}
	return out.len ? hm_buf_str(&out) : HM_STR("");
}

static void fold_origin(struct builder *b, struct hm_eval *ev)
{
	const struct hm_adapter *ad = b->c->ad;
	struct hm_channel *c = b->c;
	struct hm_origin_opts *o = &c->info.origin;
	struct hm_str url = constant_text(ev, ad->url), path;
	struct hm_err e;

	*o = (struct hm_origin_opts){.tls = true,
				     .verify = true,
				     .version = ad->version,
				     .max_connections = ad->max_connections,
				     .max_streams = ad->max_streams};
	o->cert_file = terminated(b->a, constant_text(ev, ad->client_cert));
	o->key_file = terminated(b->a, constant_text(ev, ad->client_key));
	o->deny_private = constant_bool(ev, ad->deny_private);
	c->https_only = constant_bool(ev, ad->https_only);
	c->info.recipient_is_url = constant_bool(ev, ad->recipient_is_url);
	if (ev->rc) {
		fold_failed(b, ev, "endpoint");
		return;
	}
	url = load_endpoint(b, url);
	if (c->info.recipient_is_url) {
		c->scheme = HM_STR("https");
		return;
	}
	hm_err_clear(&e);
	if (url.len == 0 || hm_wire_parse_endpoint(url, o, &path, &e) != 0) {
		fail_at(b, b->map, "channel %.*s: endpoint.url: %s", HM_STRF(c->info.name),
			url.len ? e.text : "there is none; set endpoint: {url: https://...}");
		return;
	}
	/* A trailing slash of the base would double the first one of the path. */
	if (ad->send.path != NULL && hm_str_ends(path, HM_STR("/")))
		path.len--;
	c->base_path = hm_arena_str(b->a, path);
	o->host = terminated(b->a, o->host);
	c->scheme = hm_arena_printf(b->a, "%s%s", hm_protocol_name(o->protocol), o->tls ? "s" : "");
	o->session = o->protocol != HM_PROTO_HTTP ? session_pairs(b, ev, ad->session) : HM_STR("");
	if (ev->rc) {
		fold_failed(b, ev, "endpoint.session");
		return;
	}
	if (hm_str_chr(o->host, ':') >= 0) /* an IPv6 address */
		c->host = hm_arena_printf(b->a, "[%.*s]:%u", HM_STRF(o->host), o->port);
	else
		c->host = o->port == (o->tls ? 443 : 80)
				  ? o->host
				  : hm_arena_printf(b->a, "%.*s:%u", HM_STRF(o->host), o->port);
	if (c->https_only && !o->tls)
		fail_at(b, b->map, "channel %.*s: the endpoint must begin with https://",
			HM_STRF(c->info.name));
}

/* Dialect and places, known now or when there is a message. */
static int fold_text(struct hm_eval *ev, struct hm_arena *a, const struct hm_variant *from,
		     struct hm_variant *form)
{
	struct hm_val v;
	int place;

	form->dialect = from->dialect;
	form->dialect_tpl = NULL;
	if (from->dialect_tpl != NULL) {
		form->dialect_tpl = hm_tpl_fold(ev, a, from->dialect_tpl);
		if (form->dialect_tpl == NULL)
			return ev->rc;
		if (hm_tpl_const(form->dialect_tpl, &v)) {
			form->dialect = hm_dialect_find(hm_val_text(&v, a));
			form->dialect_tpl = NULL;
			if (form->dialect == NULL)
				return hm_err_set(ev->err, HM_ECONFIG, "there is no dialect \"%.*s\"",
						  HM_STRF(hm_val_text(&v, a)));
		}
	}
	form->link_text = from->link_text ? hm_tpl_fold(ev, a, from->link_text) : NULL;
	form->places = form->into_body = false;
	for (int i = 0; i < HM_PLACED_COUNT; i++) {
		form->place[i] = NULL;
		form->place_of[i] = from->place_of[i];
		form->into_body |= form->place_of[i] == HM_PLACE_BODY;
		if (from->place[i] == NULL)
			continue;
		form->place[i] = hm_tpl_fold(ev, a, from->place[i]);
		if (form->place[i] == NULL)
			return ev->rc;
		if (!hm_tpl_const(form->place[i], &v)) {
			form->places = form->into_body = true;
			continue;
		}
		form->place[i] = NULL;
		place = hm_place_find(hm_val_text(&v, a));
		if (place < 0)
			return hm_err_set(ev->err, HM_ECONFIG, "text: \"%.*s\": expected %s",
					  HM_STRF(hm_val_text(&v, a)), hm_place_words);
		form->place_of[i] = (enum hm_place_of)place;
		form->into_body |= place == HM_PLACE_BODY;
	}
	return ev->rc;
}

static bool never(const struct hm_expr *e)
{
	return e != NULL && e->op == HM_EX_CONST && !hm_val_true(&e->k);
}

/* Limits and checks that cannot apply are left out. */
static int fold_limits(struct hm_eval *ev, struct hm_arena *a, const struct hm_variant *from,
		       struct hm_variant *form)
{
	form->limits = hm_arena_zalloc(a, (from->n_limits + 1) * sizeof(*form->limits));
	form->checks = hm_arena_zalloc(a, (from->n_checks + 1) * sizeof(*form->checks));
	form->n_limits = form->n_checks = 0;
	if (form->limits == NULL || form->checks == NULL)
		return hm_err_set(ev->err, HM_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < from->n_limits && ev->rc == 0; i++) {
		struct hm_limit *lim = &form->limits[form->n_limits];

		*lim = from->limits[i];
		lim->max = hm_expr_fold(ev, a, from->limits[i].max);
		if (from->limits[i].when)
			lim->when = hm_expr_truth(hm_expr_fold(ev, a, from->limits[i].when));
		if (from->limits[i].beside)
			lim->beside = hm_expr_fold(ev, a, from->limits[i].beside);
		form->n_limits += !never(lim->when);
	}
	for (uint32_t i = 0; i < from->n_checks && ev->rc == 0; i++) {
		struct hm_check *k = &form->checks[form->n_checks];

		*k = from->checks[i];
		k->when = hm_expr_truth(hm_expr_fold(ev, a, from->checks[i].when));
		k->say = hm_tpl_fold(ev, a, from->checks[i].say);
		form->n_checks += !never(k->when);
	}
	if (from->payload_bytes && ev->rc == 0)
		form->payload_bytes = hm_expr_fold(ev, a, from->payload_bytes);
	return ev->rc ? ev->rc : fold_text(ev, a, from, form);
}

static int fold_prepare(struct hm_eval *ev, struct hm_arena *a, const struct hm_variant *from,
			struct hm_variant *form)
{
	if (from->prepare_key == NULL)
		return 0;
	form->prepare_key = hm_tpl_fold(ev, a, from->prepare_key);
	form->prepare_when = from->prepare_when ? hm_expr_truth(hm_expr_fold(ev, a, from->prepare_when))
						: NULL;
	return ev->rc ? ev->rc : hm_request_fold(ev, a, &from->prepare, &form->prepare);
}

/* Folds a form further, for the options in ev. */
static int specialise(struct hm_eval *ev, struct hm_arena *a, const struct hm_variant *from,
		      struct hm_variant *form)
{
	int rc;

	form->let = hm_arena_zalloc(a, (from->n_lets + 1) * sizeof(*form->let));
	if (form->let == NULL)
		return hm_err_set(ev->err, HM_ENOMEM, "out of memory");
	ev->let = form->let;
	for (uint32_t i = 0; i < from->n_lets; i++) {
		ev->n_lets = i;
		form->let[i] = hm_expr_fold(ev, a, from->let[i]);
		if (form->let[i] == NULL)
			return ev->rc ? ev->rc : HM_ENOMEM;
	}
	ev->n_lets = form->n_lets = from->n_lets;
	rc = fold_limits(ev, a, from, form);
	if (rc == 0)
		rc = fold_prepare(ev, a, from, form);
	return rc ? rc : hm_request_fold(ev, a, &from->send, &form->send);
}

static struct hm_variant *variant_new(const struct hm_channel *c, uint64_t present)
{
	struct hm_variant *form = calloc(1, sizeof(*form));
	struct hm_eval ev;
	struct hm_err e;

	if (form == NULL)
		return NULL;
	form->own = calloc(1, sizeof(*form->own));
	if (form->own == NULL) {
		free(form);
		return NULL;
	}
	hm_err_clear(&e);
	hm_arena_init(form->own, NULL, 16u << 20);
	hm_eval_channel(&ev, c, form->own, 0, &e);
	ev.know_options = true;
	ev.present = form->present = present;
	if (specialise(&ev, form->own, &c->full, form) == 0)
		return form;
	hm_arena_fini(form->own);
	free(form->own);
	free(form);
	return NULL;
}

static const struct hm_variant *variant_find(const struct hm_variants *m, uint64_t present)
{
	uint32_t n = __atomic_load_n(&m->n, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n; i++)
		if (m->v[i]->present == present)
			return m->v[i];
	return NULL;
}

const struct hm_variant *hm_channel_variant(const struct hm_channel *c, uint64_t present)
{
	struct hm_variants *m = c->more;
	const struct hm_variant *form = variant_find(m, present);
	struct hm_variant *made;

	if (hm_likely(form != NULL))
		return form;
	/* A shard never waits for another one's folding; the full form does until then. */
	if (__atomic_load_n(&m->n, __ATOMIC_RELAXED) == HM_CHANNEL_MAX_VARIANTS ||
	    pthread_mutex_trylock(&m->lock) != 0)
		return &c->full;
	form = variant_find(m, present);
	if (form == NULL && m->n < HM_CHANNEL_MAX_VARIANTS && (made = variant_new(c, present)) != NULL) {
		m->v[m->n] = made;
		__atomic_store_n(&m->n, m->n + 1, __ATOMIC_RELEASE);
		form = made;
	}
	pthread_mutex_unlock(&m->lock);
	return form ? form : &c->full;
}

static void fold_jwt(struct builder *b, struct hm_eval *ev)
{
	const struct hm_credential *cr = &b->c->ad->cred;
	struct hm_channel *c = b->c;
	struct hm_str alg = constant_text(ev, cr->alg);
	struct hm_val key;

	c->alg = hm_sig_alg_find(alg);
	if (c->alg == HM_SIG_NONE)
		fail_at(b, b->map,
			"channel %.*s: \"%.*s\" is no signature algorithm (ES256, RS256, PS256, HS256, "
			"EdDSA)",
			HM_STRF(c->info.name), HM_STRF(alg));
	c->jwt_key = hm_expr_fold(ev, b->a, cr->jwt_key);
	c->jwt_header = hm_tree_fold(ev, b->a, cr->jwt_header);
	c->jwt_claims = hm_tree_fold(ev, b->a, cr->jwt_claims);
	if (ev->rc || c->jwt_key == NULL || c->jwt_header == NULL || c->jwt_claims == NULL)
		return;
	key = c->jwt_key->k;
	if (c->jwt_key->op != HM_EX_CONST || key.t == HM_V_NONE) {
		fail_at(b, b->map, "channel %.*s: the credential has no key", HM_STRF(c->info.name));
	} else if (c->alg != HM_SIG_HS256) {
		if (key.t == HM_V_STR) { /* a PEM inside a service-account document */
			struct hm_key *k;
			struct hm_err e;

			hm_err_clear(&e);
			if (hm_key_parse(key.s, "the private key", &k, &e) != 0) {
				fail_at(b, b->map, "channel %.*s: %s", HM_STRF(c->info.name), e.text);
				return;
			}
			if (!keep_key(b, k))
				return;
			c->jwt_key->k = key = (struct hm_val){.t = HM_V_KEY, .key = k};
		}
		if (key.t != HM_V_KEY || !hm_key_fits(key.key, c->alg))
			fail_at(b, b->map,
				"channel %.*s: the private key does not fit %s (a key of another kind?)",
				HM_STRF(c->info.name), hm_sig_alg_name(c->alg));
	}
	c->cred_jwt = true;
}

/* Every process with this channel can make it, and nobody who only reads Redis. */
static bool seal_key(struct hm_channel *c)
{
	static const char about[] = "hermod shared credential 1";
	uint8_t part[HM_MD_MAX];
	struct hm_buf b;
	bool ok;

	hm_buf_init(&b, 16 << 20);
	hm_buf_put(&b, about, sizeof(about));
	hm_buf_puts(&b, c->cred_key);
	for (uint32_t i = 0; i < c->ad->n_settings; i++) {
		const struct hm_val *v = &c->settings[i];
		struct hm_str s = v->t == HM_V_STR || v->t == HM_V_JSON ? v->s : HM_STR("");

		if (!c->ad->cred.uses[i] || !c->ad->settings[i].secret)
			continue;
		if (v->t == HM_V_KEY && hm_key_digest(v->key, part))
			s = hm_str_n((const char *)part, 32);
		hm_buf_printf(&b, "\n%.*s %zu ", HM_STRF(c->ad->settings[i].name), s.len);
		hm_buf_puts(&b, s);
	}
	ok = b.err == 0 && hm_digest(HM_MD_SHA256, hm_buf_str(&b), part) == sizeof(c->seal);
	if (ok)
		memcpy(c->seal, part, sizeof(c->seal));
	if (b.p)
		explicit_bzero(b.p, b.len);
	hm_buf_fini(&b);
	return ok;
}

static void fold_credential(struct builder *b, struct hm_eval *ev)
{
	const struct hm_credential *cr = &b->c->ad->cred;
	struct hm_channel *c = b->c;
	struct hm_str key;

	if (!cr->present || (cr->when && !constant_bool(ev, cr->when)))
		return;
	c->info.needs_credential = true;
	c->cred_let = fold_lets(b, ev, &cr->lets);
	if (c->cred_let == NULL)
		return;
	c->n_cred_lets = cr->lets.n;
	key = constant_text(ev, cr->key);
	c->cred_key = hm_arena_printf(b->a, "%.*s %.*s", HM_STRF(c->ad->name), HM_STRF(key));
	/* A gateway's token is not the provider's: the endpoint is part of what is shared. */
	c->cred_id = hm_hash64(c->cred_key.p, c->cred_key.len, hm_hash64(c->host.p, c->host.len, 0));
	c->first_refresh = constant_text(ev, cr->first_refresh);
	if (!seal_key(c))
		fail_at(b, b->map, "channel %.*s: out of memory", HM_STRF(c->info.name));
	if (cr->jwt)
		fold_jwt(b, ev);
	if (cr->exchange && ev->rc == 0) {
		c->cred_exchange = true;
		hm_request_fold(ev, b->a, &cr->request, &c->token_request);
	}
	if (ev->rc)
		fold_failed(b, ev, "credential");
}

/* The full form from the adapter itself: the only place where settings meet the file. */
static void fold_full(struct builder *b, struct hm_eval *ev)
{
	const struct hm_adapter *ad = b->c->ad;
	struct hm_variant *form = &b->c->full;
	struct hm_variant from = {.n_limits = ad->n_limits,
				  .n_checks = ad->n_checks,
				  .limits = ad->limits,
				  .checks = ad->checks,
				  .payload_bytes = ad->payload_bytes,
				  .dialect = hm_dialect_plain(),
				  .dialect_tpl = ad->dialect,
				  .link_text = ad->link_text,
				  .prepare = ad->prepare.request,
				  .prepare_when = ad->prepare.when,
				  .prepare_key = ad->prepare.key};

	memcpy(from.place, ad->place, sizeof(from.place));
	ev->n_lets = 0;
	form->let = fold_lets(b, ev, &ad->lets);
	if (form->let == NULL)
		return;
	form->n_lets = ad->lets.n;
	if (fold_limits(ev, b->a, &from, form) != 0)
		fold_failed(b, ev, "limits and checks");
	else if (fold_prepare(ev, b->a, &from, form) != 0)
		fold_failed(b, ev, "prepare");
	else if (hm_request_fold(ev, b->a, &ad->send, &form->send) != 0)
		fold_failed(b, ev, "request");
}

static void fold_plain(struct builder *b, struct hm_eval *ev)
{
	ev->know_options = true;
	ev->present = 0;
	if (specialise(ev, b->a, &b->c->full, &b->c->plain) != 0)
		fold_failed(b, ev, "request");
	ev->know_options = false;
}

static void fold_message(struct builder *b, struct hm_eval *ev)
{
	const struct hm_adapter *ad = b->c->ad;
	struct hm_channel *c = b->c;
	struct hm_val v;
	int64_t n;

	c->more = hm_arena_zalloc(b->a, sizeof(*c->more));
	if (c->more == NULL) {
		fail_at(b, b->map, "out of memory");
		return;
	}
	pthread_mutex_init(&c->more->lock, NULL);
	fold_full(b, ev);
	c->info.prepares = ad->prepare.present && !never(c->full.prepare_when);
	if (b->errors == 0)
		fold_plain(b, ev);
	if (b->errors)
		return;
	ev->let = c->full.let;
	ev->n_lets = c->full.n_lets;
	c->info.sample = ad->address.sample;
	c->info.batch_max = 1;
	c->info.batch_max_bytes = ad->batch_max_bytes;
	if (ad->batch_max) {
		v = hm_eval(ev, ad->batch_max);
		if (hm_val_int_of(&v, &n) && n >= 1 && n <= 100000)
			c->info.batch_max = (uint32_t)n;
		else
			fail_at(b, b->map, "channel %.*s: batch.max is not a number of recipients",
				HM_STRF(c->info.name));
	}
	if (c->info.recipient_is_url)
		c->info.batch_max = 1;
	load_int(b, "batch", 1, c->info.batch_max, &c->info.batch_max);
	c->info.dialect = c->full.dialect_tpl ? HM_STR("") : hm_str_c(hm_dialect_name(c->full.dialect));
}

static void fold_pull(struct builder *b, struct hm_eval *ev)
{
	const struct hm_cb_pull *p = &b->c->ad->receipts.pull;

	if (!p->present)
		return;
	b->c->pull_off = p->enabled != NULL && !constant_bool(ev, p->enabled);
	if (hm_request_fold(ev, b->a, &p->request, &b->c->pull_request) != 0)
		fold_failed(b, ev, "receipts.pull.request");
}

/* A document (service account) is secret as a file; its members mostly are not. */
static bool secret_member(struct hm_str name)
{
	return name.len == 0 || hm_str_is(name, "private_key") || hm_str_ends(name, HM_STR("secret")) ||
	       hm_str_ends(name, HM_STR("password")) || hm_str_ends(name, HM_STR("token"));
}

static void collect(struct hm_channel *c, struct hm_arena *a, const struct hm_val *v)
{
	struct hm_str s;

	if (v->t == HM_V_LIST || v->t == HM_V_JSON || v->t == HM_V_MAP) {
		size_t n = hm_val_len(v);

		for (size_t i = 0; i < n && c->n_secrets < 64; i++) {
			struct hm_str name;
			struct hm_val el = hm_val_at(v, i, &name, a);

			if (v->t != HM_V_JSON || secret_member(name))
				collect(c, a, &el);
		}
		return;
	}
	s = hm_val_text(v, a);
	if (s.len >= 6 && c->n_secrets < 64)
		c->secrets[c->n_secrets++] = s;
}

static void collect_secrets(struct builder *b)
{
	struct hm_channel *c = b->c;

	c->secrets = hm_arena_zalloc(b->a, 64 * sizeof(*c->secrets));
	for (uint32_t i = 0; c->secrets && i < c->ad->n_settings; i++)
		if (c->ad->settings[i].secret && c->settings[i].t != HM_V_NONE)
			collect(c, b->a, &c->settings[i]);
}

/* Channels with the same credential at the same place are one account to the provider. */
static uint64_t account_of(const struct hm_channel *c)
{
	uint64_t h = hm_hash64(c->host.p, c->host.len, hm_hash64(c->ad->name.p, c->ad->name.len, 0));

	if (c->info.needs_credential)
		return c->cred_id;
	for (uint32_t i = 0; i < c->n_secrets; i++)
		h = hm_hash64(c->secrets[i].p, c->secrets[i].len, h);
	return c->n_secrets > 0 ? h : 0;
}

struct hm_channel *hm_channel_load(struct hm_channel_set *set, struct hm_str name,
				   const struct hm_adapter *ad, const struct hm_yaml *map,
				   hm_report_fn report, void *arg)
{
	struct hm_channel *c = hm_arena_zalloc(&set->arena, sizeof(*c));
	struct builder b = {.c = c, .a = &set->arena, .map = map, .report = report, .arg = arg};
	struct hm_eval ev;
	struct hm_err e;

	hm_err_clear(&e);
	if (c == NULL) {
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		problem(&b, &e);
		return NULL;
	}
	HM_MAGIC_SET(c, HM_CHANNEL_MAGIC);
	c->set = set;
	c->ad = ad;
	c->info.name = terminated(b.a, name);
	c->info.adapter = ad->name;
	c->info.medium = ad->medium;
	c->info.idempotent = ad->idempotent;
	c->settings = hm_arena_zalloc(b.a, (ad->n_settings + 1) * sizeof(*c->settings));
	check_known(&b);
	for (uint32_t i = 0; c->settings && i < ad->n_settings; i++)
		load_value(&b, i);
	load_common(&b);
	hm_eval_channel(&ev, c, b.a, 0, &e); /* knows the callback's address by now */
	ev.keep_key = keep_folded_key;
	ev.keep_arg = &b;
	if (b.errors == 0)
		check_required_when(&b, &ev);
	if (b.errors == 0) {
		fold_origin(&b, &ev);
		ev.scheme = c->scheme;
		ev.host = c->host;
	}
	if (b.errors == 0)
		fold_message(&b, &ev);
	if (b.errors == 0) {
		ev.n_lets = 0;
		fold_pull(&b, &ev);
		fold_credential(&b, &ev);
	}
	collect_secrets(&b);
	c->info.account = account_of(c);
	if (c->secrets && c->callback_token.len > 0 &&
	    c->n_secrets < 64) /* no credential: behind account_of */
		c->secrets[c->n_secrets++] = c->callback_token;
	if (b.errors) {
		hm_channel_fini(c);
		return NULL;
	}
	return c;
}

void hm_channel_fini(struct hm_channel *c)
{
	HM_CHECK(c, HM_CHANNEL_MAGIC);
	for (uint32_t i = 0; c->more && i < c->more->n; i++) {
		hm_arena_fini(c->more->v[i]->own);
		free(c->more->v[i]->own);
		free(c->more->v[i]);
	}
	if (c->more)
		pthread_mutex_destroy(&c->more->lock);
	c->more = NULL;
	for (uint32_t i = 0; i < c->n_keys; i++)
		hm_key_free(c->keys[i]);
	c->n_keys = 0;
	HM_MAGIC_CLEAR(c);
}

/* -- sets --------------------------------------------------------------------------------------- */

struct hm_channel_set *hm_channel_set_new(struct hm_adapter_set *adapters, size_t n)
{
	struct hm_channel_set *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->v = calloc(n ? n : 1, sizeof(*s->v));
	if (s->v == NULL) {
		free(s);
		return NULL;
	}
	s->refs = 1;
	s->adapters = adapters;
	if (adapters)
		__atomic_add_fetch(&adapters->refs, 1, __ATOMIC_RELAXED);
	hm_arena_init(&s->arena, NULL, 0);
	return s;
}

static const struct hm_adapter *adapter_of(const struct hm_channel_conf *cc, const struct hm_adapter_set *set,
					   hm_report_fn report, void *arg)
{
	const struct hm_adapter *ad = hm_adapter_find(set, cc->adapter);
	const struct hm_yaml *y = hm_yaml_get(cc->node, "adapter");
	const char **names, *near = NULL;
	struct hm_err e;

	if (ad != NULL)
		return ad;
	names = calloc(set->n + 1, sizeof(*names));
	for (size_t i = 0; names && i < set->n; i++)
		names[i] = set->v[i]->name.p;
	if (names)
		near = hm_str_nearest(cc->adapter, names);
	hm_err_clear(&e);
	hm_err_at(&e, HM_ECONFIG, cc->file, y ? y->line : cc->line, y ? y->col : 1,
		  "channel %.*s: there is no adapter \"%.*s\"%s%s%s", HM_STRF(cc->name), HM_STRF(cc->adapter),
		  near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	free(names);
	if (report)
		report(arg, &e);
	return NULL;
}

int hm_channel_set_load(const struct hm_config *cfg, struct hm_adapter_set *set, struct hm_channel_set **r,
			hm_report_fn report, void *arg)
{
	struct hm_channel_set *s = hm_channel_set_new(set, cfg->n_channels);
	size_t errors = 0;

	*r = NULL;
	if (s == NULL)
		return HM_ENOMEM;
	s->public_url = hm_arena_str(&s->arena, cfg->settings.callbacks.public_url);
	while (hm_str_ends(s->public_url, HM_STR("/")))
		s->public_url.len--;
	for (size_t i = 0; i < cfg->n_channels; i++) {
		const struct hm_channel_conf *cc = &cfg->channels[i];
		const struct hm_adapter *ad = adapter_of(cc, set, report, arg);
		struct hm_channel *c = ad ? hm_channel_load(s, cc->name, ad, cc->node, report, arg) : NULL;

		if (c == NULL) {
			errors++;
			continue;
		}
		c->info.index = (uint32_t)s->n;
		s->v[s->n++] = c;
	}
	if (errors) {
		hm_channel_set_unref(s);
		return HM_ECONFIG;
	}
	*r = s;
	return 0;
}

struct hm_channel_set *hm_channel_set_ref(struct hm_channel_set *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void hm_channel_set_unref(struct hm_channel_set *s)
{
	if (s == NULL || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	for (size_t i = 0; i < s->n; i++)
		hm_channel_fini(s->v[i]);
	free(s->v);
	hm_arena_fini(&s->arena);
	hm_adapter_set_unref(s->adapters);
	free(s);
}

struct hm_channel_set *hm_channel_set_of(const struct hm_channel *c)
{
	HM_CHECK(c, HM_CHANNEL_MAGIC);
	return c->set;
}

struct hm_channel *hm_channel_find(const struct hm_channel_set *s, struct hm_str name)
{
	for (size_t i = 0; i < s->n; i++)
		if (hm_str_eq(s->v[i]->info.name, name))
			return s->v[i];
	return NULL;
}

const struct hm_channel_info *hm_channel_info(const struct hm_channel *c)
{
	return &c->info;
}
