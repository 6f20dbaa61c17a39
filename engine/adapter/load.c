/*
 * load.c - an adapter file becomes a struct hm_adapter
 *
 * Every section is read even when another one is broken, so that one run shows all
 * mistakes. The sections that are large live in load_request.c and load_answer.c.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "adapter/dryrun.h"
#include "adapter/model.h"

/* -- helpers shared by the sections --------------------------------------------- */

void hm_load_error(struct hm_loader *l, const struct hm_err *e)
{
	l->errors++;
	if (l->report)
		l->report(l->arg, e);
}

void *hm_load_alloc(struct hm_loader *l, size_t n)
{
	void *p = hm_arena_zalloc(&l->ad->arena, n ? n : 1);
	struct hm_err e;

	if (p == NULL) {
		hm_err_clear(&e);
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		hm_load_error(l, &e);
	}
	return p;
}

static void (*watch)(void *arg, const char *what, const char *const *keys);
static void *watch_arg;

void hm_load_watch(void (*fn)(void *arg, const char *what, const char *const *keys), void *arg)
{
	watch = fn;
	watch_arg = arg;
}

bool hm_load_known(struct hm_loader *l, const struct hm_yaml *map, const char *what, const char *const *keys)
{
	struct hm_err e;

	if (watch)
		watch(watch_arg, what, keys);
	if (map->type != HM_YAML_MAP) {
		hm_load_fail(l, map, "%s: expected a map (name: value)", what);
		return false;
	}
	hm_err_clear(&e);
	if (hm_yaml_known(map, keys, &e) == 0)
		return true;
	hm_err_wrap(&e, "%s", what);
	hm_load_error(l, &e);
	return false;
}

struct hm_expr *hm_load_expr(struct hm_loader *l, const struct hm_yaml *map, const char *key,
			     const struct hm_parse *p)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_expr *r = NULL;
	struct hm_err e;

	if (y == NULL)
		return NULL;
	hm_err_clear(&e);
	if (hm_expr_parse(p, y, &r, &e) != 0) {
		hm_load_error(l, &e);
		return NULL;
	}
	return r;
}

struct hm_tpl *hm_load_tpl(struct hm_loader *l, const struct hm_yaml *map, const char *key,
			   const struct hm_parse *p)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_tpl *r = NULL;
	struct hm_err e;

	if (y == NULL)
		return NULL;
	hm_err_clear(&e);
	if (hm_tpl_parse(p, y, &r, &e) != 0) {
		hm_load_error(l, &e);
		return NULL;
	}
	return r;
}

struct hm_str hm_load_str(struct hm_loader *l, const struct hm_yaml *map, const char *key, const char *def)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_str s = hm_str_c(def);
	struct hm_err e;

	hm_err_clear(&e);
	if (y != NULL && hm_yaml_str(y, &s, &e) != 0)
		hm_load_error(l, &e);
	return s;
}

bool hm_load_bool(struct hm_loader *l, const struct hm_yaml *map, const char *key, bool def)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_err e;

	hm_err_clear(&e);
	if (y != NULL && hm_yaml_bool(y, &def, &e) != 0)
		hm_load_error(l, &e);
	return def;
}

uint64_t hm_load_duration(struct hm_loader *l, const struct hm_yaml *map, const char *key, uint64_t def)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_err e;

	hm_err_clear(&e);
	if (y != NULL && hm_yaml_duration(y, &def, &e) != 0)
		hm_load_error(l, &e);
	return def;
}

int64_t hm_load_int(struct hm_loader *l, const struct hm_yaml *map, const char *key, int64_t min, int64_t max,
		    int64_t def)
{
	const struct hm_yaml *y = hm_yaml_get(map, key);
	struct hm_err e;

	hm_err_clear(&e);
	if (y != NULL && hm_yaml_i64(y, min, max, &def, &e) != 0)
		hm_load_error(l, &e);
	return def;
}

int hm_load_choice(struct hm_loader *l, const struct hm_yaml *node, const char *what, const char *const *list)
{
	const char *near;

	if (node->type == HM_YAML_SCALAR)
		for (int i = 0; list[i] != NULL; i++)
			if (hm_str_is(node->text, list[i]))
				return i;
	near = node->type == HM_YAML_SCALAR ? hm_str_nearest(node->text, list) : NULL;
	if (near != NULL)
		hm_load_fail(l, node, "%s: \"%.*s\" is not known, did you mean \"%s\"?", what,
			     HM_STRF(node->text), near);
	else
		hm_load_fail(l, node, "%s: \"%.*s\" is not known; the first of the possible values is \"%s\"",
			     what, HM_STRF(node->text), list[0]);
	return -1;
}

