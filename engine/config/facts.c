/*
 * facts.c - the section `facts`: its options, and what messages may ask for when they are sent
 *
 *   facts:
 *     cache_entries: 50000          an option of tbl/settings.h
 *     stock:                        a fact: whatever is a map
 *       from: redis
 *       key: "stock:{key}"
 *
 * What the keys mean is told in facts/facts.h.
 */
#include "config/config_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

#define FACTS_MAX	   256
#define HEADERS_MAX	   32
#define PATH_MAX_DEPTH	   16
#define FALLBACK_MAX_DEPTH 16
#define TIMEOUT_MAX_MS	   60000u
#define CACHE_MAX_MS	   86400000u

struct facts_load {
	struct config_load *l;
	const struct hm_yaml *n; /* the fact's map */
	struct hm_fact_conf *f;
};

/* -- single keys --------------------------------------------------------------------------------- */

static bool failed_ref(const struct hm_yaml *n)
{
	return n->type == HM_YAML_NULL && n->secret; /* its reference failed and was reported */
}

static bool text(struct facts_load *x, const char *key, struct hm_str *v)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, key);

	if (n == NULL || failed_ref(n))
		return n != NULL;
	if (n->type != HM_YAML_SCALAR || n->text.len == 0 || memchr(n->text.p, 0, n->text.len))
		config_problem_at(x->l, n, "fact %s: %s: expected text", x->f->name.p, key);
	else
		*v = n->text;
	return true;
}

static int choice(struct facts_load *x, const char *key, const char *const *names, const char *list, int def)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, key);

	if (n == NULL)
		return def;
	for (int i = 0; names[i]; i++)
		if (n->type == HM_YAML_SCALAR && hm_str_is(n->text, names[i]))
			return i;
	config_problem_at(x->l, n, "fact %s: %s: expected %s", x->f->name.p, key, list);
	return def;
}

static uint32_t number(struct facts_load *x, const char *key, int64_t max, uint32_t def)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, key);
	struct hm_err e;
	int64_t v = def;

	if (n && hm_yaml_i64(n, 1, max, &v, &e) < 0)
		config_problem(x->l, &e);
	return (uint32_t)v;
}

static uint64_t duration(struct facts_load *x, const char *key, uint64_t min, uint64_t max, const char *range,
			 uint64_t def)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, key);
	uint64_t v = def;
	struct hm_err e;

	if (n == NULL)
		return def;
	if (hm_yaml_duration(n, &v, &e) < 0)
		config_problem(x->l, &e);
	else if (v < min || v > max)
		config_problem_at(x->l, n, "fact %s: %s: expected a duration %s, such as 500ms or 5s",
				  x->f->name.p, key, range);
	return v;
}

static int8_t tls_verify(struct facts_load *x)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, "tls_verify");
	struct hm_err e;
	bool v = true;

	if (n == NULL)
		return -1;
	if (hm_yaml_bool(n, &v, &e) < 0)
		config_problem(x->l, &e);
	return v;
}

/* "data.items.0.price" as its parts. */
static void path(struct facts_load *x)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, "path");
	struct hm_str rest, part, *v;
	size_t k = 0;

	if (n == NULL)
		return;
	if (n->type != HM_YAML_SCALAR || n->text.len == 0 || n->text.p[n->text.len - 1] == '.')
		goto bad;
	v = hm_arena_alloc(&x->l->cfg->arena, PATH_MAX_DEPTH * sizeof(*v));
	if (v == NULL) {
		config_problem_at(x->l, n, "out of memory");
		return;
	}
	for (rest = n->text; hm_str_split(&rest, '.', &part); k++) {
		if (part.len == 0 || k == PATH_MAX_DEPTH)
			goto bad;
		v[k] = part;
	}
	x->f->path = (struct hm_strs){k, v};
	return;
bad:
	config_problem_at(
		x->l, n,
		"fact %s: path: expected at most %d names with dots between them, as in data.items.0.price",
		x->f->name.p, PATH_MAX_DEPTH);
}

static bool header_name(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c && strchr("!#$%&'*+-.^_`|~", c))))
			return false;
	}
	return s.len > 0;
}

