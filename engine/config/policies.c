/*
 * policies.c - the sections `caps`, `quiet_hours` and `categories`: what holds messages back
 *
 *   caps:
 *     night-sms: {medium: sms, category: [marketing, news], max: 3, per: 24h, min_gap: 10m, when: defer}
 *   quiet_hours:
 *     night: {medium: [sms, voice], windows: ["22:00-08:00", {days: [sat, sun], from: "21:00", to: "10:00"}]}
 *   categories:
 *     otp: {caps: false, quiet_hours: false}
 *
 * What they mean when a message comes is told in gates/gates.h.
 */
#include "config/config_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/tz.h"

#define LIST_MAX       64
#define CATEGORIES_MAX 256
#define LABEL_MAX      64 /* ingest/job.h */
#define TAGS_MAX       16
#define DAY_MS	       86400000ull
#define LONGEST_MS     (366 * DAY_MS)

static const char *const media[] = {
#define HM_MEDIUM(name, text) text,
#include "tbl/media.h"
#undef HM_MEDIUM
	NULL};
static const char *const lanes[] = {
#define HM_LANE(name, text, weight) text,
#include "tbl/lanes.h"
#undef HM_LANE
	NULL};

/* One rule being read: its kind ("cap"), name and map stand in every sentence. */
struct rule_load {
	struct config_load *l;
	const char *what;
	struct hm_str name;
	const struct hm_yaml *n;
};

static void wrong(struct rule_load *x, const struct hm_yaml *n, const char *fmt, ...) HM_PRINTF(3, 4);
static void wrong(struct rule_load *x, const struct hm_yaml *n, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	config_problem_at(x->l, n, "%s %.*s: %s", x->what, HM_STRF(x->name), text);
}

static void no_such(struct rule_load *x, const struct hm_yaml *n, const char *what, const char *const *names)
{
	const char *near = hm_str_nearest(n->text, names);

	wrong(x, n, "there is no %s \"%.*s\"%s%s%s", what, HM_STRF(n->text), near ? "; did you mean \"" : "",
	      near ? near : "", near ? "\"?" : "");
}

static int place(struct hm_str s, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (hm_str_is(s, names[i]))
			return i;
	return -1;
}

static void *zalloc(struct rule_load *x, size_t n)
{
	void *p = hm_arena_zalloc(&x->l->cfg->arena, n);

	if (p == NULL)
		wrong(x, x->n, "out of memory");
	return p;
}

/* -- texts and lists ------------------------------------------------------------------------------- */

/* A text or a list of texts, as nodes; false when it is neither, and that has been said. */
static bool items(struct rule_load *x, const struct hm_yaml *n, const struct hm_yaml **v, size_t *n_r)
{
	*n_r = 0;
	if (n->type == HM_YAML_SCALAR && n->text.len) {
		v[(*n_r)++] = n;
		return true;
	}
	if (n->type != HM_YAML_SEQ || n->len == 0 || n->len > LIST_MAX)
		goto bad;
	for (const struct hm_yaml *c = n->first; c; c = c->next) {
		if (c->type != HM_YAML_SCALAR || c->text.len == 0)
			goto bad;
		v[(*n_r)++] = c;
	}
	return true;
bad:
	wrong(x, n, "%.*s: expected a text, or a list of 1 to %d", HM_STRF(n->key), LIST_MAX);
	return false;
}

/* Words of a fixed list, as bits. */
static void words(struct rule_load *x, const char *key, const char *what, const char *const *names,
		  uint32_t *mask)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, key), *v[LIST_MAX];
	size_t k;

	if (n == NULL || !items(x, n, v, &k))
		return;
	for (size_t i = 0; i < k; i++) {
		int at = place(v[i]->text, names);

		if (at < 0)
			no_such(x, v[i], what, names);
		else
			*mask |= 1u << at;
	}
}