static struct hm_parse scope(struct hm_loader *l, struct hm_names *names, uint32_t allowed, const char *where)
{
	return (struct hm_parse){.a = &l->ad->arena, .names = names, .allowed = allowed, .where = where};
}

/* A scalar or a sequence of scalars. */
static struct hm_str *strings(struct hm_loader *l, const struct hm_yaml *y, const char *what, uint32_t *n_r)
{
	struct hm_str *v;
	uint32_t n = 0;

	*n_r = 0;
	if (y == NULL)
		return NULL;
	v = hm_load_alloc(l, (y->type == HM_YAML_SEQ ? y->len : 1) * sizeof(*v));
	if (v == NULL)
		return NULL;
	if (y->type == HM_YAML_SCALAR) {
		v[n++] = y->text;
	} else if (y->type == HM_YAML_SEQ) {
		for (const struct hm_yaml *c = y->first; c; c = c->next) {
			if (c->type != HM_YAML_SCALAR)
				hm_load_fail(l, c, "%s: expected a text", what);
			else
				v[n++] = c->text;
		}
	} else {
		hm_load_fail(l, y, "%s: expected a text or a list of texts", what);
	}
	*n_r = n;
	return v;
}

/* -- adapter, settings ------------------------------------------------------------- */

static void load_head(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"name", "title", "docs", NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "adapter");
	struct hm_adapter *ad = l->ad;
	ptrdiff_t slash;
	int medium;

	if (y == NULL) {
		hm_load_fail(l, root,
			     "the section adapter is missing (adapter: {name: push/apns, title: ...})");
		return;
	}
	if (!hm_load_known(l, y, "adapter", keys))
		return;
	ad->name = hm_load_str(l, y, "name", "");
	ad->title = hm_load_str(l, y, "title", "");
	ad->docs = hm_load_str(l, y, "docs", "");
	slash = hm_str_chr(ad->name, '/');
	medium = slash > 0 ? hm_medium_find(hm_str_n(ad->name.p, (size_t)slash)) : -1;
	if (medium < 0 || (size_t)slash + 1 >= ad->name.len)
		hm_load_fail(l, y, "adapter.name: expected medium/name, such as push/apns; media are %s",
			     hm_media_list());
	else
		ad->medium = (enum hm_medium)medium;
	if (ad->title.len == 0)
		hm_load_fail(l, y, "adapter.title is missing: what people call this provider");
}

static const char *const kind_names[] = {"string", "int", "bool", "enum", "duration", "url",
					 "path",   "key", "json", "list", "map",      NULL};
static const char *const reserved[] = {"adapter",	 "endpoint", "timeout", "max_attempts",
				       "resend_unknown", "rate",     "burst",	"concurrency",
				       "batch",		 "title",    NULL};

static void load_default(struct hm_loader *l, const struct hm_yaml *y, struct hm_setting_decl *d)
{
	struct hm_err e;
	uint64_t ms;
	int64_t i;
	bool b;
	int rc = 0;

	hm_err_clear(&e);
	switch (d->kind) {
	case HM_SET_K_INT:
		rc = hm_yaml_i64(y, d->min, d->max, &i, &e);
		d->def = hm_val_int(rc ? 0 : i);
		break;
	case HM_SET_K_BOOL:
		rc = hm_yaml_bool(y, &b, &e);
		d->def = hm_val_bool(rc ? false : b);
		break;
	case HM_SET_K_DURATION:
		rc = hm_yaml_duration(y, &ms, &e);
		d->def = hm_val_int(rc ? 0 : (int64_t)ms);
		break;
	case HM_SET_K_STRING:
	case HM_SET_K_ENUM:
	case HM_SET_K_URL:
	case HM_SET_K_PATH: {
		struct hm_str s;

		rc = hm_yaml_str(y, &s, &e);
		d->def = rc ? HM_NONE : hm_val_given(s);
		break;
	}
	default: hm_load_fail(l, y, "settings.%.*s: this type has no default", HM_STRF(d->name)); return;
	}
	if (rc)
		hm_load_error(l, &e);
	if (d->kind == HM_SET_K_ENUM && rc == 0) {
		for (uint32_t k = 0; k < d->n_choices; k++)
			if (hm_str_eq(d->choices[k], d->def.s))
				return;
		hm_load_fail(l, y, "settings.%.*s: the default is not among the values", HM_STRF(d->name));
	}
}

