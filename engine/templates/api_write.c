/*
 * api_write.c - POST, PUT, DELETE: a change from the request to the answer
 *
 *   read the request ─▶ check it against the book ─▶ one script in Redis ─▶ wait until this process uses it ─▶ answer
 *
 * Publishing reads the draft first, and tells the script which one was checked: when another draft has come meanwhile, the
 * whole thing runs again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/obj.h"
#include "templates/api_int.h"

#define CHANGE_MAGIC 0x74636867u
#define CHECK_MAGIC  0x7463686bu
#define TRIES	     3

struct change { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held once it is under way */
	struct hm_templates_api *api;
	struct hm_tstore_change c;
	struct hm_str match; /* what the client said */
	unsigned tries;
	bool created;
	/* the answer */
	bool changed;
	char etag[HM_TSTORE_TAG + 1];
	uint32_t version, current;
	struct hm_templates_wait wait;
};

/* If-Match: one ETag, or *; RFC 9110 section 13.1.1 */
static bool read_match(struct hm_http_req *r, struct hm_str *match_r)
{
	struct hm_str m = hm_str_trim(r->if_match);

	*match_r = HM_STR("");
	if (!r->if_match.p)
		return true;
	if (hm_str_is(m, "*")) {
		*match_r = m;
		return true;
	}
	/* W/"..." is never equal in this comparison: it fails as a stale one does */
	if (m.len >= 2 && m.p[0] == '"' && m.p[m.len - 1] == '"')
		m = hm_str_n(m.p + 1, m.len - 2);
	if (m.len == 0 || hm_str_is(m, "-") || hm_str_chr(m, ',') >= 0) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST,
				&(struct hm_problem_info){.field = HM_STR("If-Match")},
				"If-Match must be one ETag, or *");
		return false;
	}
	*match_r = m;
	return true;
}

static struct change *change_new(struct hm_http_req *r, enum hm_tstore_op op, bool named)
{
	struct change *x = hm_arena_zalloc(&r->arena, sizeof(*x));

	if (!x) {
		hm_tapi_no_memory(r);
		return NULL;
	}
	HM_MAGIC_SET(x, CHANGE_MAGIC);
	x->r = r;
	x->api = hm_http_server_templates(r->srv);
	x->c.op = op;
	x->c.by = r->key_id[0] ? hm_arena_printf(&r->arena, "key:%s", r->key_id) : HM_STR("http");
	if (named && !hm_tapi_name(r, &x->c.name))
		return NULL;
	if (!read_match(r, &x->match))
		return NULL;
	x->c.match = x->match;
	return x;
}

static void change_end(struct change *x)
{
	struct hm_http_req *r = x->r;

	HM_MAGIC_CLEAR(x);
	hm_http_release(r);
}

/* -- the answer ---------------------------------------------------------------------------------- */

static void answer(struct change *x)
{
	struct hm_str headers = HM_STR_NULL;
	struct hm_buf b, where;
	bool gone = x->c.op == HM_TSTORE_DELETE || x->c.op == HM_TSTORE_DISCARD;

	hm_tapi_out(x->r, &b);
	hm_buf_putc(&b, '{');
	hm_tapi_str(&b, "name", x->c.name);
	hm_tapi_str(&b, "etag", hm_str_c(x->etag));
	hm_tapi_u64(&b, "version", x->version);
	hm_tapi_u64(&b, "current", x->current);
	hm_buf_puts(&b, x->changed ? HM_STR(",\"changed\":true}") : HM_STR(",\"changed\":false}"));
	if (x->created) {
		hm_buf_init_arena(&where, &x->r->arena, 1024);
		hm_buf_lit(&where, "Location: /v1/templates/");
		hm_buf_percent(&where, x->c.name);
		hm_buf_lit(&where, "\r\n");
		headers = hm_buf_str(&where);
	}
	hm_tapi_answer(x->r, x->created ? 201 : 200, &b, gone ? HM_STR_NULL : hm_str_c(x->etag), headers);
	change_end(x);
}

static void on_used(struct hm_templates_wait *w)
{
	struct change *x = hm_container_of(w, struct change, wait);

	HM_CHECK(x, CHANGE_MAGIC);
	answer(x);
}