static void labels(struct rule_load *x, const char *key, struct hm_strs *r)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, key), *v[LIST_MAX];
	struct hm_str *s;
	size_t k;

	if (n == NULL || !items(x, n, v, &k))
		return;
	s = zalloc(x, k * sizeof(*s));
	if (s == NULL)
		return;
	for (size_t i = 0; i < k; i++) {
		s[i] = v[i]->text;
		if (s[i].len > LABEL_MAX)
			wrong(x, v[i], "%s: a message's %s has at most %d bytes", key, key, LABEL_MAX);
	}
	*r = (struct hm_strs){k, s};
}

static void channels(struct rule_load *x, struct hm_strs *r)
{
	const struct hm_config *cfg = x->l->cfg;
	const struct hm_yaml *n = hm_yaml_get(x->n, "channel"), *v[LIST_MAX];
	const char *names[256];
	struct hm_str *s;
	size_t k, n_names = 0;

	if (n == NULL || !items(x, n, v, &k))
		return;
	while (n_names < cfg->n_channels && n_names + 1 < hm_countof(names)) {
		names[n_names] = cfg->channels[n_names].name.p;
		n_names++;
	}
	names[n_names] = NULL;
	s = zalloc(x, k * sizeof(*s));
	for (size_t i = 0; s && i < k; i++) {
		s[i] = v[i]->text;
		if (!hm_config_channel(cfg, s[i]))
			no_such(x, v[i], "channel", names);
	}
	if (s)
		*r = (struct hm_strs){k, s};
}

static void match(struct rule_load *x, struct hm_match *m)
{
	words(x, "medium", "medium", media, &m->media);
	channels(x, &m->channels);
	labels(x, "category", &m->categories);
	labels(x, "tag", &m->tags);
	labels(x, "tenant", &m->tenants);
}

static bool among(struct hm_strs v, struct hm_str s)
{
	for (size_t i = 0; i < v.n; i++)
		if (hm_str_eq(v.v[i], s))
			return true;
	return v.n == 0;
}

static bool has_tag(struct hm_strs v, const msgpack_object *tags)
{
	if (v.n == 0)
		return true;
	if (tags == NULL || tags->type != MSGPACK_OBJECT_ARRAY)
		return false;
	for (uint32_t i = 0; i < tags->via.array.size; i++) {
		const msgpack_object *o = &tags->via.array.ptr[i];

		if (o->type == MSGPACK_OBJECT_STR && among(v, hm_str_n(o->via.str.ptr, o->via.str.size)))
			return true;
	}
	return false;
}

bool hm_match_fits(const struct hm_match *m, const struct hm_match_subject *s)
{
	return (m->media == 0 || (m->media >> s->medium & 1)) && among(m->channels, s->channel) &&
	       among(m->categories, s->category) && among(m->tenants, s->tenant) && has_tag(m->tags, s->tags);
}

/* -- when ------------------------------------------------------------------------------------------ */

static void route(struct rule_load *x, const struct hm_yaml *n, struct hm_str *r)
{
	const struct hm_config *cfg = x->l->cfg;
	const char *names[256];
	size_t k = 0;

	while (k < cfg->n_routes && k + 1 < hm_countof(names)) {
		names[k] = cfg->routes[k].name.p;
		k++;
	}
	names[k] = NULL;
	if (hm_config_route(cfg, n->text))
		*r = n->text;
	else
		no_such(x, n, "route", names);
}

static void when(struct rule_load *x, enum hm_policy def, uint8_t *when_r, struct hm_str *route_r)
{
	static const char *const names[] = {"drop", "defer", "next", NULL};
	const struct hm_yaml *n = hm_yaml_get(x->n, "when"), *to = n ? hm_yaml_get(n, "route") : NULL;
	int at;

	*when_r = (uint8_t)def;
	if (n == NULL)
		return;
	if (n->type == HM_YAML_MAP && n->len == 1 && to && to->type == HM_YAML_SCALAR) {
		*when_r = HM_POLICY_ROUTE;
		route(x, to, route_r);
		return;
	}
	at = n->type == HM_YAML_SCALAR ? place(n->text, names) : -1;
	if (at < 0)
		wrong(x, n, "when: expected drop, defer, next or {route: name}");
	else
		*when_r = (uint8_t)at;
}

/* -- caps ------------------------------------------------------------------------------------------ */

