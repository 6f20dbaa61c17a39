/*
 * fixture.c - the cases of a file, rendered and compared
 */
#include "templates/fixture.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "templates/diff.h"
#include "templates/fixture_int.h"

struct run {
	const struct hm_fixture_opts *o;
	const char *path;
	const struct hm_yaml *root;
	const struct hm_template *t;
	struct hm_arena arena, scratch;
	struct hm_buf *out;
	struct hm_fixture_result *r;
};
struct kase { /* a case, its defaults filled in */
	const struct hm_yaml *node;
	struct hm_str name, locale, tz, error;
	uint64_t now_ms;
	const msgpack_object *data, *facts; /* facts: a root {"facts": {...}} */
	const struct hm_yaml *media, *expect;
};

static void HM_PRINTF(3, 4) say(struct run *x, int line, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (line)
		hm_buf_printf(x->out, "FAIL %s:%d: %s\n", x->path, line, text);
	else
		hm_buf_printf(x->out, "FAIL %s: %s\n", x->path, text);
}

static void say_err(struct run *x, const struct hm_err *e)
{
	if (e->line)
		hm_buf_printf(x->out, "FAIL %s:%d:%d: %s\n", x->path, e->line, e->col, e->text);
	else
		hm_buf_printf(x->out, "FAIL %s: %s\n", x->path, e->text);
}

/* -- reading a case ---------------------------------------------------------------------------------- */

static const struct hm_yaml *given(const struct run *x, const struct hm_yaml *kase, const char *key)
{
	const struct hm_yaml *n = hm_yaml_get(kase, key);

	return n ? n : hm_yaml_get(x->root, key);
}

static int text_of(const struct run *x, const struct hm_yaml *kase, const char *key, struct hm_str *s,
		   struct hm_err *e)
{
	const struct hm_yaml *n = given(x, kase, key);

	*s = HM_STR("");
	return n && n->type != HM_YAML_NULL ? hm_yaml_str(n, s, e) : 0;
}

static int map_of(struct run *x, const struct hm_yaml *n, const char *key, const msgpack_object **o,
		  struct hm_err *e)
{
	*o = NULL;
	if (!n || n->type == HM_YAML_NULL)
		return 0;
	if (n->type != HM_YAML_MAP)
		return hm_yaml_err(n, e, HM_ETYPE, "%s must be a map, not %s", key, hm_yaml_type_name(n));
	*o = hm_fixture_value(n, &x->arena);
	return *o ? 0 : hm_err_set(e, HM_ENOMEM, "out of memory");
}

/* The facts of the template: given ones, else their fallbacks. */
static int facts_of(struct run *x, const msgpack_object *given_facts, const msgpack_object **root_r,
		    struct hm_err *e)
{
	const struct hm_template_fact *f;
	size_t n = hm_template_facts(x->t, &f), used = 0;
	msgpack_object *root = hm_arena_zalloc(&x->arena, sizeof(*root));
	msgpack_object_kv *outer = hm_arena_zalloc(&x->arena, sizeof(*outer)),
			  *kv = hm_arena_zalloc(&x->arena, (n + 1) * sizeof(*kv));

	if (!root || !outer || !kv)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const msgpack_object *v = given_facts ? hm_mp_get(given_facts, f[i].name) : NULL;
		const struct hm_fact_conf *conf = hm_config_fact(x->o->cfg, f[i].fact);

		if (!v)
			v = f[i].fallback ? f[i].fallback : conf ? conf->fallback : NULL;
		if (!v)
			continue;
		hm_fact_text_value(f[i].name, false, &kv[used].key);
		kv[used++].val = *v;
	}
	hm_fact_text_value(HM_STR("facts"), false, &outer->key);
	outer->val.type = MSGPACK_OBJECT_MAP;
	outer->val.via.map.ptr = kv;
	outer->val.via.map.size = (uint32_t)used;
	root->type = MSGPACK_OBJECT_MAP;
	root->via.map.ptr = outer;
	root->via.map.size = 1;
	*root_r = root;
	return 0;
}

static int read_now(const struct run *x, const struct hm_yaml *kase, uint64_t *ms, struct hm_err *e)
{
	const struct hm_yaml *n = given(x, kase, "now");

	*ms = HM_FIXTURE_NOW_MS;
	if (!n || n->type == HM_YAML_NULL)
		return 0;
	if (n->type != HM_YAML_SCALAR ||
	    (!hm_clock_parse_rfc3339(n->text, ms) && (n->quoted || !hm_str_u64(n->text, ms))))
		return hm_yaml_err(
			n, e, HM_EINVAL,
			"now must be a time such as 2026-05-01T08:00:00Z, or milliseconds of Unix time");
	return 0;
}