static void refuse(struct change *x, const struct hm_tstore_answer *a)
{
	struct hm_problem_info info = {.line = 0};
	enum hm_problem p = HM_PROBLEM_CONFLICT;
	struct hm_err e = {0};
	char also[64];

	hm_tstore_explain(&x->c, a, &e);
	if (a->etag.len) {
		(void)snprintf(also, sizeof(also), "\"etag\":\"%.*s\"",
			       (int)hm_min(a->etag.len, (size_t)HM_TSTORE_TAG), a->etag.p);
		info.also = also;
	}
	switch (a->result) {
	case HM_TSTORE_STALE: p = a->etag.len ? HM_PROBLEM_STALE : HM_PROBLEM_NOT_FOUND; break;
	case HM_TSTORE_UNMATCHED:
		p = HM_PROBLEM_UNMATCHED;
		info.field = HM_STR("If-Match");
		break;
	case HM_TSTORE_MISSING:
	case HM_TSTORE_NO_DRAFT:
	case HM_TSTORE_NO_VERSION: p = HM_PROBLEM_NOT_FOUND; break;
	case HM_TSTORE_EXISTS: info.field = HM_STR("name"); break;
	default: break;
	}
	hm_http_problem(x->r, p, &info, "%s", e.text);
	change_end(x);
}

static void publish_again(struct change *x);

static void on_changed(void *arg, const struct hm_tstore_answer *a, const struct hm_err *err)
{
	struct change *x = arg;

	HM_CHECK(x, CHANGE_MAGIC);
	if (err) {
		hm_tapi_problem_redis(x->r, err);
		change_end(x);
		return;
	}
	if (a->result == HM_TSTORE_STALE && a->etag.len && x->match.len == 0 && x->tries > 0 &&
	    x->tries < TRIES) {
		publish_again(x);
		return;
	}
	if (a->result != HM_TSTORE_OK && a->result != HM_TSTORE_SAME) {
		refuse(x, a);
		return;
	}
	(void)snprintf(x->etag, sizeof(x->etag), "%.*s", HM_STRF(a->etag));
	x->version = a->version;
	x->current = a->current;
	x->changed = a->result == HM_TSTORE_OK;
	if (!x->changed || !x->api->templates) {
		answer(x);
		return;
	}
	x->wait.on_done = on_used;
	x->wait.back = x->api->mailbox;
	hm_templates_wait(x->api->templates, &x->wait, x->c.name);
}

static void submit(struct change *x, const struct hm_template *t)
{
	const struct hm_settings *s = hm_http_server_settings(x->r->srv);

	x->c.max_templates = (uint32_t)s->templates.max_templates;
	x->c.at_ms = hm_http_server_wall_ms(x->r->srv);
	hm_tstore_change(hm_http_server_redis(x->r->srv), x->api->prefix, &x->c, on_changed, x);
}

/* -- checks: on a thread of the pool, because a large document, or a fragment in a large book, takes its time --------- */

struct check {
	uint32_t magic;
	uv_work_t work;
	struct change *x; /* may be gone once `then` has run */
	struct hm_templates_api *api;
	struct hm_config *cfg; /* held: settings and facts are looked at */
	struct hm_template_set *set;
	struct hm_template_opts opts;
	struct hm_str doc;
	bool document, users; /* what is checked: it, and those who include it */
	struct hm_arena arena;
	struct hm_tapi_errors errors;
	struct hm_template *t;
	void (*then)(struct change *x, const struct hm_template *t);
};

static void on_pool(uv_work_t *w)
{
	struct check *k = hm_container_of(w, struct check, work);
	struct hm_str name = k->x->c.name;

	if (k->document &&
	    (hm_tcheck_document(name, k->doc, &k->opts, hm_tapi_errors_add, &k->errors, &k->t) ||
	     !hm_template_is_fragment(k->t)))
		return;
	if (k->users)
		(void)hm_tcheck_users(name, k->doc, &k->opts, hm_tapi_errors_add, &k->errors);
}

static void check_free(struct check *k)
{
	k->api->checks--;
	hm_template_unref(k->t);
	hm_template_set_unref(k->set);
	hm_config_unref(k->cfg);
	hm_arena_fini(&k->arena);
	HM_MAGIC_CLEAR(k);
	free(k);
}

static void on_checked(uv_work_t *w, int status)
{
	struct check *k = hm_container_of(w, struct check, work);
	struct change *x = k->x;
	bool ok = false;

	HM_CHECK(k, CHECK_MAGIC);
	HM_CHECK(x, CHANGE_MAGIC);
	if (k->errors.n) {
		hm_tapi_errors_answer(x->r, &k->errors);
	} else if (k->document && !k->t) { /* it failed without a word */
		hm_tapi_no_memory(x->r);
	} else {
		ok = true;
		if (k->document) {
			x->c.kind = hm_template_is_fragment(k->t) ? HM_STR("fragment") : HM_STR("message");
			x->c.about = hm_arena_str(&x->r->arena, hm_template_description(k->t));
		}
		k->then(x, k->t);
	}
	check_free(k);
	if (!ok)
		change_end(x);
}

