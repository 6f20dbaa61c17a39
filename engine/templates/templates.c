/*
 * templates.c - the process's copy of the store: fetched, compiled, put into the book
 *
 * One template, from the moment something says that it may have changed:
 *
 *   todo ──▶ GET: index and tokens of all versions, as of one moment
 *        ──▶ DOCS: the documents of versions not known by their token, some at a time; each compiled when it comes
 *        ──▶ into the book; who waited is told; once more if something was heard meanwhile
 */
#include "templates/templates.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "base/obj.h"

#define TEMPLATES_MAGIC 0x746d7073u
#define ONE_MAGIC	0x746d706fu
#define FETCHES_MAX	64 /* templates being fetched at once */
#define RETRY_MS	500

struct version {
	char tok[HM_TSTORE_TAG + 1];
	struct hm_template *tmpl; /* NULL: not fetched, or it does not compile */
	bool missing;		  /* to be fetched */
};
struct one { /* a template */
	uint32_t magic;
	struct hm_templates *t;
	char name[HM_TSTORE_NAME_MAX + 1];
	char id[HM_TSTORE_TAG + 1], etag[HM_TSTORE_TAG + 1];
	struct version *v; /* v[n - 1] is version n */
	uint32_t n, current, used;
	uint64_t seen; /* the look that saw it in the index */
	bool fetching, again, gone;
	char next_etag[HM_TSTORE_TAG + 1];
	uint64_t archived[HM_TSTORE_VERSIONS / 64 + 1];
	struct hm_node todo; /* t->todo */
	struct hm_templates_wait *now, *next;
};

struct hm_templates {
	uint32_t magic;
	struct hm_templates_deps d;
	struct one **v; /* by name */
	size_t n, cap;
	struct hm_list todo;
	size_t fetching;
	bool loaded; /* atomic */
	bool looking, look_again, failed, stopped;
	char token[HM_TSTORE_TAG + 1], next_token[HM_TSTORE_TAG + 1];
	struct hm_timer timer;
	struct hm_templates_stats stats;
};

static void go(struct hm_templates *t);

static void put_template(struct hm_template *t)
{
	if (t)
		hm_template_unref(t);
}

static struct hm_str name_of(const struct one *o)
{
	return hm_str_c(o->name);
}

/* -- the list of templates ------------------------------------------------------------------- */

static size_t place(const struct hm_templates *t, struct hm_str name, bool *found)
{
	size_t lo = 0, hi = t->n;

	*found = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = hm_str_cmp(name, name_of(t->v[mid]));

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static struct one *find(const struct hm_templates *t, struct hm_str name)
{
	bool found;
	size_t i = place(t, name, &found);

	return found ? t->v[i] : NULL;
}

static struct one *add(struct hm_templates *t, struct hm_str name)
{
	struct one *o = calloc(1, sizeof(*o));
	bool found;
	size_t i = place(t, name, &found);

	hm_assert(!found && name.len <= HM_TSTORE_NAME_MAX);
	if (o && t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct one **v = realloc(t->v, cap * sizeof(*v));

		if (!v) {
			free(o);
			return NULL;
		}
		t->v = v;
		t->cap = cap;
	}
	if (!o)
		return NULL;
	HM_MAGIC_SET(o, ONE_MAGIC);
	o->t = t;
	memcpy(o->name, name.p, name.len);
	if (i < t->n)
		memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof(*t->v));
	t->v[i] = o;
	t->n++;
	return o;
}

static void forget_versions(struct one *o)
{
	for (uint32_t i = 0; i < o->n; i++)
		put_template(o->v[i].tmpl);
	free(o->v);
	o->v = NULL;
	o->n = o->current = o->used = 0;
}

static void one_free(struct one *o)
{
	HM_CHECK(o, ONE_MAGIC);
	hm_assert(!o->now && !o->next);
	forget_versions(o);
	HM_MAGIC_CLEAR(o);
	free(o);
}

static void drop(struct hm_templates *t, struct one *o)
{
	bool found;
	size_t i = place(t, name_of(o), &found);

	hm_assert(found && t->v[i] == o && !o->fetching && !hm_node_linked(&o->todo));
	memmove(&t->v[i], &t->v[i + 1], (t->n - i - 1) * sizeof(*t->v));
	t->n--;
	one_free(o);
}

/* -- waiting ---------------------------------------------------------------------------------- */