static int read_case(struct run *x, const struct hm_yaml *node, struct kase *k, struct hm_err *e)
{
	static const char *const keys[] = {"name",  "data",   "locale", "tz",	 "now",
					   "facts", "expect", "error",	"media", NULL};
	const msgpack_object *facts;

	memset(k, 0, sizeof(*k));
	k->node = node;
	if (node->type != HM_YAML_MAP)
		return hm_yaml_err(node, e, HM_ETYPE, "a case is a map with data and expect");
	if (hm_yaml_known(node, keys, e))
		return e->code;
	if (hm_yaml_get(node, "name") && hm_yaml_str(hm_yaml_get(node, "name"), &k->name, e))
		return e->code;
	if (hm_yaml_get(node, "error") && hm_yaml_str(hm_yaml_get(node, "error"), &k->error, e))
		return e->code;
	if (text_of(x, node, "locale", &k->locale, e) || text_of(x, node, "tz", &k->tz, e) ||
	    read_now(x, node, &k->now_ms, e) || map_of(x, given(x, node, "data"), "data", &k->data, e) ||
	    map_of(x, given(x, node, "facts"), "facts", &facts, e) || facts_of(x, facts, &k->facts, e))
		return e->code;
	k->media = given(x, node, "media");
	if (k->media && k->media->type != HM_YAML_SEQ)
		return hm_yaml_err(k->media, e, HM_ETYPE, "media must be a list, such as [sms, push]");
	k->expect = hm_yaml_get(node, "expect");
	if (k->expect && k->expect->type == HM_YAML_NULL)
		k->expect = NULL;
	if (k->expect && k->expect->type != HM_YAML_MAP)
		return hm_yaml_err(k->expect, e, HM_ETYPE, "expect must be a map of media");
	if (hm_yaml_get(node, "error") && (k->expect || k->error.len == 0))
		return hm_yaml_err(hm_yaml_get(node, "error"), e, HM_EINVAL,
				   k->expect ? "give error or expect, not both"
					     : "error must say a part of the reason");
	return 0;
}

/* A medium by its name, or that of a channel. */
static int medium_of(const struct run *x, const struct hm_yaml *n, struct hm_str name, enum hm_medium *m_r,
		     struct hm_err *e)
{
	const struct hm_channel_conf *c = hm_config_channel(x->o->cfg, name);
	struct hm_str rest, head;
	int m = hm_medium_find(name);

	if (m < 0 && c) { /* adapter: sms/aliyun */
		rest = c->adapter;
		if (hm_str_split(&rest, '/', &head))
			m = hm_medium_find(head);
	}
	if (m < 0)
		return hm_yaml_err(n, e, HM_EINVAL,
				   "\"%.*s\" is neither a medium nor a channel of the configuration",
				   HM_STRF(name));
	*m_r = (enum hm_medium)m;
	return 0;
}

/* -- running one ----------------------------------------------------------------------------------------- */

static void render(struct run *x, const struct kase *k, enum hm_medium m, struct fixture_got *g)
{
	struct hm_render_env env = {
		.roots = {k->data, k->facts},
		.locale = k->locale,
		.tz = k->tz,
		.now_ms = k->now_ms,
		.arena = &x->arena,
		.scratch = &x->scratch,
		.settings = &x->o->cfg->settings,
		.set = x->o->set,
	};

	memset(g, 0, sizeof(*g));
	g->rc = hm_template_render(x->t, m, &env, &g->content, &g->err);
	hm_arena_reset(&x->scratch);
}

static const char *case_name(const struct kase *k, char *room, size_t cap)
{
	if (k->name.len == 0)
		return "";
	(void)snprintf(room, cap, " \"%.*s\"", (int)hm_min(k->name.len, (size_t)120), k->name.p);
	return room;
}