/* Holds the set; NULL: answered, and x is at its end. */
static struct check *check_new(struct change *x)
{
	struct check *k = x->api->checks < HM_TAPI_CHECKS_MAX ? calloc(1, sizeof(*k)) : NULL;
	struct hm_templates_now now = {.cfg = NULL};

	if (!k) {
		hm_http_problem(x->r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"too many templates are being checked");
		change_end(x);
		return NULL;
	}
	HM_MAGIC_SET(k, CHECK_MAGIC);
	k->x = x;
	k->api = x->api;
	k->api->checks++;
	hm_arena_init(&k->arena, NULL, 4u << 20); /* pool thread: not the loop's blocks */
	hm_tapi_errors_init(&k->errors, &k->arena);
	k->set = hm_book_take(x->api->book);
	x->api->now(x->api->arg, &now);
	k->cfg = hm_config_ref((struct hm_config *)(uintptr_t)now.cfg);
	k->opts = now.opts;
	k->opts.with = k->set;
	return k;
}

static void check_start(struct check *k, void (*then)(struct change *x, const struct hm_template *t))
{
	int rc;

	k->then = then;
	rc = uv_queue_work(k->api->tick->loop, &k->work, on_pool, on_checked);
	hm_assert(rc == 0); /* fails only for a NULL callback */
}

/* Is the document right under this name, and, when it becomes what others include, are they? `doc` must live as long as the
 * request. Sets kind and about. */
static void check(struct change *x, struct hm_str doc, bool users,
		  void (*then)(struct change *x, const struct hm_template *t))
{
	struct check *k = check_new(x);

	if (!k)
		return;
	k->document = true;
	k->users = users;
	k->doc = doc;
	check_start(k, then);
}

static struct hm_str source_of(const struct hm_template_set *set, struct hm_str name, uint32_t version)
{
	char ref[HM_TSTORE_NAME_MAX + 16];
	const struct hm_template *t;

	(void)snprintf(ref, sizeof(ref), "%.*s@%u", HM_STRF(name), version);
	t = hm_template_find(set, hm_str_c(ref), NULL);
	return t ? hm_template_source(t) : HM_STR("");
}

/* The current version changes without a new document: do those that include it, if it is a fragment, stay right? */
static void check_users(struct change *x, bool all,
			void (*then)(struct change *x, const struct hm_template *t))
{
	struct check *k = check_new(x);
	const struct hm_template *used;
	uint32_t current;

	if (!k)
		return;
	used = hm_template_find(k->set, x->c.name, NULL);
	current = used ? hm_template_version(used) : 0;
	k->users = used && hm_template_is_fragment(used) &&
		   (all || x->c.op == HM_TSTORE_CURRENT || x->c.version == current);
	k->doc = HM_STR("");
	if (x->c.op == HM_TSTORE_CURRENT)
		k->doc = source_of(k->set, x->c.name, x->c.version);
	else
		for (uint32_t v = current; !all && v > 1 && k->doc.len == 0; v--)
			k->doc = source_of(k->set, x->c.name, v - 1);
	if (k->users) {
		check_start(k, then);
		return;
	}
	check_free(k);
	then(x, NULL);
}

/* -- reading bodies ---------------------------------------------------------------------------------- */

static bool read_document(struct hm_http_req *r, struct hm_str *doc_r)
{
	if (!hm_http_type_is(r->content_type, "application/json") &&
	    !hm_http_type_is(r->content_type, "application/yaml") &&
	    !hm_http_type_is(r->content_type, "application/x-yaml") &&
	    !hm_http_type_is(r->content_type, "text/yaml")) {
		hm_http_problem(r, HM_PROBLEM_MEDIA_TYPE,
				&(struct hm_problem_info){.field = HM_STR("Content-Type")},
				"Content-Type must be application/yaml or application/json");
		return false;
	}
	if (r->body.len == 0) {
		hm_http_problem(r, HM_PROBLEM_BAD_SYNTAX, NULL, "the body is empty; it must be a document");
		return false;
	}
	if (r->body.len > HM_TSTORE_DOC_MAX) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, NULL, "a document may have %u bytes",
				HM_TSTORE_DOC_MAX);
		return false;
	}
	if (hm_http_type_is(r->content_type, "application/json") &&
	    !hm_str_is(hm_tapi_syntax(r->body), "json")) {
		hm_http_problem(r, HM_PROBLEM_BAD_SYNTAX, NULL, "the body must be a JSON object");
		return false;
	}
	*doc_r = hm_arena_str(&r->arena, r->body);
	if (!doc_r->p)
		hm_tapi_no_memory(r);
	return doc_r->p != NULL;
}