static void duration(struct rule_load *x, const struct hm_yaml *n, uint64_t min, uint64_t *v_r)
{
	uint64_t v = 0;
	struct hm_err e;

	if (hm_yaml_duration(n, &v, &e) < 0) {
		config_problem(x->l, &e);
		v = min;
	} else if (v < min || v > LONGEST_MS) {
		wrong(x, n, "%.*s: expected a duration from %s to 366d", HM_STRF(n->key), min ? "1s" : "0");
		v = min;
	}
	*v_r = v;
}

static void load_per(struct rule_load *x, struct hm_cap *c)
{
	static const char *const names[] = {"", "day", "week", "month", NULL};
	const struct hm_yaml *n = hm_yaml_get(x->n, "per");
	int at;

	if (n == NULL)
		return;
	at = n->type == HM_YAML_SCALAR ? place(n->text, names) : -1;
	if (at > 0) {
		c->per = (uint8_t)at;
	} else if (n->type == HM_YAML_SCALAR && hm_str_duration_ms(n->text, &c->per_ms)) {
		duration(x, n, 1000, &c->per_ms);
	} else {
		wrong(x, n, "per: expected a duration such as 24h, or day, week or month");
	}
}

static void load_cap(struct config_load *l, const struct hm_yaml *n, struct hm_cap *c)
{
	static const char *const keys[] = {"medium", "channel", "category", "tag",  "tenant",
					   "max",    "per",	"min_gap",  "when", NULL};
	struct rule_load x = {l, "cap", n->key, n};
	const struct hm_yaml *max = hm_yaml_get(n, "max"), *gap = hm_yaml_get(n, "min_gap");
	struct hm_err e;
	int64_t v = 1;

	if (hm_yaml_known(n, keys, &e) < 0)
		config_problem(l, &e);
	match(&x, &c->match);
	if (max && hm_yaml_i64(max, 1, HM_CAP_MOST, &v, &e) < 0)
		config_problem(l, &e);
	c->max = max ? (uint32_t)v : 0;
	load_per(&x, c);
	if (gap)
		duration(&x, gap, 0, &c->min_gap_ms);
	when(&x, HM_POLICY_DROP, &c->when, &c->route);
	if ((max == NULL) != (hm_yaml_get(n, "per") == NULL))
		wrong(&x, n, "max and per go together, as in \"max: 3, per: 24h\"");
	else if (max == NULL && gap == NULL)
		wrong(&x, n, "says nothing; add \"max: 3, per: 24h\", or a min_gap, or both");
}

/* -- quiet hours ----------------------------------------------------------------------------------- */

/* "22:00", up to "24:00". */
static bool clock_time(struct hm_str s, uint16_t *r)
{
	unsigned d[5];

	if (s.len != 5 || s.p[2] != ':')
		return false;
	for (size_t i = 0; i < 5; i++) {
		d[i] = (unsigned)(unsigned char)s.p[i] - '0';
		if (i != 2 && d[i] > 9)
			return false;
	}
	*r = (uint16_t)((d[0] * 10 + d[1]) * 60 + d[3] * 10 + d[4]);
	return d[3] < 6 && *r <= 1440;
}

static void load_days(struct rule_load *x, const struct hm_yaml *n, uint8_t *days)
{
	static const char *const names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun", NULL};
	const struct hm_yaml *v[LIST_MAX];
	size_t k;

	if (!items(x, n, v, &k))
		return;
	*days = 0;
	for (size_t i = 0; i < k; i++) {
		struct hm_str rest = v[i]->text, first;
		int a, b;

		(void)hm_str_split(&rest, '-', &first);
		a = place(first, names);
		b = rest.len ? place(rest, names) : a;
		if (a < 0 || b < 0) {
			wrong(x, v[i],
			      "days: expected mon, tue, wed, thu, fri, sat, sun, or a span such as mon-fri");
			return;
		}
		for (int d = a;; d = (d + 1) % 7) {
			*days |= (uint8_t)(1u << d);
			if (d == b)
				break;
		}
	}
}