/* A medium as it was expected: nothing is said and true is returned when it is so. */
static bool compare(struct run *x, const struct kase *k, const struct hm_yaml *want,
		    const struct fixture_got *g)
{
	const struct hm_yaml *error = hm_yaml_get(want, "error");
	struct hm_buf a, b;
	char name[160], la[200], lb[200];
	bool same = true;

	if (error && g->rc && error->type == HM_YAML_SCALAR && error->text.len &&
	    hm_str_find(hm_str_c(g->err.text), error->text) >= 0)
		return true;
	hm_buf_init(&a, FIXTURE_BYTES_MAX);
	hm_buf_init(&b, FIXTURE_BYTES_MAX);
	if (error) {
		hm_fixture_put(&a, 0, "error", hm_fixture_value(error, &x->arena));
		same = false;
	}
	for (const struct hm_yaml *n = want->first; n && !error; n = n->next) {
		const msgpack_object *v = hm_fixture_value(n, &x->arena), *got = NULL;
		msgpack_object room;
		char key[32];

		if (v && v->type == MSGPACK_OBJECT_NIL)
			v = NULL;
		(void)snprintf(key, sizeof(key), "%.*s", HM_STRF(n->key));
		if (!g->rc)
			got = hm_fixture_member(g, key, &room);
		if (!g->rc && hm_fixture_same(v, got)) {
			hm_fixture_put(&a, 0, key, got);
			hm_fixture_put(&b, 0, key, got);
			continue;
		}
		same = false;
		hm_fixture_put(&a, 0, key, v);
		if (!g->rc)
			hm_fixture_put(&b, 0, key, got);
	}
	if (g->rc) {
		msgpack_object text;

		hm_fact_text_value(hm_str_c(g->err.text), false, &text);
		hm_fixture_put(&b, 0, "error", &text);
		same = false;
	} else if (error) {
		for (size_t i = 0; i < FIXTURE_MEMBERS; i++) {
			msgpack_object room;
			const msgpack_object *got = hm_fixture_member(g, hm_fixture_members[i], &room);

			if (got)
				hm_fixture_put(&b, 0, hm_fixture_members[i], got);
		}
	}
	if (!same) {
		say(x, want->key_line, "%.*s%s is not what was expected", HM_STRF(want->key),
		    case_name(k, name, sizeof(name)));
		(void)snprintf(la, sizeof(la), "expected %.*s", HM_STRF(want->key));
		(void)snprintf(lb, sizeof(lb), "actual %.*s", HM_STRF(want->key));
		(void)hm_diff(x->out, la, hm_buf_str(&a), lb, hm_buf_str(&b));
	}
	hm_buf_fini(&a);
	hm_buf_fini(&b);
	return same;
}

static bool members_known(const struct hm_yaml *want, struct hm_err *e)
{
	const char *known[FIXTURE_MEMBERS + 2];
	size_t n = 0;

	if (want->type == HM_YAML_NULL)
		return true;
	while (hm_fixture_members[n]) {
		known[n] = hm_fixture_members[n];
		n++;
	}
	known[n++] = "error";
	known[n] = NULL;
	if (want->type != HM_YAML_MAP)
		return hm_yaml_err(want, e, HM_ETYPE, "must be a map such as {body: \"...\"}") == 0;
	return hm_yaml_known(want, known, e) == 0;
}

static bool check_members(struct run *x, const struct hm_yaml *want)
{
	struct hm_err e = {0};

	if (members_known(want, &e))
		return true;
	say_err(x, &e);
	return false;
}

/* error: every medium named fails so */
static bool run_error(struct run *x, const struct kase *k)
{
	struct fixture_got g;
	struct hm_err e = {0};
	char name[160];
	bool ok = true;

	for (int m = 0; m < HM_MED_COUNT; m++) {
		bool asked = k->media == NULL;

		for (const struct hm_yaml *n = k->media ? k->media->first : NULL; n && !asked; n = n->next) {
			enum hm_medium one;

			if (medium_of(x, n, n->text, &one, &e)) {
				say_err(x, &e);
				return false;
			}
			asked = (int)one == m;
		}
		if (!asked)
			continue;
		render(x, k, (enum hm_medium)m, &g);
		if (g.rc && hm_str_find(hm_str_c(g.err.text), k->error) >= 0)
			continue;
		if (g.rc)
			say(x, k->node->line, "%s%s fails for another reason: %s",
			    hm_medium_name((enum hm_medium)m), case_name(k, name, sizeof(name)), g.err.text);
		else
			say(x, k->node->line, "%s%s was expected to fail: %.*s",
			    hm_medium_name((enum hm_medium)m), case_name(k, name, sizeof(name)),
			    HM_STRF(k->error));
		ok = false;
	}
	return ok;
}