static bool read_note(struct hm_http_req *r, const struct hm_tapi_body *b, struct hm_str *note_r)
{
	const msgpack_object *o = b->open ? hm_mp_get(&b->o, HM_STR("note")) : NULL;
	struct hm_str note = HM_STR("");

	if (o && o->type != MSGPACK_OBJECT_NIL && (!hm_mp_str(o, &note) || note.len > HM_TSTORE_NOTE_MAX)) {
		hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = HM_STR("note")},
				"note must be a text of at most %d bytes", HM_TSTORE_NOTE_MAX);
		return false;
	}
	*note_r = note.len ? hm_arena_str(&r->arena, note) : HM_STR("");
	if (!note_r->p)
		hm_tapi_no_memory(r);
	return note_r->p != NULL;
}

/* -- POST /v1/templates ------------------------------------------------------------------------------ */

static bool read_creation(struct change *x, const struct hm_tapi_body *b)
{
	const msgpack_object *name = hm_mp_get(&b->o, HM_STR("name")),
			     *doc = hm_mp_get(&b->o, HM_STR("document")),
			     *publish = hm_mp_get(&b->o, HM_STR("publish"));
	struct hm_http_req *r = x->r;
	struct hm_err e = {0};
	struct hm_buf text;
	struct hm_str s = HM_STR("");
	bool now = false;

	(void)hm_mp_str(name, &s);
	if (hm_tstore_check_name(s, &e)) {
		hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = HM_STR("name")},
				"%s", e.text);
		return false;
	}
	x->c.name = hm_arena_str(&r->arena, s);
	hm_buf_init_arena(&text, &r->arena, HM_TSTORE_DOC_MAX);
	if (doc && doc->type == MSGPACK_OBJECT_MAP) {
		hm_msgpack_to_json(doc, &text);
	} else if (doc && doc->type == MSGPACK_OBJECT_STR && hm_mp_str(doc, &s) && s.len) {
		hm_buf_puts(&text, s);
	} else {
		hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = HM_STR("document")},
				"document must be an object, or the text of a document");
		return false;
	}
	if (text.err == HM_ELIMIT) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE,
				&(struct hm_problem_info){.field = HM_STR("document")},
				"a document may have %u bytes", HM_TSTORE_DOC_MAX);
		return false;
	}
	if (publish && publish->type != MSGPACK_OBJECT_NIL && !hm_mp_bool(publish, &now)) {
		hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = HM_STR("publish")},
				"publish must be true or false");
		return false;
	}
	if (text.err || !x->c.name.p) {
		hm_tapi_no_memory(r);
		return false;
	}
	x->c.op = now ? HM_TSTORE_PUBLISH : HM_TSTORE_SAVE;
	x->c.doc = hm_buf_str(&text);
	return read_note(r, b, &x->c.note);
}

void hm_tapi_create(struct hm_http_req *r)
{
	static const char *const known[] = {"name", "document", "publish", "note", NULL};
	struct change *x = change_new(r, HM_TSTORE_SAVE, false);
	struct hm_tapi_body b;
	bool ok;

	if (!x)
		return;
	ok = hm_tapi_object(r, false, known, &b) && read_creation(x, &b);
	hm_tapi_body_end(&b);
	if (!ok)
		return;
	x->created = true;
	x->c.match = HM_STR("-");
	hm_http_hold(r);
	check(x, x->c.doc, x->c.op == HM_TSTORE_PUBLISH, submit);
}

/* -- the draft ---------------------------------------------------------------------------------------- */

void hm_tapi_save(struct hm_http_req *r)
{
	struct change *x = change_new(r, HM_TSTORE_SAVE, true);

	if (!x || !read_document(r, &x->c.doc))
		return;
	hm_http_hold(r);
	check(x, x->c.doc, false, submit);
}

static void say_valid(struct change *x, const struct hm_template *t)
{
	struct hm_buf b;

	hm_tapi_out(x->r, &b);
	hm_buf_lit(&b, "{\"valid\":true");
	hm_tapi_str(&b, "kind", x->c.kind);
	hm_buf_lit(&b, ",\"fields\":");
	hm_tapi_fields(&b, t);
	hm_buf_putc(&b, '}');
	hm_tapi_answer(x->r, 200, &b, HM_STR_NULL, HM_STR_NULL);
	change_end(x);
}