static void load_setting(struct hm_loader *l, const struct hm_yaml *y, struct hm_setting_decl *d)
{
	static const char *const keys[] = {"type",   "required", "required_when", "default",
					   "secret", "doc",	 "values",	  "min",
					   "max",    "example",	 "verified",	  NULL};
	const struct hm_yaml *t;
	int kind;

	d->name = y->key;
	d->line = y->line;
	d->col = y->col;
	for (size_t i = 0; reserved[i] != NULL; i++)
		if (hm_str_is(d->name, reserved[i]))
			hm_load_fail(l, y, "settings: \"%s\" is a name every channel has already",
				     reserved[i]);
	if (!hm_load_known(l, y, "settings", keys))
		return;
	t = hm_yaml_get(y, "type");
	kind = t ? hm_load_choice(l, t, "type", kind_names) : HM_SET_K_STRING;
	d->kind = kind < 0 ? HM_SET_K_STRING : (enum hm_setting_kind)kind;
	d->required = hm_load_bool(l, y, "required", false);
	d->secret = hm_load_bool(l, y, "secret", d->kind == HM_SET_K_KEY || d->kind == HM_SET_K_JSON);
	d->verified = hm_load_bool(l, y, "verified", true);
	d->doc = hm_load_str(l, y, "doc", "");
	if (hm_yaml_get(y, "example") && hm_yaml_get(y, "example")->type == HM_YAML_SCALAR)
		d->example = hm_yaml_get(y, "example")->text;
	d->min = hm_load_int(l, y, "min", INT64_MIN, INT64_MAX, INT64_MIN);
	d->max = hm_load_int(l, y, "max", INT64_MIN, INT64_MAX, INT64_MAX);
	d->choices = strings(l, hm_yaml_get(y, "values"), "values", &d->n_choices);
	if (d->kind == HM_SET_K_ENUM && d->n_choices == 0)
		hm_load_fail(l, y, "settings.%.*s: an enum needs values: [...]", HM_STRF(d->name));
	if (d->doc.len == 0)
		hm_load_fail(l, y,
			     "settings.%.*s: doc is missing; one sentence for the person who fills it in",
			     HM_STRF(d->name));
	if (hm_yaml_get(y, "default"))
		load_default(l, hm_yaml_get(y, "default"), d);
}

static void load_settings(struct hm_loader *l, const struct hm_yaml *root)
{
	const struct hm_yaml *map = hm_yaml_get(root, "settings"), *y;
	struct hm_adapter *ad = l->ad;
	struct hm_str *names;
	bool *secret;
	uint32_t i = 0;

	if (map == NULL)
		return;
	if (map->type != HM_YAML_MAP) {
		hm_load_fail(l, map, "settings: expected a map of declarations");
		return;
	}
	ad->settings = hm_load_alloc(l, map->len * sizeof(*ad->settings));
	names = hm_load_alloc(l, map->len * sizeof(*names));
	secret = hm_load_alloc(l, map->len * sizeof(*secret));
	if (ad->settings == NULL || names == NULL || secret == NULL)
		return;
	for (y = map->first; y; y = y->next, i++) {
		load_setting(l, y, &ad->settings[i]);
		names[i] = ad->settings[i].name;
		secret[i] = ad->settings[i].secret;
	}
	ad->n_settings = i;
	ad->names.settings = l->cred_names.settings = names;
	ad->names.setting_secret = l->cred_names.setting_secret = secret;
	ad->names.n_settings = l->cred_names.n_settings = i;
	ad->cred.uses = l->cred_names.setting_used = hm_load_alloc(l, (map->len + 1) * sizeof(bool));
	i = 0;
	for (y = map->first; y; y = y->next, i++) { /* now that all names are known */
		struct hm_parse p = scope(l, &ad->names, HM_AT_K, "required_when");

		if (y->type == HM_YAML_MAP)
			ad->settings[i].required_when = hm_load_expr(l, y, "required_when", &p);
	}
}

/* -- endpoint ----------------------------------------------------------------------- */