static void deliver_done(struct hm_mail *m, void *owner)
{
	struct hm_templates_wait *w = hm_container_of(m, struct hm_templates_wait, mail);

	w->on_done(w);
}

static void tell(struct hm_templates_wait **list)
{
	struct hm_templates_wait *w = *list, *next;

	*list = NULL;
	for (; w; w = next) {
		next = w->next;
		w->mail.deliver = deliver_done;
		hm_mailbox_post(w->back, &w->mail);
	}
}

/* -- into the book ------------------------------------------------------------------------------ */

static struct hm_template *compile(struct one *o, uint32_t version, struct hm_str text)
{
	struct hm_template_opts opts = o->t->d.opts;
	struct hm_template *tmpl = NULL;
	struct hm_err f;

	opts.with = NULL;
	hm_err_clear(&f);
	o->t->stats.compiled++;
	if (hm_template_compile(name_of(o), version, text, "", &opts, hm_err_keep_first, &f, &tmpl) == 0)
		return tmpl;
	HM_ERROR(TMPL, "a stored template does not compile here and is left out", HM_S("template", o->name),
		 HM_U("version", version), HM_E(&f), HM_I("line", f.line));
	return NULL;
}

/* What jobs without @version get here. */
static uint32_t choose(const struct one *o)
{
	uint32_t v = o->current;

	if (v == 0 || o->v[v - 1].tmpl)
		return v;
	v = o->used;
	if (v == 0 || v > o->n || !o->v[v - 1].tmpl)
		for (v = o->current - 1; v > 0; v--)
			if (o->v[v - 1].tmpl && !(o->archived[v / 64] >> (v % 64) & 1))
				break;
	if (v)
		HM_ERROR(TMPL, "the current version of a template cannot be used here; an older one is",
			 HM_S("template", o->name), HM_U("current", o->current), HM_U("used", v));
	return v;
}

static void publish(struct one *o)
{
	struct hm_templates *t = o->t;
	struct hm_template **v;
	size_t n = 0;

	if (o->n == 0) { /* nothing but a draft: a file of the same name stays what jobs get */
		hm_book_drop(t->d.book, name_of(o));
		o->used = 0;
	} else {
		v = calloc(o->n, sizeof(*v));
		o->used = choose(o);
		for (uint32_t i = 0; v && i < o->n; i++)
			if (o->v[i].tmpl)
				v[n++] = hm_template_ref(o->v[i].tmpl);
		if (!v || hm_book_put(t->d.book, name_of(o), v, n, o->used)) {
			HM_ERROR(TMPL, "a template was not taken over: out of memory",
				 HM_S("template", o->name));
			t->failed = true;
		}
		free(v);
	}
	if (t->d.on_changed)
		t->d.on_changed(t->d.arg);
}

/* -- fetching one ------------------------------------------------------------------------------ */

static void want(struct one *o)
{
	if (o->fetching)
		o->again = true;
	else if (!hm_node_linked(&o->todo))
		hm_list_push(&o->t->todo, &o->todo);
}

/* The fetch is over, one way or the other. */
static void fetched(struct one *o, bool ok)
{
	struct hm_templates *t = o->t;
	struct hm_templates_wait *done = o->now, *later = o->next;
	bool again = o->again && ok && !t->stopped; /* after a failure the next look finds it */

	o->fetching = o->again = false;
	o->now = o->next = NULL;
	t->fetching--;
	if (!ok)
		t->failed = true;
	if (ok && o->gone) {
		hm_book_drop(t->d.book, name_of(o));
		if (t->d.on_changed)
			t->d.on_changed(t->d.arg);
		forget_versions(o);
	} else if (ok) {
		memcpy(o->etag, o->next_etag, sizeof(o->etag));
		publish(o);
	}
	if (again) {
		o->now = later;
		want(o);
	} else {
		tell(&later);
		if (ok && o->gone)
			drop(t, o);
	}
	tell(&done); /* after the book has it */
	go(t);
}

static void fetch_docs(struct one *o);

static void on_docs(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct one *o = arg;
	size_t at = 0;

	HM_CHECK(o, ONE_MAGIC);
	if (err || o->t->stopped) {
		fetched(o, false);
		return;
	}
	/* in the order fetch_docs asked for them */
	for (uint32_t i = 0; i < o->n && at < HM_TSTORE_DOCS_MAX; i++) {
		const struct hm_reply *doc;

		if (!o->v[i].missing)
			continue;
		doc = hm_reply_at(reply, at++);
		o->v[i].missing = false;
		if (doc && doc->type == HM_REPLY_STR)
			o->v[i].tmpl = compile(o, i + 1, doc->s);
		else
			HM_ERROR(TMPL, "a version of a template is not in Redis", HM_S("template", o->name),
				 HM_U("version", i + 1));
	}
	fetch_docs(o);
}