/* The value may be a secret: it is never part of a sentence. */
static bool header_value(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

static void headers(struct facts_load *x)
{
	static const char *const ours[] = {"host", "content-length", "transfer-encoding", "connection",
					   "content-type"};
	const struct hm_yaml *map = hm_yaml_get(x->n, "headers");
	struct hm_fact_header *v;
	size_t k = 0;

	if (map == NULL || failed_ref(map))
		return;
	if (map->type != HM_YAML_MAP || map->len > HEADERS_MAX) {
		config_problem_at(x->l, map,
				  "fact %s: headers: expected a map of at most %d names and values",
				  x->f->name.p, HEADERS_MAX);
		return;
	}
	v = hm_arena_zalloc(&x->l->cfg->arena, map->len * sizeof(*v));
	if (v == NULL) {
		config_problem_at(x->l, map, "out of memory");
		return;
	}
	for (const struct hm_yaml *n = map->first; n; n = n->next) {
		char *name = hm_arena_strdup(&x->l->cfg->arena, n->key);
		bool reserved = false;

		if (failed_ref(n))
			continue;
		for (char *c = name; c && *c; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c + 32);
		for (size_t i = 0; name && i < hm_countof(ours); i++)
			reserved = reserved || strcmp(name, ours[i]) == 0;
		if (name == NULL || !header_name(n->key) || n->type != HM_YAML_SCALAR ||
		    !header_value(n->text))
			config_problem_at(
				x->l, n,
				"fact %s: headers: a header has a name of letters, digits and - and a text "
				"without line breaks",
				x->f->name.p);
		else if (reserved)
			config_problem_at(x->l, n, "fact %s: headers: %s is set by the request itself",
					  x->f->name.p, name);
		else
			v[k++] = (struct hm_fact_header){hm_str_c(name), n->text};
	}
	x->f->headers = v;
	x->f->n_headers = k;
}

/* -- the fallback: what it is in YAML, it is for the template -------------------------------------- */

static bool value_of(struct hm_arena *a, const struct hm_yaml *n, int depth, msgpack_object *o)
{
	uint32_t i = 0;

	memset(o, 0, sizeof(*o));
	if (depth > FALLBACK_MAX_DEPTH)
		return false;
	switch (n->type) {
	case HM_YAML_NULL: o->type = MSGPACK_OBJECT_NIL; return true;
	case HM_YAML_SCALAR: hm_fact_text_value(n->text, !n->quoted && !n->secret, o); return true;
	case HM_YAML_SEQ:
		o->type = MSGPACK_OBJECT_ARRAY;
		o->via.array.ptr = hm_arena_alloc(a, hm_max(n->len, (size_t)1) * sizeof(msgpack_object));
		if (o->via.array.ptr == NULL)
			return false;
		for (const struct hm_yaml *c = n->first; c; c = c->next)
			if (!value_of(a, c, depth + 1, &o->via.array.ptr[i++]))
				return false;
		o->via.array.size = i;
		return true;
	case HM_YAML_MAP:
		o->type = MSGPACK_OBJECT_MAP;
		o->via.map.ptr = hm_arena_alloc(a, hm_max(n->len, (size_t)1) * sizeof(msgpack_object_kv));
		if (o->via.map.ptr == NULL)
			return false;
		for (const struct hm_yaml *c = n->first; c; c = c->next, i++) {
			hm_fact_text_value(c->key, false, &o->via.map.ptr[i].key);
			if (!value_of(a, c, depth + 1, &o->via.map.ptr[i].val))
				return false;
		}
		o->via.map.size = i;
		return true;
	}
	return false;
}

void hm_fact_text_value(struct hm_str s, bool plain, msgpack_object *o)
{
	uint64_t u;
	int64_t i;

	memset(o, 0, sizeof(*o));
	if (plain && (hm_str_is(s, "true") || hm_str_is(s, "false"))) {
		o->type = MSGPACK_OBJECT_BOOLEAN;
		o->via.boolean = s.p[0] == 't';
	} else if (plain && hm_decimal_valid(s) && hm_str_u64(s, &u)) {
		o->type = MSGPACK_OBJECT_POSITIVE_INTEGER;
		o->via.u64 = u;
	} else if (plain && hm_decimal_valid(s) && hm_str_i64(s, &i) && i < 0) {
		o->type = MSGPACK_OBJECT_NEGATIVE_INTEGER;
		o->via.i64 = i;
	} else if (plain && hm_decimal_valid(s)) {
		o->type = MSGPACK_OBJECT_EXT;
		o->via.ext.type = HM_MP_DECIMAL;
		o->via.ext.ptr = s.p;
		o->via.ext.size = (uint32_t)s.len;
	} else {
		o->type = MSGPACK_OBJECT_STR;
		o->via.str.ptr = s.p;
		o->via.str.size = (uint32_t)s.len;
	}
}

static void fallback(struct facts_load *x)
{
	const struct hm_yaml *n = hm_yaml_get(x->n, "fallback");
	msgpack_object *o;

	if (n == NULL || failed_ref(n))
		return;
	if (n->type == HM_YAML_NULL) {
		config_problem_at(
			x->l, n, "fact %s: fallback: expected a value; leave the line out when there is none",
			x->f->name.p);
		return;
	}
	o = hm_arena_alloc(&x->l->cfg->arena, sizeof(*o));
	if (o == NULL || !value_of(&x->l->cfg->arena, n, 0, o)) {
		config_problem_at(x->l, n, "fact %s: fallback: nested deeper than %d levels", x->f->name.p,
				  FALLBACK_MAX_DEPTH);
		return;
	}
	x->f->fallback = o;
}

/* -- a fact ------------------------------------------------------------------------------------------ */

static void pair(struct facts_load *x, struct hm_str cert, struct hm_str key)
{
	if ((cert.len == 0) != (key.len == 0))
		config_problem_at(x->l, x->n, "fact %s: cert_file and key_file go together", x->f->name.p);
}

static void load_redis(struct facts_load *x)
{
	static const char *const schemes[] = {"redis://", "rediss://", "unix://", "redis+cluster://",
					      "rediss+cluster://"};
	struct hm_fact_conf *f = x->f;
	bool good = false;

	f->key = HM_STR("{key}");
	(void)text(x, "key", &f->key);
	if (!text(x, "redis", &f->redis) || f->redis.len == 0)
		return;
	for (size_t i = 0; i < hm_countof(schemes); i++)
		good = good ||
		       (hm_str_starts(f->redis, hm_str_c(schemes[i])) && f->redis.len > strlen(schemes[i]));
	if (!good)
		config_problem_at(
			x->l, hm_yaml_get(x->n, "redis"),
			"fact %s: redis: expected a URL that starts with redis://, rediss://, unix://, "
			"redis+cluster:// or rediss+cluster://; without the line it is the hub's own",
			f->name.p);
}

static void load_http(struct facts_load *x)
{
	static const char *const versions[] = {"auto", "1.1", "2", "h2c", NULL};
	struct hm_fact_conf *f = x->f;
	const struct hm_yaml *n = hm_yaml_get(x->n, "url");

	if (n == NULL) {
		config_problem_at(x->l, x->n, "fact %s: from http needs a url", f->name.p);
		return;
	}
	(void)text(x, "url", &f->url);
	f->per_key = hm_str_find(f->url, HM_STR("{key}")) >= 0;
	if (f->url.len && !hm_str_starts(f->url, HM_STR("http://")) &&
	    !hm_str_starts(f->url, HM_STR("https://")))
		config_problem_at(x->l, n,
				  "fact %s: url: expected a URL that starts with https:// or http://",
				  f->name.p);
	f->http = (uint8_t)choice(x, "http", versions, "auto, 1.1, 2 or h2c", 0);
	headers(x);
	if (f->per_key && hm_yaml_get(x->n, "batch"))
		config_problem_at(x->l, hm_yaml_get(x->n, "batch"),
				  "fact %s: batch: a url with {key} is asked for one key at a time",
				  f->name.p);
}

static void load_fact(struct config_load *l, const struct hm_yaml *n, struct hm_fact_conf *f)
{
	static const char *const from[] = {"redis", "http", NULL};
	static const char *const types[] = {"string", "number", "boolean", "json", NULL};
	static const char *const redis_keys[] = {"from",     "redis",	      "key",	 "path",
						 "type",     "cache",	      "timeout", "fallback",
						 "batch",    "max_in_flight", "ca_file", "cert_file",
						 "key_file", "tls_verify",    NULL};
	static const char *const http_keys[] = {"from",	     "url",	 "headers",	  "http",
						"path",	     "type",	 "cache",	  "timeout",
						"fallback",  "batch",	 "max_in_flight", "ca_file",
						"cert_file", "key_file", "tls_verify",	  NULL};
	struct facts_load x = {l, n, f};
	struct hm_err e;
	int source;

	if (hm_yaml_get(n, "from") == NULL) {
		config_problem_at(
			l, n, "fact %s: says not where it comes from; add \"from: redis\" or \"from: http\"",
			f->name.p);
		return;
	}
	source = choice(&x, "from", from, "redis or http", -1);
	if (source < 0)
		return;
	f->from = (uint8_t)source;
	if (hm_yaml_known(n, source == HM_FACT_HTTP ? http_keys : redis_keys, &e) < 0)
		config_problem(l, &e);
	if (source == HM_FACT_HTTP)
		load_http(&x);
	else
		load_redis(&x);
	f->type = (uint8_t)choice(&x, "type", types, "string, number, boolean or json", HM_FACT_STRING);
	path(&x);
	f->cache_ms = duration(&x, "cache", 0, CACHE_MAX_MS, "of at most a day", 5000);
	f->timeout_ms = (uint32_t)duration(&x, "timeout", 1, TIMEOUT_MAX_MS, "from 1ms to 60s", 300);
	f->batch = f->per_key ? 1 : number(&x, "batch", 1000, 100);
	f->max_in_flight = number(&x, "max_in_flight", 1000, 16);
	(void)text(&x, "ca_file", &f->ca_file);
	(void)text(&x, "cert_file", &f->cert_file);
	(void)text(&x, "key_file", &f->key_file);
	pair(&x, f->cert_file, f->key_file);
	f->tls_verify = tls_verify(&x);
	fallback(&x);
}

void config_load_facts(struct config_load *l, const struct hm_yaml *map)
{
	struct hm_fact_conf *v;
	size_t k = 0, n_facts = 0;
	struct hm_err e;

	for (const struct hm_yaml *n = map->first; n; n = n->next)
		n_facts += config_is_fact(n);
	if (n_facts == 0)
		return;
	v = n_facts > FACTS_MAX ? NULL : hm_arena_zalloc(&l->cfg->arena, n_facts * sizeof(*v));
	if (v == NULL) {
		hm_yaml_err(map, &e, HM_ECONFIG,
			    n_facts > FACTS_MAX ? "facts: more than 256" : "out of memory");
		config_problem(l, &e);
		return;
	}
	for (const struct hm_yaml *n = map->first; n; n = n->next) {
		if (!config_is_fact(n))
			continue;
		v[k] = (struct hm_fact_conf){.name = n->key, .node = n, .file = n->file, .line = n->key_line};
		if (config_good_name(n->key)) {
			load_fact(l, n, &v[k]);
		} else {
			hm_err_at(
				&e, HM_ECONFIG, n->file, n->key_line, n->key_col,
				"\"%.*s\" is not a good name for a fact: letters, digits, - _ . and at most "
				"64 bytes",
				HM_STRF(n->key));
			config_problem(l, &e);
		}
		k++;
	}
	l->cfg->facts = v;
	l->cfg->n_facts = k;
}

bool config_is_fact(const struct hm_yaml *n)
{
	return n->type == HM_YAML_MAP && hm_setting_find(HM_STR("facts"), n->key) == NULL;
}

const struct hm_fact_conf *hm_config_fact(const struct hm_config *cfg, struct hm_str name)
{
	for (size_t i = 0; i < cfg->n_facts; i++)
		if (hm_str_eq(cfg->facts[i].name, name))
			return &cfg->facts[i];
	return NULL;
}

bool hm_fact_conf_same(const struct hm_fact_conf *a, const struct hm_fact_conf *b)
{
	return config_same_node(a->node, b->node);
}