static void load_endpoint(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"url",	   "recipient_is_url", "https_only",
					   "deny_private", "recipient_url",    "http",
					   "allow_hosts",  "timeout",	       "client_cert",
					   "client_key",   "max_connections",  "max_streams",
					   "idempotent",   "session",	       NULL};
	static const char *const versions[] = {"auto", "1.1", "2", "h2c", NULL};
	static const enum hm_http_version version_of[] = {HM_HTTP_AUTO, HM_HTTP_1, HM_HTTP_2,
							  HM_HTTP_2_PRIOR};
	const struct hm_yaml *y = hm_yaml_get(root, "endpoint");
	struct hm_adapter *ad = l->ad;
	struct hm_parse p = scope(l, &ad->names, HM_AT_K, "endpoint");
	int v;

	ad->timeout_ms = 15000;
	if (y == NULL) {
		hm_load_fail(l, root, "the section endpoint is missing (endpoint: {url: https://...})");
		return;
	}
	if (!hm_load_known(l, y, "endpoint", keys))
		return;
	ad->url = hm_load_tpl(l, y, "url", &p);
	ad->client_cert = hm_load_tpl(l, y, "client_cert", &p);
	ad->client_key = hm_load_tpl(l, y, "client_key", &p);
	ad->recipient_is_url = hm_load_expr(l, y, "recipient_is_url", &p);
	p.allowed = HM_AT_M;
	ad->recipient_url = hm_load_expr(l, y, "recipient_url", &p);
	p.allowed = HM_AT_K;
	ad->https_only = hm_load_expr(l, y, "https_only", &p);
	ad->deny_private = hm_load_expr(l, y, "deny_private", &p);
	ad->timeout_ms = hm_load_duration(l, y, "timeout", ad->timeout_ms);
	ad->idempotent = hm_load_bool(l, y, "idempotent", false);
	ad->max_connections = (uint32_t)hm_load_int(l, y, "max_connections", 0, 10000, 0);
	ad->max_streams = (uint32_t)hm_load_int(l, y, "max_streams", 0, 100000, 0);
	ad->allow_hosts = strings(l, hm_yaml_get(y, "allow_hosts"), "allow_hosts", &ad->n_allow_hosts);
	if (hm_yaml_get(y, "http")) {
		v = hm_load_choice(l, hm_yaml_get(y, "http"), "endpoint.http", versions);
		ad->version = v < 0 ? HM_HTTP_AUTO : version_of[v];
	}
	if (hm_yaml_get(y, "session"))
		ad->session = hm_load_tree(l, hm_yaml_get(y, "session"), &p);
	if (ad->url == NULL && ad->recipient_is_url == NULL)
		hm_load_fail(l, y, "endpoint: url is missing (or recipient_is_url: true)");
}

/* -- address, let, batch, checks, rates ------------------------------------------ */

/* "0-9a-fA-F_" as a set of bytes; a dash at either end is itself. */
static void load_chars(struct hm_str s, uint8_t set[32])
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned from = (unsigned char)s.p[i], to = from;

		if (i + 2 < s.len && s.p[i + 1] == '-') {
			to = (unsigned char)s.p[i + 2];
			i += 2;
		}
		for (unsigned c = from; c <= to; c++)
			set[c / 8] |= (uint8_t)(1u << c % 8);
	}
}

static void load_address(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"chars", "except", "min", "max", "what", "sample", NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "address");
	struct hm_address *ad = &l->ad->address;
	struct hm_str except;

	ad->max = 2048;
	ad->min = 1;
	memset(ad->chars, 0xff, sizeof(ad->chars));
	if (y == NULL || !hm_load_known(l, y, "address", keys))
		return;
	ad->any = true;
	ad->min = (uint32_t)hm_load_int(l, y, "min", 1, 4096, 1);
	ad->max = (uint32_t)hm_load_int(l, y, "max", 1, 8192, 2048);
	ad->what = hm_load_str(l, y, "what", "");
	ad->sample = hm_load_str(l, y, "sample", "");
	if (hm_yaml_get(y, "chars")) {
		memset(ad->chars, 0, sizeof(ad->chars));
		load_chars(hm_load_str(l, y, "chars", ""), ad->chars);
	}
	except = hm_load_str(l, y, "except", "");
	for (size_t i = 0; i < except.len; i++)
		ad->chars[(unsigned char)except.p[i] / 8] &= (uint8_t) ~(1u
									 << (unsigned char)except.p[i] % 8);
	if (ad->what.len == 0)
		hm_load_fail(
			l, y,
			"address: what is missing; how an address of this provider looks, for error texts");
}

static void load_lets(struct hm_loader *l, const struct hm_yaml *map, struct hm_names *names,
		      uint32_t allowed, struct hm_lets *lets)
{
	struct hm_parse p = scope(l, names, allowed, "let");
	struct hm_err e;

	if (map == NULL)
		return;
	if (map->type != HM_YAML_MAP || map->len > HM_ADAPTER_MAX_LETS) {
		hm_load_fail(l, map, "let: expected a map of at most %d names", HM_ADAPTER_MAX_LETS);
		return;
	}
	lets->names = hm_load_alloc(l, map->len * sizeof(*lets->names));
	lets->e = hm_load_alloc(l, map->len * sizeof(*lets->e));
	if (lets->names == NULL || lets->e == NULL)
		return;
	names->lets = lets->names;
	names->let_expr = lets->e;
	for (const struct hm_yaml *y = map->first; y; y = y->next) {
		struct hm_expr *x = NULL;

		hm_err_clear(&e);
		if (hm_expr_parse(&p, y, &x, &e) != 0) {
			hm_load_error(l, &e);
			x = hm_load_alloc(
				l, sizeof(*x)); /* a constant none: later sections still know the name */
			if (x == NULL)
				return;
		}
		lets->names[lets->n] = y->key;
		lets->e[lets->n++] = x;
		names->n_lets = lets->n;
	}
}