static void fetch_docs(struct one *o)
{
	uint32_t v[HM_TSTORE_DOCS_MAX];
	size_t n = 0;

	for (uint32_t i = 0; i < o->n && n < hm_countof(v); i++)
		if (o->v[i].missing)
			v[n++] = i + 1;
	if (n)
		hm_tstore_docs(o->t->d.redis, o->t->d.prefix, name_of(o), v, n, on_docs, o);
	else
		fetched(o, true);
}

static bool resize(struct one *o, uint32_t n)
{
	struct version *v;

	for (uint32_t i = n; i < o->n; i++)
		put_template(o->v[i].tmpl);
	if (n == 0) {
		free(o->v);
		o->v = NULL;
	} else if (n != o->n) {
		v = realloc(o->v, n * sizeof(*v));
		if (!v) {
			o->n = hm_min(o->n, n);
			return false;
		}
		o->v = v;
		if (n > o->n)
			memset(&v[o->n], 0, (n - o->n) * sizeof(*v));
	}
	o->n = n;
	return true;
}

static void copy_tag(char *to, struct hm_str tag)
{
	size_t n = hm_min(tag.len, (size_t)HM_TSTORE_TAG);

	if (n)
		memcpy(to, tag.p, n);
	to[n] = '\0';
}

/* Compares what is there with what is known. */
static bool take_state(struct one *o, const struct hm_reply *reply, struct hm_arena *a, struct hm_err *e)
{
	struct hm_tstore_info info;
	struct hm_tstore_meta meta;

	if (hm_tstore_read_info(reply->v[0].s, a, &info, e))
		return false;
	if (!hm_str_is(info.id, o->id)) { /* another template of the same name */
		forget_versions(o);
		copy_tag(o->id, info.id);
	}
	if (!resize(o, info.latest)) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
		return false;
	}
	for (uint32_t i = 0; i < o->n; i++) {
		const struct hm_reply *m = hm_reply_at(reply, 2 + i);
		struct version *v = &o->v[i];

		if (!m || m->type != HM_REPLY_STR || hm_tstore_read_meta(m->s, a, &meta, e)) {
			meta.tok = HM_STR("");
			hm_err_clear(e);
		}
		if (meta.tok.len && hm_str_is(meta.tok, v->tok))
			continue;
		put_template(v->tmpl);
		v->tmpl = NULL;
		copy_tag(v->tok, meta.tok);
		v->missing = true;
	}
	o->current = info.current;
	memcpy(o->archived, info.archived, sizeof(o->archived));
	copy_tag(o->next_etag, info.etag);
	return true;
}

static void on_state(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct one *o = arg;
	struct hm_arena a;
	struct hm_err e = {0};
	bool ok;

	HM_CHECK(o, ONE_MAGIC);
	if (err || o->t->stopped) {
		if (err && err->code == HM_EREDIS)
			HM_ERROR(TMPL, "a template cannot be read from Redis", HM_S("template", o->name),
				 HM_E(err));
		fetched(o, false);
		return;
	}
	o->gone = reply->type != HM_REPLY_ARRAY || reply->n == 0;
	if (o->gone) {
		fetched(o, true);
		return;
	}
	hm_arena_init(&a, NULL, 0);
	ok = take_state(o, reply, &a, &e);
	hm_arena_fini(&a);
	if (ok) {
		fetch_docs(o);
		return;
	}
	HM_ERROR(TMPL, "a stored template cannot be read", HM_S("template", o->name), HM_E(&e));
	if (e.code == HM_ENOMEM) {
		fetched(o, false);
		return;
	}
	/* what is loaded of it stays; asking again before it changes would not help */
	memset(o->next_etag, 0, sizeof(o->next_etag));
	fetched(o, true);
}

/* -- the look at the index ----------------------------------------------------------------------- */

/* Redis being away is told by its client; that it refuses is not. */
static void complain(const struct hm_err *err)
{
	if (err && err->code == HM_EREDIS)
		HM_ERROR(TMPL, "the index of managed templates cannot be read", HM_E(err));
}