static void load_window(struct rule_load *x, const struct hm_yaml *n, struct hm_quiet_window *w)
{
	static const char *const keys[] = {"days", "from", "to", NULL};
	const struct hm_yaml *from, *to, *days;
	struct hm_str a = HM_STR_NULL, b = HM_STR_NULL;
	struct hm_err e;

	w->days = 0x7f;
	if (n->type == HM_YAML_MAP) {
		if (hm_yaml_known(n, keys, &e) < 0) {
			config_problem(x->l, &e);
			return;
		}
		from = hm_yaml_get(n, "from");
		to = hm_yaml_get(n, "to");
		days = hm_yaml_get(n, "days");
		if (days)
			load_days(x, days, &w->days);
		if (from && from->type == HM_YAML_SCALAR)
			a = from->text;
		if (to && to->type == HM_YAML_SCALAR)
			b = to->text;
	} else if (n->type == HM_YAML_SCALAR) {
		b = n->text;
		(void)hm_str_split(&b, '-', &a);
		a = hm_str_trim(a);
		b = hm_str_trim(b);
	}
	if (!clock_time(a, &w->from) || !clock_time(b, &w->to) || w->from == 1440)
		wrong(x, n,
		      "windows: expected \"22:00-08:00\", or {days: [sat, sun], from: \"21:00\", to: "
		      "\"10:00\"}");
}

static void load_quiet(struct config_load *l, const struct hm_yaml *n, struct hm_quiet *q)
{
	static const char *const keys[] = {"medium",  "channel", "category",	 "tag", "tenant",
					   "windows", "when",	 "except_lanes", NULL};
	struct rule_load x = {l, "quiet hours", n->key, n};
	const struct hm_yaml *v = hm_yaml_get(n, "windows"), *lanes_n = hm_yaml_get(n, "except_lanes");
	struct hm_quiet_window *w;
	struct hm_err e;
	size_t k = 0;

	if (hm_yaml_known(n, keys, &e) < 0)
		config_problem(l, &e);
	match(&x, &q->match);
	when(&x, HM_POLICY_DEFER, &q->when, &q->route);
	if (lanes_n == NULL)
		q->except_lanes = 1u << HM_LANE_CRITICAL;
	else if (lanes_n->type != HM_YAML_SEQ || lanes_n->len) /* []: nobody is excepted */
		words(&x, "except_lanes", "lane", lanes, &q->except_lanes);
	if (v == NULL || (v->type != HM_YAML_SCALAR && v->type != HM_YAML_MAP &&
			  (v->type != HM_YAML_SEQ || v->len == 0 || v->len > HM_QUIET_WINDOWS_MAX))) {
		wrong(&x, v ? v : n, "windows: expected 1 to %d, as in [\"22:00-08:00\"]",
		      HM_QUIET_WINDOWS_MAX);
		return;
	}
	w = zalloc(&x, (v->type == HM_YAML_SEQ ? v->len : 1) * sizeof(*w));
	if (w == NULL)
		return;
	if (v->type != HM_YAML_SEQ)
		load_window(&x, v, &w[k++]);
	else
		for (const struct hm_yaml *c = v->first; c; c = c->next)
			load_window(&x, c, &w[k++]);
	q->windows = w;
	q->n = k;
}

/* -- categories ------------------------------------------------------------------------------------ */

static const struct hm_category everything = {
	.name = HM_STR_INIT("*"), .caps = true, .quiet_hours = true, .suppression = true, .dedupe = true};

static void on_off(struct rule_load *x, const char *key, bool *v)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, key);
	struct hm_err e;

	if (n && hm_yaml_bool(n, v, &e) < 0)
		config_problem(x->l, &e);
}