static void load_batch(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"max", "max_bytes", NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "batch");
	struct hm_parse p = scope(l, &l->ad->names, HM_AT_K, "batch.max");

	if (y == NULL || !hm_load_known(l, y, "batch", keys))
		return;
	l->ad->batch_max = hm_load_expr(l, y, "max", &p);
	l->ad->batch_max_bytes = (uint32_t)hm_load_int(l, y, "max_bytes", 1, 1 << 24, 0);
}

static void load_checks(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"when", "say", "outcome", NULL};
	static const char *const outcomes[] = {"bad_request", "invalid_recipient", NULL};
	const struct hm_yaml *list = hm_yaml_get(root, "checks"), *c;
	struct hm_parse p = scope(l, &l->ad->names, HM_AT_M, "checks");
	struct hm_adapter *ad = l->ad;

	if (list == NULL)
		return;
	if (list->type != HM_YAML_SEQ) {
		hm_load_fail(l, list, "checks: expected a list");
		return;
	}
	ad->checks = hm_load_alloc(l, list->len * sizeof(*ad->checks));
	for (c = list->first; c && ad->checks; c = c->next) {
		struct hm_check *k = &ad->checks[ad->n_checks];
		const struct hm_yaml *o;

		if (!hm_load_known(l, c, "checks", keys))
			continue;
		k->when = hm_load_expr(l, c, "when", &p);
		k->say = hm_load_tpl(l, c, "say", &p);
		o = hm_yaml_get(c, "outcome");
		k->outcome = o && hm_load_choice(l, o, "outcome", outcomes) == 1 ? HM_OUT_INVALID_RECIPIENT
										 : HM_OUT_BAD_REQUEST;
		if (k->when == NULL || k->say == NULL)
			hm_load_fail(l, c, "checks: when and say are both needed");
		else
			ad->n_checks++;
	}
}

static void load_rates(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"per", "max", "window", NULL};
	static const char *const scopes[] = {"recipient", "credential", "channel", NULL};
	const struct hm_yaml *list = hm_yaml_get(root, "rates"), *c;
	struct hm_adapter *ad = l->ad;

	if (list == NULL)
		return;
	if (list->type != HM_YAML_SEQ) {
		hm_load_fail(l, list,
			     "rates: expected a list such as [{per: channel, max: 100, window: 1s}]");
		return;
	}
	ad->rates = hm_load_alloc(l, list->len * sizeof(*ad->rates));
	for (c = list->first; c && ad->rates; c = c->next) {
		struct hm_rate *r = &ad->rates[ad->n_rates++];
		int per;

		if (!hm_load_known(l, c, "rates", keys))
			continue;
		per = hm_yaml_get(c, "per") ? hm_load_choice(l, hm_yaml_get(c, "per"), "per", scopes) : 2;
		r->per = (enum hm_scope)(per < 0 ? 2 : per);
		r->max = (uint32_t)hm_load_int(l, c, "max", 1, 1000000000, 1);
		r->window_ms = hm_load_duration(l, c, "window", 1000);
		if (r->window_ms == 0)
			hm_load_fail(l, c, "rates: window must be longer than nothing");
	}
}

/* -- credential ------------------------------------------------------------------------ */

static void load_jwt(struct hm_loader *l, const struct hm_yaml *y, struct hm_credential *cr)
{
	static const char *const keys[] = {"alg", "key", "header", "claims", NULL};
	struct hm_parse k = scope(l, &l->cred_names, HM_AT_K, "credential.jwt");
	struct hm_parse c = scope(l, &l->cred_names, HM_AT_C, "credential.jwt");

	if (!hm_load_known(l, y, "credential.jwt", keys))
		return;
	cr->jwt = true;
	cr->alg = hm_load_tpl(l, y, "alg", &k);
	cr->jwt_key = hm_load_expr(l, y, "key", &k);
	if (hm_yaml_get(y, "header"))
		cr->jwt_header = hm_load_tree(l, hm_yaml_get(y, "header"), &c);
	if (hm_yaml_get(y, "claims"))
		cr->jwt_claims = hm_load_tree(l, hm_yaml_get(y, "claims"), &c);
	if (cr->alg == NULL || cr->jwt_key == NULL || cr->jwt_header == NULL || cr->jwt_claims == NULL)
		hm_load_fail(l, y, "credential.jwt: alg, key, header and claims are all needed");
}

