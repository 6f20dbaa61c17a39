/*
 * script.c - scripted answers
 */
#include "script.h"

#include <stdlib.h>

struct script {
	struct hm_arena arena; /* everything below, and the replies */
	struct scripts *all;
	struct hm_node node; /* scripts->live, unlinked when used up */
	unsigned refs;	     /* the list, and replies being used */
	uint64_t number, used;
	unsigned profile;
	struct hm_str token, path, id;
	struct script_reply *replies;
};

struct scripts {
	pthread_mutex_t lock;
	struct hm_list live;
	_Atomic size_t active;
	uint64_t next;
};

struct scripts *scripts_new(void)
{
	struct scripts *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	hm_list_init(&s->live);
	return s;
}

/* Lock held. */
static void unref(struct script *sc)
{
	if (--sc->refs == 0) {
		hm_arena_fini(&sc->arena);
		free(sc);
	}
}

static void unlist(struct scripts *s, struct script *sc)
{
	hm_list_remove(&s->live, &sc->node);
	atomic_store(&s->active, s->live.len);
	unref(sc);
}

void scripts_reset(struct scripts *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->live.len)
		unlist(s, hm_container_of(hm_list_first(&s->live), struct script, node));
	pthread_mutex_unlock(&s->lock);
}

void scripts_free(struct scripts *s)
{
	if (!s)
		return;
	scripts_reset(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* YAML back to JSON: {"json": {...}} is easier to write than a quoted body. */
static void put_json(const struct hm_yaml *n, struct hm_buf *out)
{
	uint64_t u;
	int64_t i;

	switch (n->type) {
	case HM_YAML_NULL: hm_buf_lit(out, "null"); return;
	case HM_YAML_SCALAR:
		if (!n->quoted &&
		    (hm_str_is(n->text, "true") || hm_str_is(n->text, "false") ||
		     hm_str_is(n->text, "null") || hm_str_u64(n->text, &u) || hm_str_i64(n->text, &i))) {
			hm_buf_puts(out, n->text);
			return;
		}
		if (!n->quoted && n->text.len &&
		    (n->text.p[0] == '-' || (n->text.p[0] >= '0' && n->text.p[0] <= '9'))) {
			char *end;

			strtod(n->text.p, &end);
			if (end == n->text.p + n->text.len) {
				hm_buf_puts(out, n->text);
				return;
			}
		}
		hm_buf_putc(out, '"');
		hm_buf_json(out, n->text);
		hm_buf_putc(out, '"');
		return;
	case HM_YAML_SEQ:
	case HM_YAML_MAP: break;
	}
	hm_buf_putc(out, n->type == HM_YAML_MAP ? '{' : '[');
	for (const struct hm_yaml *c = n->first; c; c = c->next) {
		if (c != n->first)
			hm_buf_putc(out, ',');
		if (n->type == HM_YAML_MAP) {
			hm_buf_putc(out, '"');
			hm_buf_json(out, c->key);
			hm_buf_lit(out, "\":");
		}
		put_json(c, out);
	}
	hm_buf_putc(out, n->type == HM_YAML_MAP ? '}' : ']');
}

static int copy_str(struct script *sc, const struct hm_yaml *n, struct hm_str *v_r, struct hm_err *e)
{
	int rc = hm_yaml_str(n, v_r, e);

	if (rc)
		return rc;
	*v_r = v_r->len ? hm_arena_str(&sc->arena, *v_r) : HM_STR("");
	return v_r->p ? 0 : hm_yaml_err(n, e, HM_ELIMIT, "a script may have 16 MiB of text");
}

static int read_headers(struct script *sc, struct script_reply *r, const struct hm_yaml *n, struct hm_err *e)
{
	if (n->type != HM_YAML_MAP)
		return hm_yaml_err(n, e, HM_ETYPE, "headers must be a map");
	for (const struct hm_yaml *c = n->first; c; c = c->next) {
		struct hm_str name, value;
		char *copy;
		int rc = copy_str(sc, c, &value, e);

		if (rc)
			return rc;
		if (r->n_headers == SCRIPT_HEADERS - 1)
			return hm_yaml_err(c, e, HM_ELIMIT, "a reply may have %d headers",
					   SCRIPT_HEADERS - 1);
		copy = hm_arena_strdup(&sc->arena, c->key);
		if (!copy)
			return hm_yaml_err(c, e, HM_ELIMIT, "a script may have 16 MiB of text");
		for (char *p = copy; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p | 0x20);
		name = hm_str_c(copy);
		r->has_type |= hm_str_is(name, "content-type");
		r->headers[r->n_headers].name = name;
		r->headers[r->n_headers++].value = value;
	}
	return 0;
}

static int read_int(const struct hm_yaml *map, const char *key, int64_t min, int64_t max, int64_t *v,
		    struct hm_err *e)
{
	const struct hm_yaml *n = hm_yaml_get(map, key);

	return n ? hm_yaml_i64(n, min, max, v, e) : 0;
}

static int read_body(struct script *sc, struct script_reply *r, const struct hm_yaml *n, struct hm_err *e)
{
	const struct hm_yaml *b = hm_yaml_get(n, "body"), *j = hm_yaml_get(n, "json");
	struct hm_buf text;

	if (b && j)
		return hm_yaml_err(j, e, HM_EINVAL, "give body or json, not both");
	r->has_body = b || j;
	r->json = j != NULL;
	if (b)
		return copy_str(sc, b, &r->body, e);
	if (!j)
		return 0;
	hm_buf_init(&text, 4 << 20);
	put_json(j, &text);
	r->body = text.err ? HM_STR_NULL : hm_arena_str(&sc->arena, hm_buf_str(&text));
	hm_buf_fini(&text);
	return r->body.p ? 0 : hm_yaml_err(j, e, HM_ELIMIT, "the json of a reply is too long");
}

static int read_reply(struct script *sc, const struct hm_yaml *n, struct script_reply *r, struct hm_err *e)
{
	static const char *const keys[] = {"status",  "headers",     "body",   "json",	     "delay_ms",
					   "repeat",  "fault",	     "accept", "trickle_ms", "fill_bytes",
					   "natural", "retry_after", NULL};
	int64_t status = 200, delay = 0, repeat = 1, trickle = 0, fill = 0, retry = -1;
	const struct hm_yaml *h = hm_yaml_get(n, "headers"), *f = hm_yaml_get(n, "fault"),
			     *a = hm_yaml_get(n, "accept");
	const struct hm_yaml *nat = hm_yaml_get(n, "natural");
	int rc = hm_yaml_known(n, keys, e);

	if (rc == 0)
		rc = read_int(n, "status", 100, 599, &status, e);
	if (rc == 0)
		rc = read_int(n, "delay_ms", 0, 3600000, &delay, e);
	if (rc == 0)
		rc = read_int(n, "repeat", 1, INT64_MAX, &repeat, e);
	if (rc == 0)
		rc = read_int(n, "trickle_ms", 0, 600000, &trickle, e);
	if (rc == 0)
		rc = read_int(n, "fill_bytes", 0, (int64_t)1 << 40, &fill, e);
	if (rc == 0)
		rc = read_int(n, "retry_after", 0, 86400, &retry, e);
	if (rc == 0 && h)
		rc = read_headers(sc, r, h, e);
	if (rc == 0 && f)
		rc = knobs_fault(f, &r->fault, e);
	if (rc == 0 && a) {
		r->accept_set = true;
		rc = hm_yaml_bool(a, &r->accept, e);
	}
	if (rc == 0 && nat)
		rc = hm_yaml_bool(nat, &r->natural, e);
	if (rc == 0)
		rc = read_body(sc, r, n, e);
	if (rc == 0 && retry >= 0) {
		struct hm_str v = hm_arena_printf(&sc->arena, "%lld", (long long)retry);

		r->headers[r->n_headers].name = HM_STR("retry-after");
		r->headers[r->n_headers++].value = v;
	}
	r->status = (int)status;
	r->delay_ms = (uint32_t)delay;
	r->repeat = (uint64_t)repeat;
	r->trickle_ms = (uint32_t)trickle;
	r->fill = (uint64_t)fill;
	return rc;
}

static int read_match(struct script *sc, const struct hm_yaml *n, struct hm_err *e)
{
	static const char *const keys[] = {"profile", "token", "path", "id", NULL};
	const struct hm_yaml *p = hm_yaml_get(n, "profile"), *t = hm_yaml_get(n, "token"),
			     *u = hm_yaml_get(n, "path");
	const struct hm_yaml *i = hm_yaml_get(n, "id");
	struct hm_str name;
	int rc = hm_yaml_known(n, keys, e);

	if (rc == 0 && p) {
		int index;

		rc = hm_yaml_str(p, &name, e);
		index = rc == 0 ? sink_profile_find(name) : -1;
		if (rc == 0 && index < 0)
			rc = hm_yaml_err(p, e, HM_EINVAL, "there is no profile '%.*s'", HM_STRF(name));
		sc->profile = index > 0 ? (unsigned)index : 0;
	}
	if (rc == 0 && t)
		rc = copy_str(sc, t, &sc->token, e);
	if (rc == 0 && u)
		rc = copy_str(sc, u, &sc->path, e);
	if (rc == 0 && i)
		rc = copy_str(sc, i, &sc->id, e);
	return rc;
}

static int read_script(struct script *sc, const struct hm_yaml *n, struct hm_err *e)
{
	static const char *const keys[] = {"match", "replies", NULL};
	const struct hm_yaml *m = hm_yaml_get(n, "match"), *list = hm_yaml_get(n, "replies");
	struct script_reply **tail = &sc->replies;
	size_t count = 0;
	int rc = n->type == HM_YAML_MAP
			 ? hm_yaml_known(n, keys, e)
			 : hm_yaml_err(n, e, HM_ETYPE, "a script must be a map with match and replies");

	if (rc == 0 && m && m->type == HM_YAML_MAP)
		rc = read_match(sc, m, e);
	else if (rc == 0 && m && m->type != HM_YAML_NULL)
		rc = hm_yaml_err(m, e, HM_ETYPE, "match must be a map");
	if (rc == 0 && (!list || list->type != HM_YAML_SEQ || list->len == 0))
		rc = hm_yaml_err(n, e, HM_EINVAL, "a script needs replies, a list of at least one");
	for (const struct hm_yaml *c = rc == 0 ? list->first : NULL; rc == 0 && c; c = c->next) {
		struct script_reply *r = hm_arena_zalloc(&sc->arena, sizeof(*r));

		if (!r || ++count > SCRIPT_REPLIES)
			return hm_yaml_err(c, e, HM_ELIMIT, "a script may have %d replies and 16 MiB of text",
					   SCRIPT_REPLIES);
		if (c->type != HM_YAML_MAP)
			return hm_yaml_err(c, e, HM_ETYPE, "a reply must be a map");
		r->owner = sc;
		rc = read_reply(sc, c, r, e);
		*tail = r;
		tail = &r->next;
	}
	return rc;
}

static int add_one(struct scripts *s, const struct hm_yaml *n, struct hm_err *e)
{
	struct script *sc = calloc(1, sizeof(*sc));
	int rc;

	if (!sc)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	hm_arena_init(&sc->arena, NULL, 16 << 20);
	sc->refs = 1;
	sc->all = s;
	rc = read_script(sc, n, e);
	pthread_mutex_lock(&s->lock);
	if (rc == 0 && s->live.len >= SCRIPT_MAX)
		rc = hm_err_set(e, HM_ELIMIT, "there are %d scripts already", SCRIPT_MAX);
	if (rc == 0) {
		sc->number = ++s->next;
		hm_list_push(&s->live, &sc->node);
		atomic_store(&s->active, s->live.len);
	} else {
		unref(sc);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int scripts_add(struct scripts *s, const struct hm_yaml *doc, size_t *added_r, struct hm_err *e)
{
	int rc = 0;

	*added_r = 0;
	if (doc->type != HM_YAML_SEQ) {
		rc = add_one(s, doc, e);
		*added_r = rc == 0;
		return rc;
	}
	for (const struct hm_yaml *c = doc->first; rc == 0 && c; c = c->next) {
		rc = add_one(s, c, e);
		*added_r += rc == 0;
	}
	return rc;
}

static bool matches(const struct script *sc, const struct sink_req *r, const struct sink_ids *ids)
{
	bool id = sc->id.len == 0;

	if ((sc->profile && sc->profile != r->profile) || !hm_str_starts(req_url(r), sc->path) ||
	    !hm_str_starts(r->target, sc->token))
		return false;
	for (size_t i = 0; !id && i < ids->n; i++)
		id = hm_str_starts(ids->v[i].id, sc->id);
	return id;
}

struct script_reply *scripts_take(struct scripts *s, const struct sink_req *r, const struct sink_ids *ids)
{
	struct script_reply *found = NULL;

	if (hm_likely(atomic_load_explicit(&s->active, memory_order_relaxed) == 0))
		return NULL;
	pthread_mutex_lock(&s->lock);
	hm_list_foreach (&s->live, n) {
		struct script *sc = hm_container_of(n, struct script, node);

		if (!matches(sc, r, ids))
			continue;
		found = sc->replies;
		sc->refs++;
		sc->used++;
		if (--found->repeat == 0) {
			sc->replies = found->next;
			if (!sc->replies)
				unlist(s, sc);
		}
		break;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

struct hm_str script_header(const struct script_reply *r, const char *name)
{
	for (size_t i = 0; i < r->n_headers; i++)
		if (hm_str_is(r->headers[i].name, name))
			return r->headers[i].value;
	return HM_STR("");
}

void scripts_done(struct script_reply *r)
{
	struct scripts *s;

	if (!r)
		return;
	s = r->owner->all;
	pthread_mutex_lock(&s->lock);
	unref(r->owner);
	pthread_mutex_unlock(&s->lock);
}

void scripts_json(struct scripts *s, struct hm_buf *out)
{
	bool first = true;

	hm_buf_putc(out, '[');
	pthread_mutex_lock(&s->lock);
	hm_list_foreach (&s->live, n) {
		const struct script *sc = hm_container_of(n, struct script, node);
		uint64_t left = 0;

		for (const struct script_reply *r = sc->replies; r; r = r->next)
			left = left + r->repeat < left ? UINT64_MAX : left + r->repeat;
		hm_buf_printf(out, "%s{\"script\":%llu,\"profile\":\"%s\",\"token\":\"", first ? "" : ",",
			      (unsigned long long)sc->number, sink_profile_name(sc->profile));
		first = false;
		hm_buf_json(out, sc->token);
		hm_buf_lit(out, "\",\"path\":\"");
		hm_buf_json(out, sc->path);
		hm_buf_lit(out, "\",\"id\":\"");
		hm_buf_json(out, sc->id);
		hm_buf_printf(out, "\",\"used\":%llu,\"left\":%llu}", (unsigned long long)sc->used,
			      (unsigned long long)left);
	}
	pthread_mutex_unlock(&s->lock);
	hm_buf_putc(out, ']');
}