static void load_category(struct config_load *l, const struct hm_yaml *n, struct hm_category *c)
{
	static const char *const keys[] = {"caps",    "quiet_hours",	"suppression", "dedupe",
					   "consent", "content_dedupe", NULL};
	static const char *const consents[] = {"opt_out", "opt_in", NULL};
	struct rule_load x = {l, "category", n->key, n};
	const struct hm_yaml *consent = hm_yaml_get(n, "consent"), *again = hm_yaml_get(n, "content_dedupe");
	struct hm_str name = c->name;
	struct hm_err e;
	int at;

	*c = everything;
	c->name = name;
	c->node = n;
	c->line = n->key_line;
	if (n->type == HM_YAML_NULL)
		return;
	if (hm_yaml_known(n, keys, &e) < 0) {
		config_problem(l, &e);
		return;
	}
	on_off(&x, "caps", &c->caps);
	on_off(&x, "quiet_hours", &c->quiet_hours);
	on_off(&x, "suppression", &c->suppression);
	on_off(&x, "dedupe", &c->dedupe);
	if (consent) {
		at = consent->type == HM_YAML_SCALAR ? place(consent->text, consents) : -1;
		if (at < 0)
			wrong(&x, consent, "consent: expected opt_out or opt_in");
		c->opt_in = at == 1;
	}
	if (again)
		duration(&x, again, 0, &c->content_dedupe_ms);
}

const struct hm_category *hm_config_category(const struct hm_config *cfg, struct hm_str name)
{
	const struct hm_category *rest = &everything;

	for (size_t i = 0; i < cfg->n_categories; i++) {
		if (hm_str_eq(cfg->categories[i].name, name))
			return &cfg->categories[i];
		if (hm_str_is(cfg->categories[i].name, "*"))
			rest = &cfg->categories[i];
	}
	return rest;
}

/* -- the sections ---------------------------------------------------------------------------------- */

/* A map from name to map, of at most `max`; the array for them, or NULL when there is nothing to read. */
static void *section(struct config_load *l, const struct hm_yaml *map, const char *what, size_t max,
		     size_t size)
{
	void *v;

	if (map == NULL || map->type == HM_YAML_NULL || (map->type == HM_YAML_MAP && map->len == 0))
		return NULL;
	if (map->type != HM_YAML_MAP) {
		config_problem_at(l, map, "%.*s: expected a map from name to %s, found %s", HM_STRF(map->key),
				  what, hm_yaml_type_name(map));
		return NULL;
	}
	if (map->len > max) {
		config_problem_at(l, map, "%.*s: more than %zu", HM_STRF(map->key), max);
		return NULL;
	}
	v = hm_arena_zalloc(&l->cfg->arena, map->len * size);
	if (v == NULL)
		config_problem_at(l, map, "out of memory");
	return v;
}

static bool good_rule(struct config_load *l, const struct hm_yaml *n, const char *what)
{
	struct hm_err e;

	if (!config_good_name(n->key)) {
		hm_err_at(&e, HM_ECONFIG, n->file, n->key_line, n->key_col,
			  "\"%.*s\" is not a good name for %s: letters, digits, - _ . and at most 64 bytes",
			  HM_STRF(n->key), what);
		config_problem(l, &e);
		return false;
	}
	if (n->type != HM_YAML_MAP) {
		config_problem_at(l, n, "%.*s: expected a map, found %s", HM_STRF(n->key),
				  hm_yaml_type_name(n));
		return false;
	}
	return true;
}

static void load_caps(struct config_load *l, const struct hm_yaml *map)
{
	struct hm_cap *v = section(l, map, "rule", HM_CAPS_MAX, sizeof(*v));
	size_t k = 0;

	for (const struct hm_yaml *n = v ? map->first : NULL; n; n = n->next, k++) {
		v[k] = (struct hm_cap){.name = n->key, .node = n, .line = n->key_line};
		v[k].id = (uint32_t)hm_hash64(n->key.p, n->key.len, 0);
		for (size_t i = 0; i < k; i++)
			if (v[i].id == v[k].id)
				config_problem_at(
					l, n, "cap %.*s: its name looks like %.*s to Redis; choose another",
					HM_STRF(n->key), HM_STRF(v[i].name));
		if (good_rule(l, n, "a cap"))
			load_cap(l, n, &v[k]);
	}
	l->cfg->caps = v;
	l->cfg->n_caps = k;
}