static void load_exchange(struct hm_loader *l, const struct hm_yaml *y, struct hm_credential *cr)
{
	static const char *const keys[] = {"request", "answer",	       "outcomes", "token",
					   "expires", "refresh_token", NULL};
	static const char *const as[] = {"seconds", "ms", "epoch", "epoch_ms", NULL};
	struct hm_scope_of in = {&l->cred_names, HM_AT_C, "credential.exchange.request"};
	struct hm_parse p = scope(l, &l->cred_names, HM_AT_A, "credential.exchange");
	const struct hm_yaml *ex, *c;
	int i;

	if (!hm_load_known(l, y, "credential.exchange", keys))
		return;
	cr->exchange = true;
	if (hm_yaml_get(y, "request"))
		hm_load_request(l, hm_yaml_get(y, "request"), &in, true, &cr->request);
	else
		hm_load_fail(l, y, "credential.exchange: request is missing");
	hm_load_answer(l, y, &l->cred_names, "credential.exchange", &cr->answer);
	cr->token = hm_load_expr(l, y, "token", &p);
	if (cr->token == NULL)
		hm_load_fail(l, y, "credential.exchange: token is missing (token: answer.access_token)");
	cr->refresh_token = hm_load_expr(l, y, "refresh_token", &p);
	ex = hm_yaml_get(y, "expires");
	if (ex != NULL) {
		static const char *const ekeys[] = {"from", "as", NULL};

		if (!hm_load_known(l, ex, "credential.exchange.expires", ekeys))
			return;
		cr->expires = hm_load_expr(l, ex, "from", &p);
		c = hm_yaml_get(ex, "as");
		i = c ? hm_load_choice(l, c, "as", as) : 0;
		cr->expires_as = (enum hm_time_kind)(i < 0 ? 0 : i);
	}
}

static void load_credential(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"when",     "key",		"let",	  "jwt",     "exchange",
					   "lifetime", "refresh",	"margin", "min_age", "max_age",
					   "share",    "refresh_token", NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "credential");
	struct hm_credential *cr = &l->ad->cred;
	struct hm_parse k = scope(l, &l->cred_names, HM_AT_K, "credential");

	if (y == NULL || !hm_load_known(l, y, "credential", keys))
		return;
	cr->present = true;
	load_lets(l, hm_yaml_get(y, "let"), &l->cred_names, HM_AT_C | HM_AT_R, &cr->lets);
	cr->when = hm_load_expr(l, y, "when", &k);
	cr->key = hm_load_tpl(l, y, "key", &k);
	if (cr->key == NULL)
		hm_load_fail(l, y,
			     "credential: key is missing; the text that tells which channels share a token");
	if (hm_yaml_get(y, "jwt"))
		load_jwt(l, hm_yaml_get(y, "jwt"), cr);
	if (hm_yaml_get(y, "exchange"))
		load_exchange(l, hm_yaml_get(y, "exchange"), cr);
	if (!cr->jwt && !cr->exchange)
		hm_load_fail(l, y, "credential: expected jwt, exchange, or both");
	cr->lifetime_ms = hm_load_duration(l, y, "lifetime", 3600000);
	cr->refresh_ms = hm_load_duration(l, y, "refresh", 0);
	cr->margin_ms = hm_load_duration(l, y, "margin", 300000);
	cr->min_age_ms = hm_load_duration(l, y, "min_age", 0);
	cr->max_age_ms = hm_load_duration(l, y, "max_age", 0);
	cr->share = hm_load_bool(l, y, "share", cr->exchange);
	cr->first_refresh = hm_load_tpl(l, y, "refresh_token", &k);
	if ((cr->refresh_token != NULL) != (cr->first_refresh != NULL))
		hm_load_fail(
			l, y,
			"credential: refresh_token (the first one, such as ${settings.refresh_token}) and "
			"exchange.refresh_token (where an answer has the next) belong together");
	if (cr->refresh_token && !cr->share)
		hm_load_fail(l, y, "credential: a refresh token that changes must be shared");
	if (cr->max_age_ms && cr->max_age_ms < cr->min_age_ms)
		hm_load_fail(l, y, "credential: max_age is less than min_age");
	if (cr->refresh_ms > cr->lifetime_ms)
		hm_load_fail(l, y, "credential: refresh is later than the end of the lifetime");
}