static void look_over(struct hm_templates *t, bool ok)
{
	t->looking = false;
	if (!ok)
		t->failed = true;
	go(t);
}

static void on_index(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_templates *t = arg;
	struct hm_tstore_info info;
	struct hm_arena a;
	struct hm_err e = {0};

	HM_CHECK(t, TEMPLATES_MAGIC);
	if (err || t->stopped || reply->type != HM_REPLY_ARRAY) {
		complain(err);
		look_over(t, false);
		return;
	}
	t->stats.looks++;
	hm_arena_init(&a, NULL, 0);
	for (size_t i = 0; i + 1 < reply->n; i += 2) {
		struct hm_str name = reply->v[i].s;
		struct one *o;

		hm_err_clear(&e);
		if (hm_tstore_check_name(name, &e) || hm_tstore_read_info(reply->v[i + 1].s, &a, &info, &e)) {
			HM_ERROR(TMPL, "a stored template cannot be read",
				 HM_SV("template", hm_str_n(name.p, hm_min(name.len, (size_t)100))),
				 HM_E(&e));
			o = find(t, name);
			if (o)
				o->seen = t->stats.looks;
			continue;
		}
		o = find(t, name);
		if (!o)
			o = add(t, name);
		if (!o) {
			t->failed = true;
			continue;
		}
		o->seen = t->stats.looks;
		if (!hm_str_is(info.etag, o->etag))
			want(o);
		hm_arena_reset(&a);
	}
	hm_arena_fini(&a);
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i]->seen != t->stats.looks)
			want(t->v[i]);
	look_over(t, true);
}

static void on_token(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_templates *t = arg;
	struct hm_str token;

	HM_CHECK(t, TEMPLATES_MAGIC);
	if (err || t->stopped) {
		complain(err);
		look_over(t, false);
		return;
	}
	token = reply->type == HM_REPLY_STR ? reply->s : HM_STR("none");
	if (t->token[0] && hm_str_is(token, t->token)) {
		look_over(t, true);
		return;
	}
	copy_tag(t->next_token, token);
	hm_tstore_index(t->d.redis, t->d.prefix, on_index, t);
}

static void look(struct hm_templates *t)
{
	if (t->stopped)
		return;
	if (t->looking || t->fetching || t->todo.len) {
		t->look_again = true;
		return;
	}
	t->looking = true;
	t->failed = t->look_again = false;
	t->next_token[0] = '\0';
	hm_tstore_token(t->d.redis, t->d.prefix, on_token, t);
}

static void on_timer(struct hm_timer *tm)
{
	look(hm_container_of(tm, struct hm_templates, timer));
}

/* Starts what waits; when nothing is left, the look is complete. */
static void go(struct hm_templates *t)
{
	struct hm_node *n;

	if (t->stopped)
		return;
	while (t->fetching < FETCHES_MAX && (n = hm_list_pop(&t->todo)) != NULL) {
		struct one *o = hm_container_of(n, struct one, todo);

		o->fetching = true;
		o->gone = false;
		t->fetching++;
		t->stats.fetches++;
		hm_tstore_get(t->d.redis, t->d.prefix, name_of(o), NULL, 0, on_state, o);
	}
	if (t->looking || t->fetching)
		return;
	if (t->failed) {
		t->token[0] = '\0'; /* what was not read is read by the next look */
		t->failed = false;
		hm_timer_start(t->d.tick, &t->timer, RETRY_MS);
		return;
	}
	if (t->next_token[0]) {
		memcpy(t->token, t->next_token, sizeof(t->token));
		t->next_token[0] = '\0';
		if (!__atomic_exchange_n(&t->loaded, true, __ATOMIC_ACQ_REL)) {
			HM_INFO(TMPL, "managed templates loaded", HM_U("templates", t->n),
				HM_U("compiled", t->stats.compiled));
			if (t->d.on_loaded)
				t->d.on_loaded(t->d.arg);
		}
	}
	if (t->look_again)
		look(t);
	else if (t->d.interval_ms && !hm_timer_armed(&t->timer))
		hm_timer_start(t->d.tick, &t->timer, t->d.interval_ms);
}

/* -- outside --------------------------------------------------------------------------------------- */

struct hm_templates *hm_templates_new(const struct hm_templates_deps *d)
{
	struct hm_templates *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	HM_MAGIC_SET(t, TEMPLATES_MAGIC);
	t->d = *d;
	hm_list_init(&t->todo);
	hm_timer_init(&t->timer, on_timer);
	look(t);
	return t;
}