void config_load_policies(struct config_load *l, const struct hm_yaml *caps, const struct hm_yaml *quiet,
			  const struct hm_yaml *categories)
{
	struct hm_category *c;
	struct hm_quiet *q;
	size_t k = 0;

	if (caps)
		load_caps(l, caps);
	q = section(l, quiet, "rule", HM_QUIET_MAX, sizeof(*q));
	for (const struct hm_yaml *n = q ? quiet->first : NULL; n; n = n->next, k++) {
		q[k] = (struct hm_quiet){.name = n->key, .node = n, .line = n->key_line};
		if (good_rule(l, n, "quiet hours"))
			load_quiet(l, n, &q[k]);
	}
	l->cfg->quiet = q;
	l->cfg->n_quiet = k;
	k = 0;
	c = section(l, categories, "gates", CATEGORIES_MAX, sizeof(*c));
	for (const struct hm_yaml *n = c ? categories->first : NULL; n; n = n->next, k++) {
		c[k].name = n->key;
		if (n->key.len > LABEL_MAX)
			config_problem_at(l, n, "a message's category has at most %d bytes", LABEL_MAX);
		load_category(l, n, &c[k]);
	}
	l->cfg->categories = c;
	l->cfg->n_categories = k;
}

/* -- together -------------------------------------------------------------------------------------- */

/*
 * Would a message of some kind be under more rules than a gate asks? All kinds that differ for the rules: each channel,
 * each category and tenant a rule names, and none of them. Tags are left out, because nobody knows which come together.
 */
struct kinds {
	struct hm_str v[HM_CAPS_MAX];
	size_t n;
};

static void collect(struct kinds *k, struct hm_strs v)
{
	for (size_t i = 0; i < v.n && k->n < hm_countof(k->v); i++) {
		bool there = false;

		for (size_t j = 0; j < k->n && !there; j++)
			there = hm_str_eq(k->v[j], v.v[i]);
		if (!there)
			k->v[k->n++] = v.v[i];
	}
}

static const struct hm_cap *too_many(const struct hm_config *cfg, const struct hm_match_subject *s)
{
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_caps; i++)
		if (cfg->caps[i].match.tags.n == 0 && hm_match_fits(&cfg->caps[i].match, s) &&
		    ++n > HM_CAPS_TOGETHER)
			return &cfg->caps[i];
	return NULL;
}

static void check_caps(struct config_load *l)
{
	const struct hm_config *cfg = l->cfg;
	struct kinds categories = {.n = 1}, tenants = {.n = 1};

	if (cfg->n_caps <= HM_CAPS_TOGETHER)
		return;
	for (size_t i = 0; i < cfg->n_caps; i++) {
		collect(&categories, cfg->caps[i].match.categories);
		collect(&tenants, cfg->caps[i].match.tenants);
	}
	if (categories.n * tenants.n * cfg->n_channels > 10000) /* it shows when such a message comes */
		tenants.n = categories.n = 1;
	for (size_t i = 0; i < cfg->n_channels; i++)
		for (size_t c = 0; c < categories.n; c++)
			for (size_t t = 0; t < tenants.n; t++) {
				struct hm_str adapter = cfg->channels[i].adapter;
				int medium = hm_medium_find(hm_str_n(
					adapter.p, (size_t)hm_max(hm_str_chr(adapter, '/'), (ptrdiff_t)0)));
				struct hm_match_subject s = {.channel = cfg->channels[i].name,
							     .category = categories.v[c],
							     .tenant = tenants.v[t],
							     .medium = (uint8_t)hm_max(medium, 0)};
				const struct hm_cap *cap = too_many(cfg, &s);

				if (cap == NULL)
					continue;
				config_problem_at(
					l, cap->node,
					"cap %.*s: a message through %.*s%s%.*s would be under more than %d "
					"caps at a time",
					HM_STRF(cap->name), HM_STRF(s.channel),
					s.category.len ? " of category " : "", HM_STRF(s.category),
					HM_CAPS_TOGETHER);
				return;
			}
}

void config_check_policies(struct config_load *l)
{
	struct hm_err e;

	if (!hm_tz_find(l->cfg->settings.gates.default_tz)) {
		hm_config_err(l->cfg, "gates", "default_tz",
			      "there is no such time zone; expected a name such as Europe/Berlin, or +08:00",
			      &e);
		config_problem(l, &e);
	}
	check_caps(l);
}