static bool run_expect(struct run *x, const struct kase *k)
{
	struct hm_err e = {0};
	bool ok = true;

	for (const struct hm_yaml *want = k->expect->first; want; want = want->next) {
		struct fixture_got g;
		enum hm_medium m;

		if (medium_of(x, want, want->key, &m, &e)) {
			say_err(x, &e);
			ok = false;
			continue;
		}
		if (!check_members(x, want)) {
			ok = false;
			continue;
		}
		if (want->type == HM_YAML_NULL || want->len == 0) {
			say(x, want->key_line,
			    "%.*s says nothing that could be compared; --update fills it in",
			    HM_STRF(want->key));
			ok = false;
			continue;
		}
		render(x, k, m, &g);
		ok &= compare(x, k, want, &g);
	}
	return ok;
}

/* -- update ------------------------------------------------------------------------------------------------ */

static bool put_actual(struct run *x, const struct kase *k, const struct hm_yaml *at, struct hm_str name,
		       const struct hm_yaml *want, struct hm_buf *b)
{
	bool listed = want && want->type == HM_YAML_MAP && want->len && !hm_yaml_get(want, "error");
	struct fixture_got g;
	struct hm_err e = {0};
	msgpack_object room;
	enum hm_medium m;
	char key[32];

	if (medium_of(x, at, name, &m, &e) || (want && !members_known(want, &e)))
		return false; /* a typo is for people */
	render(x, k, m, &g);
	hm_buf_printf(b, "  %.*s:\n", HM_STRF(name));
	if (g.rc) {
		hm_fact_text_value(hm_str_c(g.err.text), false, &room);
		hm_fixture_put(b, 4, "error", &room);
		return true;
	}
	for (const struct hm_yaml *n = listed ? want->first : NULL; n; n = n->next) {
		(void)snprintf(key, sizeof(key), "%.*s", HM_STRF(n->key));
		hm_fixture_put(b, 4, key, hm_fixture_member(&g, key, &room));
	}
	for (size_t i = 0; i < FIXTURE_MEMBERS && !listed; i++) {
		const msgpack_object *v = hm_fixture_member(&g, hm_fixture_members[i], &room);

		if (v)
			hm_fixture_put(b, 4, hm_fixture_members[i], v);
	}
	return true;
}

/* The case's `expect` as it would be right, into the file's text. */
static bool update(struct run *x, const struct kase *k, struct hm_buf *text)
{
	struct hm_buf b;
	bool ok = true;

	if (k->error.len)
		return false; /* what was to fail did not: that is for people */
	hm_buf_init(&b, FIXTURE_BYTES_MAX);
	for (const struct hm_yaml *n = k->expect ? k->expect->first : NULL; n && ok; n = n->next)
		ok = put_actual(x, k, n, n->key, n, &b);
	for (const struct hm_yaml *n = k->media ? k->media->first : NULL; n && ok; n = n->next) {
		bool there = false;

		for (const struct hm_yaml *w = k->expect ? k->expect->first : NULL; w; w = w->next)
			there |= hm_str_eq(w->key, n->text);
		if (!there)
			ok = put_actual(x, k, n, n->text, NULL, &b);
	}
	ok = ok && b.len && !b.err;
	if (ok && !hm_fixture_replace(text, k->node, hm_buf_str(&b))) {
		say(x, k->node->line, "cannot be updated: write the case with each key on a line of its own");
		ok = false;
	}
	hm_buf_fini(&b);
	return ok;
}

/* -- a file ------------------------------------------------------------------------------------------------ */

static bool run_case(struct run *x, const struct hm_yaml *node, struct kase *k)
{
	struct hm_err e = {0};

	if (read_case(x, node, k, &e)) {
		k->node = NULL; /* nothing to update */
		say_err(x, &e);
		return false;
	}
	if (k->error.len)
		return run_error(x, k);
	if (k->expect && k->expect->len)
		return run_expect(x, k);
	say(x, node->line,
	    "a case needs expect or error; with media: [sms, push] and --update the first is filled in");
	return false;
}