void hm_tapi_validate(struct hm_http_req *r)
{
	struct change *x = change_new(r, HM_TSTORE_SAVE, true);
	struct hm_str doc;

	if (!x || !read_document(r, &doc))
		return;
	hm_http_hold(r);
	check(x, doc, true, say_valid);
}

static void straight(struct hm_http_req *r, enum hm_tstore_op op)
{
	struct change *x = change_new(r, op, true);

	if (!x)
		return;
	hm_http_hold(r);
	submit(x, NULL);
}

void hm_tapi_discard(struct hm_http_req *r)
{
	straight(r, HM_TSTORE_DISCARD);
}

void hm_tapi_delete(struct hm_http_req *r)
{
	straight(r, HM_TSTORE_DELETE);
}

/* -- publish ---------------------------------------------------------------------------------------- */

static void on_draft(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct change *x = arg;
	struct hm_tstore_answer a = {.result = HM_TSTORE_OK};
	struct hm_str draft = HM_STR_NULL;
	struct hm_tstore_info info;
	struct hm_err e = {0};
	const struct hm_reply *doc;

	HM_CHECK(x, CHANGE_MAGIC);
	if (err) {
		hm_tapi_problem_redis(x->r, err);
		change_end(x);
		return;
	}
	if (reply->type != HM_REPLY_ARRAY || reply->n == 0) {
		a.result = HM_TSTORE_MISSING;
	} else if (hm_tstore_read_info(reply->v[0].s, &x->r->arena, &info, &e)) {
		hm_http_problem(x->r, HM_PROBLEM_INTERNAL, NULL, "%s", e.text);
		change_end(x);
		return;
	} else {
		a.etag = info.etag;
		doc = hm_reply_at(reply, 2 + info.latest);
		if (doc && doc->type == HM_REPLY_STR)
			draft = hm_arena_str(&x->r->arena, doc->s);
		if (x->match.len && !hm_str_is(x->match, "*") && !hm_str_eq(x->match, info.etag))
			a.result = HM_TSTORE_STALE;
		else if (!info.draft || !draft.p)
			a.result = HM_TSTORE_NO_DRAFT;
		x->c.match = info.etag; /* what is checked is what is published */
	}
	if (a.result == HM_TSTORE_OK)
		check(x, draft, true, submit);
	else
		refuse(x, &a);
}

static void publish_again(struct change *x)
{
	const struct hm_str fields[] = {HM_STR_INIT("draft")};

	x->tries++;
	hm_tstore_get(hm_http_server_redis(x->r->srv), x->api->prefix, x->c.name, fields, 1, on_draft, x);
}

void hm_tapi_publish(struct hm_http_req *r)
{
	static const char *const known[] = {"note", NULL};
	struct change *x = change_new(r, HM_TSTORE_PUBLISH, true);
	struct hm_tapi_body b;
	bool ok;

	if (!x)
		return;
	ok = hm_tapi_object(r, true, known, &b) && read_note(r, &b, &x->c.note);
	hm_tapi_body_end(&b);
	if (!ok)
		return;
	hm_http_hold(r);
	publish_again(x);
}

/* -- versions ---------------------------------------------------------------------------------------- */

static void version_change(struct hm_http_req *r, enum hm_tstore_op op, bool all)
{
	static const char *const known[] = {"note", NULL};
	struct change *x = change_new(r, op, true);
	struct hm_tapi_body b;
	struct hm_str word;
	bool ok;

	if (!x || (!all && !hm_tapi_version(r, false, &x->c.version, &word)))
		return;
	ok = hm_tapi_object(r, true, known, &b) && read_note(r, &b, &x->c.note);
	hm_tapi_body_end(&b);
	if (!ok)
		return;
	hm_http_hold(r);
	if (op == HM_TSTORE_RESTORE)
		submit(x, NULL);
	else
		check_users(x, all, submit);
}

void hm_tapi_archive_all(struct hm_http_req *r)
{
	version_change(r, HM_TSTORE_ARCHIVE, true);
}

void hm_tapi_archive(struct hm_http_req *r)
{
	version_change(r, HM_TSTORE_ARCHIVE, false);
}

void hm_tapi_restore(struct hm_http_req *r)
{
	version_change(r, HM_TSTORE_RESTORE, false);
}

void hm_tapi_current(struct hm_http_req *r)
{
	version_change(r, HM_TSTORE_CURRENT, false);
}