static void load_prepare(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"when",     "key",	"request", "answer",
					   "outcomes", "value", "keep",	   NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "prepare");
	struct hm_scope_of in = {&l->ad->names, HM_AT_M, "prepare.request"};
	struct hm_parse m = scope(l, &l->ad->names, HM_AT_M, "prepare");
	struct hm_parse a = scope(l, &l->ad->names, HM_AT_A, "prepare");
	struct hm_prepare *p = &l->ad->prepare;

	if (y == NULL || !hm_load_known(l, y, "prepare", keys))
		return;
	p->present = true;
	p->when = hm_load_expr(l, y, "when", &m);
	p->key = hm_load_tpl(l, y, "key", &m);
	if (p->key == NULL)
		hm_load_fail(l, y,
			     "prepare: key is missing; the text that tells which messages share the result");
	if (hm_yaml_get(y, "request"))
		hm_load_request(l, hm_yaml_get(y, "request"), &in, false, &p->request);
	else
		hm_load_fail(l, y, "prepare: request is missing");
	hm_load_answer(l, y, &l->ad->names, "prepare", &p->answer);
	p->value = hm_load_expr(l, y, "value", &a);
	if (p->value == NULL)
		hm_load_fail(l, y, "prepare: value is missing (value: answer.media_id)");
	p->keep_ms = hm_load_duration(l, y, "keep", 3600000);
	if (l->ad->recipient_is_url)
		hm_load_fail(l, y, "prepare: not where the recipient is the URL");
}

static void load_all(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"adapter",	  "settings", "endpoint", "address",  "credential",
					   "let",	  "checks",   "request",  "batch",    "limits",
					   "dialect",	  "text",     "answer",	  "outcomes", "partial",
					   "retry_after", "rates",    "receipts", "prepare",  NULL};
	struct hm_scope_of in = {&l->ad->names, HM_AT_M, "request"};

	hm_load_known(l, root, "adapter file", keys);
	if (root->type != HM_YAML_MAP)
		return;
	load_head(l, root);
	load_settings(l, root);
	load_endpoint(l, root);
	load_credential(l, root);
	load_lets(l, hm_yaml_get(root, "let"), &l->ad->names, HM_AT_M | HM_AT_R, &l->ad->lets);
	load_address(l, root);
	load_checks(l, root);
	if (hm_yaml_get(root, "request"))
		hm_load_request(l, hm_yaml_get(root, "request"), &in, false, &l->ad->send);
	else
		hm_load_fail(l, root, "the section request is missing");
	load_prepare(l, root);
	load_batch(l, root);
	hm_load_limits(l, root);
	hm_load_text(l, root);
	load_rates(l, root);
	hm_load_answer(l, root, &l->ad->names, "adapter file", &l->ad->answer);
	hm_load_receipts(l, root);
}

static struct hm_adapter *load_tree(struct hm_adapter *ad, const struct hm_yaml *root, const char *file,
				    hm_report_fn report, void *arg)
{
	struct hm_loader l = {.ad = ad, .report = report, .arg = arg};

	ad->file = hm_arena_strdup(&ad->arena, hm_str_c(file));
	load_all(&l, root);
	if (l.errors) {
		hm_adapter_unref(ad);
		return NULL;
	}
	return ad;
}

static struct hm_adapter *adapter_new(void)
{
	struct hm_adapter *ad = calloc(1, sizeof(*ad));

	if (ad == NULL)
		return NULL;
	HM_MAGIC_SET(ad, HM_ADAPTER_MAGIC);
	ad->refs = 1;
	hm_arena_init(&ad->arena, NULL, 64u << 20);
	return ad;
}

static void report_one(hm_report_fn report, void *arg, const struct hm_err *e)
{
	if (report)
		report(arg, e);
}

struct hm_adapter *hm_adapter_load(const char *file, struct hm_str text, hm_report_fn report, void *arg)
{
	struct hm_adapter *ad = adapter_new();
	struct hm_yaml *root;
	struct hm_err e;

	hm_err_clear(&e);
	if (ad == NULL) {
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		report_one(report, arg, &e);
		return NULL;
	}
	if (hm_yaml_parse(&ad->arena, file, text, &root, &e) != 0) {
		report_one(report, arg, &e);
		hm_adapter_unref(ad);
		return NULL;
	}
	return load_tree(ad, root, file, report, arg);
}

struct hm_adapter *hm_adapter_load_file(const char *path, hm_report_fn report, void *arg)
{
	struct hm_adapter *ad = adapter_new();
	struct hm_yaml *root;
	struct hm_err e;