/* From the last to the first, so that lines not yet looked at stay where they are. */
static void run_cases(struct run *x, const struct hm_yaml *cases, struct hm_buf *text)
{
	const struct hm_yaml **v = hm_arena_alloc(&x->arena, (cases->len + 1) * sizeof(*v));
	struct hm_buf *out = x->out, *said = hm_arena_alloc(&x->arena, (cases->len + 1) * sizeof(*said));
	size_t n = 0;

	if (!v || !said) {
		say(x, 0, "out of memory");
		x->r->failed++;
		return;
	}
	for (const struct hm_yaml *c = cases->first; c; c = c->next)
		v[n++] = c;
	for (size_t i = n; i-- > 0;) {
		struct kase k;

		hm_buf_init(&said[i], FIXTURE_BYTES_MAX);
		x->out = &said[i];
		if (run_case(x, v[i], &k)) {
			x->r->passed++;
		} else if (x->o->update && k.node && update(x, &k, text)) {
			hm_buf_reset(&said[i]);
			x->r->updated++;
		} else {
			x->r->failed++;
		}
	}
	x->out = out;
	for (size_t i = 0; i < n; i++) {
		hm_buf_puts(out, hm_buf_str(&said[i]));
		hm_buf_fini(&said[i]);
	}
}

static int open_file(struct run *x, struct hm_str name, struct hm_str yaml, const struct hm_yaml **cases_r,
		     struct hm_err *e)
{
	static const char *const keys[] = {"template", "cases", "locale", "tz", "now",
					   "data",     "facts", "media",  NULL};
	struct hm_str ref = name;
	struct hm_yaml *root;

	if (hm_yaml_parse(&x->arena, x->path, yaml, &root, e))
		return e->code;
	if (root->type != HM_YAML_MAP)
		return hm_yaml_err(root, e, HM_ETYPE, "a file of tests is a map with cases");
	if (hm_yaml_known(root, keys, e))
		return e->code;
	x->root = root;
	if (hm_yaml_get(root, "template")) {
		if (hm_yaml_str(hm_yaml_get(root, "template"), &ref, e))
			return e->code;
	} else if (hm_str_starts(name, HM_STR("tests/"))) {
		ref = hm_str_n(name.p + 6, name.len - 6);
	}
	x->t = hm_template_find(x->o->set, ref, e);
	if (!x->t)
		return e->code;
	*cases_r = hm_yaml_get(root, "cases");
	if (!*cases_r || (*cases_r)->type != HM_YAML_SEQ || (*cases_r)->len == 0)
		return hm_yaml_err(*cases_r ? *cases_r : root, e, HM_EINVAL,
				   "cases must be a list of at least one");
	if (hm_template_is_fragment(x->t))
		return hm_yaml_err(root, e, HM_EINVAL,
				   "\"%.*s\" is a fragment; test the templates that include it",
				   HM_STRF(ref));
	return 0;
}

/* YAML has more ways to write a case than are looked for: what would be written must pass as it stands. */
static bool proves_right(struct hm_str name, const char *path, struct hm_str text,
			 const struct hm_fixture_opts *o, const struct hm_fixture_result *r)
{
	struct hm_fixture_opts look = *o;
	struct hm_fixture_result again;
	struct hm_buf out, none;

	look.update = false;
	hm_buf_init(&out, FIXTURE_BYTES_MAX);
	hm_buf_init(&none, FIXTURE_BYTES_MAX);
	hm_fixture_run(name, path, text, &look, &out, &none, &again);
	hm_buf_fini(&out);
	hm_buf_fini(&none);
	return again.passed == r->passed + r->updated && again.failed == r->failed;
}

void hm_fixture_run(struct hm_str name, const char *path, struct hm_str yaml, const struct hm_fixture_opts *o,
		    struct hm_buf *out, struct hm_buf *text, struct hm_fixture_result *r)
{
	struct run x = {.o = o, .path = path, .out = out, .r = r};
	const struct hm_yaml *cases = NULL;
	struct hm_err e = {0};

	memset(r, 0, sizeof(*r));
	hm_arena_init(&x.arena, NULL, 0);
	hm_arena_init(&x.scratch, NULL, 0);
	hm_buf_puts(text, yaml);
	if (open_file(&x, name, yaml, &cases, &e)) {
		say_err(&x, &e);
		r->failed = 1;
	} else {
		run_cases(&x, cases, text);
	}
	r->tmpl = x.t;
	if (r->updated && !proves_right(name, path, hm_buf_str(text), o, r)) {
		say(&x, 0, "cannot be updated: write its cases with each key on a line of its own");
		r->failed += r->updated;
		r->updated = 0;
	}
	if (r->updated == 0)
		hm_buf_reset(text);
	hm_arena_fini(&x.scratch);
	hm_arena_fini(&x.arena);
}