bool hm_templates_loaded(const struct hm_templates *t)
{
	return __atomic_load_n(&t->loaded, __ATOMIC_ACQUIRE);
}

static struct one *ask(struct hm_templates *t, struct hm_str name)
{
	struct hm_err e = {0};
	struct one *o;

	if (hm_tstore_check_name(name, &e))
		return NULL;
	o = find(t, name);
	if (!o)
		o = add(t, name);
	if (o)
		want(o);
	else
		t->failed = true;
	return o;
}

void hm_templates_event(struct hm_templates *t, struct hm_str name, struct hm_str etag)
{
	const struct one *o;

	HM_CHECK(t, TEMPLATES_MAGIC);
	if (t->stopped)
		return;
	o = find(t, name);
	/* what this process has just taken over, told again */
	if (o && !o->fetching && etag.len && hm_str_is(etag, o->etag))
		return;
	if (ask(t, name))
		go(t);
}

void hm_templates_look(struct hm_templates *t)
{
	HM_CHECK(t, TEMPLATES_MAGIC);
	look(t);
}

void hm_templates_configure(struct hm_templates *t, const struct hm_template_opts *opts, uint64_t interval_ms)
{
	HM_CHECK(t, TEMPLATES_MAGIC);
	t->d.opts = *opts;
	t->d.interval_ms = interval_ms;
	for (size_t i = 0; i < t->n; i++) {
		struct one *o = t->v[i];
		bool hole = false;

		for (uint32_t k = 0; k < o->n; k++) {
			struct hm_template *old = o->v[k].tmpl;

			if (o->v[k].missing)
				continue;
			if (!old) { /* perhaps it compiles now: its text is in Redis only */
				o->v[k].tok[0] = '\0';
				hole = true;
				continue;
			}
			o->v[k].tmpl = compile(o, k + 1, hm_template_source(old));
			put_template(old);
		}
		if (!o->fetching)
			publish(o);
		if (hole)
			want(o);
	}
	go(t);
}

void hm_templates_stop(struct hm_templates *t)
{
	HM_CHECK(t, TEMPLATES_MAGIC);
	t->stopped = true;
	hm_timer_stop(t->d.tick, &t->timer);
	while (hm_list_pop(&t->todo) != NULL)
		;
	for (size_t i = 0; i < t->n; i++) {
		tell(&t->v[i]->now);
		tell(&t->v[i]->next);
	}
}

void hm_templates_free(struct hm_templates *t)
{
	if (!t)
		return;
	HM_CHECK(t, TEMPLATES_MAGIC);
	hm_assert(t->stopped && !t->fetching);
	for (size_t i = 0; i < t->n; i++)
		one_free(t->v[i]);
	free(t->v);
	HM_MAGIC_CLEAR(t);
	free(t);
}

void hm_templates_stats(const struct hm_templates *t, struct hm_templates_stats *s)
{
	HM_CHECK(t, TEMPLATES_MAGIC);
	*s = t->stats;
	s->names = t->n;
	for (size_t i = 0; i < t->n; i++)
		for (uint32_t k = 0; k < t->v[i]->n; k++)
			if (t->v[i]->v[k].tmpl)
				s->versions++;
			else
				s->broken++;
}

/* -- waiting, from other threads ---------------------------------------------------------------------- */

static void deliver_wait(struct hm_mail *m, void *owner)
{
	struct hm_templates_wait *w = hm_container_of(m, struct hm_templates_wait, mail);
	struct hm_templates *t = w->t;
	struct one *o;

	HM_CHECK(t, TEMPLATES_MAGIC);
	w->next = NULL;
	o = t->stopped ? NULL : ask(t, hm_str_n(w->name, w->len));
	if (!o) {
		tell(&w);
		return;
	}
	if (o->fetching) { /* that one may have begun before the change */
		w->next = o->next;
		o->next = w;
	} else {
		w->next = o->now;
		o->now = w;
	}
	go(t);
}

void hm_templates_wait(struct hm_templates *t, struct hm_templates_wait *w, struct hm_str name)
{
	hm_assert(name.len <= HM_TSTORE_NAME_MAX && w->back && t->d.mailbox);
	w->t = t;
	w->len = name.len;
	memcpy(w->name, name.p, name.len);
	w->mail.deliver = deliver_wait;
	hm_mailbox_post(t->d.mailbox, &w->mail);
}