	hm_err_clear(&e);
	if (ad == NULL) {
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		report_one(report, arg, &e);
		return NULL;
	}
	if (hm_yaml_read_file(&ad->arena, path, &root, &e) != 0) {
		report_one(report, arg, &e);
		hm_adapter_unref(ad);
		return NULL;
	}
	return load_tree(ad, root, path, report, arg);
}

void hm_adapter_unref(struct hm_adapter *ad)
{
	if (ad == NULL)
		return;
	HM_CHECK(ad, HM_ADAPTER_MAGIC);
	if (__atomic_sub_fetch(&ad->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	hm_arena_fini(&ad->arena);
	HM_MAGIC_CLEAR(ad);
	free(ad);
}

/* -- all files of a folder ------------------------------------------------------------- */

static int by_path(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Paths of <dir>/<medium>/<name>.yaml, sorted: the same order on every machine. */
static int list_files(const char *dir, char ***v_r, size_t *n_r, struct hm_err *e)
{
	char path[4200], **v = NULL;
	size_t n = 0, cap = 0;

	for (int m = 0; m < HM_MED_COUNT; m++) {
		struct dirent *d;
		DIR *h;

		snprintf(path, sizeof(path), "%s/%s", dir, hm_medium_name((enum hm_medium)m));
		h = opendir(path);
		if (h == NULL)
			continue;
		while ((d = readdir(h)) != NULL) {
			struct hm_str name = hm_str_c(d->d_name);

			if (!hm_str_ends(name, HM_STR(".yaml")) || name.p[0] == '.')
				continue;
			if (n == cap) {
				char **more = realloc(v, (cap = cap ? cap * 2 : 64) * sizeof(*v));

				if (more == NULL)
					break;
				v = more;
			}
			if (asprintf(&v[n], "%s/%s", path, d->d_name) > 0)
				n++;
		}
		closedir(h);
	}
	if (n)
		qsort(v, n, sizeof(*v), by_path);
	*v_r = v;
	*n_r = n;
	if (n == 0) {
		free(v);
		return hm_err_set(e, HM_ENOENT,
				  "no adapter files in %s (expected %s/push/apns.yaml and so on)", dir, dir);
	}
	return 0;
}

/* The name inside the file and its place must agree, so that people find it. */
static bool placed_right(const struct hm_adapter *ad, const char *path, hm_report_fn report, void *arg)
{
	char want[512];
	struct hm_err e;

	snprintf(want, sizeof(want), "/%.*s.yaml", HM_STRF(ad->name));
	if (hm_str_ends(hm_str_c(path), hm_str_c(want)))
		return true;
	hm_err_clear(&e);
	hm_err_at(&e, HM_ECONFIG, path, 1, 1, "adapter.name is %.*s, so the file must be called %s",
		  HM_STRF(ad->name), want + 1);
	report_one(report, arg, &e);
	return false;
}

int hm_adapter_set_load(struct hm_str dir, struct hm_adapter_set **set_r, hm_report_fn report, void *arg)
{
	struct hm_adapter_set *s = calloc(1, sizeof(*s));
	char **paths = NULL, folder[4096];
	size_t n = 0;
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	*set_r = NULL;
	hm_adapter_dir(dir, folder, sizeof(folder));
	rc = s ? list_files(folder, &paths, &n, &e) : hm_err_set(&e, HM_ENOMEM, "out of memory");
	if (rc != 0) {
		report_one(report, arg, &e);
		free(s);
		return rc;
	}
	s->refs = 1;
	s->v = calloc(n, sizeof(*s->v));
	for (size_t i = 0; i < n; i++) {
		struct hm_adapter *ad = s->v ? hm_adapter_load_file(paths[i], report, arg) : NULL;

		if (ad != NULL && !placed_right(ad, paths[i], report, arg)) {
			hm_adapter_unref(ad);
			ad = NULL;
		}
		if (ad == NULL)
			rc = HM_ECONFIG;
		else
			s->v[s->n++] = ad;
		free(paths[i]);
	}
	free(paths);
	if (rc != 0) {
		hm_adapter_set_unref(s);
		return rc;
	}
	*set_r = s;
	return 0;
}

void hm_adapter_set_unref(struct hm_adapter_set *s)
{
	if (s == NULL || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	for (size_t i = 0; i < s->n; i++)
		hm_adapter_unref(s->v[i]);
	free(s->v);
	free(s);
}

const struct hm_adapter *hm_adapter_find(const struct hm_adapter_set *s, struct hm_str name)
{
	for (size_t i = 0; i < s->n; i++)
		if (hm_str_eq(s->v[i]->name, name))
			return s->v[i];
	return NULL;
}
