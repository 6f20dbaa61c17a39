/*
 * supp_walk.c - suppression and consent lists: page by page, and counted
 *
 * A page is a row of HSCANs over the slots. The cursor is "<slot>-<cursor of HSCAN>-<hash>": what one HSCAN gives is put in
 * the order of the hashes of its fields, so that a page can end inside it and the next one ask for the same again and go on
 * after that hash. That holds when the hash table grows meanwhile: the same cursor then gives a part of the same fields,
 * and the others come later.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/obj.h"
#include "gates/suppress.h"

#define WALK_MAGIC  0x77616c6bu
#define TOTAL_MAGIC 0x746f7461u
#define SCAN_COUNT  "1000" /* always the same: a cursor is only good for the same COUNT */
#define SCANS_MAX   128	   /* per page over all slots: what a page may cost when the filter finds little */
#define SCANS_ONE   4000   /* per page of one subject's slot */
#define PATTERN_MAX (4 * HM_SUPPRESS_SUBJECT_MAX)

struct walk {
	uint32_t magic;
	struct hm_redis *r;
	struct hm_str prefix;
	struct hm_suppress_filter f; /* texts in the arena */
	uint64_t now_ms;
	struct hm_arena arena;
	struct hm_buf pattern;
	struct hm_suppress_entry *v;
	size_t n, cap, limit;
	uint32_t slot, last_slot, scans;
	uint64_t cursor, after;
	hm_suppress_page_fn fn;
	void *arg;
};

struct found {
	uint64_t hash;
	size_t at;
};

static void finish(struct walk *w, bool more, const struct hm_err *err)
{
	char text[HM_SUPPRESS_CURSOR_MAX];
	int n = more ? snprintf(text, sizeof(text), "%u-%llx-%llx", w->slot, (unsigned long long)w->cursor,
				(unsigned long long)w->after)
		     : 0;

	w->fn(w->arg, w->v, err ? 0 : w->n, hm_str_n(text, err ? 0 : (size_t)n), err);
	hm_buf_fini(&w->pattern);
	hm_arena_fini(&w->arena);
	HM_MAGIC_CLEAR(w);
	free(w);
}

static bool wanted(const struct walk *w, const struct hm_suppress_entry *x)
{
	const struct hm_suppress_filter *f = &w->f;
	bool consent = x->kind == HM_CONSENT_ADDRESS || x->kind == HM_CONSENT_USER;
	bool user = x->kind == HM_SUPPRESS_USER || x->kind == HM_CONSENT_USER;

	return consent == f->consents && (f->users == f->addresses || user == f->users) &&
	       (f->subject.len == 0 || hm_str_eq(x->subject, f->subject)) &&
	       (f->medium == HM_SUPPRESS_ANY || x->medium == f->medium) &&
	       (f->category.p == NULL || hm_str_eq(x->category, f->category)) &&
	       (f->reason < 0 || hm_suppress_reason_find(x->reason) == f->reason) &&
	       (x->until_ms == 0 || x->until_ms > w->now_ms);
}

static bool keep(struct walk *w, const struct hm_suppress_entry *x)
{
	if (w->n == w->cap) {
		size_t cap = hm_min(w->limit, hm_max(w->cap * 2, (size_t)64));
		struct hm_suppress_entry *v = hm_arena_grow(&w->arena, w->v, w->cap * sizeof(*v),
							    cap * sizeof(*v));

		if (v == NULL)
			return false;
		w->v = v;
		w->cap = cap;
	}
	w->v[w->n] = *x;
	w->v[w->n].subject = hm_arena_str(&w->arena, x->subject);
	if (x->category.len)
		w->v[w->n].category = hm_arena_str(&w->arena, x->category);
	w->n++;
	return w->v[w->n - 1].subject.p && (!x->category.len || w->v[w->n - 1].category.p);
}

static int by_hash(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static void scan(struct walk *w);

/* Takes what fits of one HSCAN. False: the page is full inside it (after is set), or out of memory (*oom). */
static bool take(struct walk *w, const struct hm_reply *list, bool *oom)
{
	size_t n = list->n / 2, m = 0;
	struct found *order = malloc((n + 1) * sizeof(*order));

	if (order == NULL)
		return !(*oom = true);
	for (size_t i = 0; i < n; i++) {
		struct hm_str f = list->v[2 * i].s;
		uint64_t h = hm_hash64(f.p, f.len, 1) | 1;

		if (h > w->after)
			order[m++] = (struct found){h, i};
	}
	qsort(order, m, sizeof(*order), by_hash);
	for (size_t i = 0; i < m; i++) {
		const struct hm_reply *p = &list->v[2 * order[i].at];
		struct hm_arena_mark mark = hm_arena_mark(&w->arena);
		struct hm_suppress_entry x;
		struct hm_err e;

		/* what another program wrote there, and nobody understands, must not hide the rest */
		if (hm_suppress_parse(p[0].s, p[1].s, &w->arena, &x, &e) != 0 || !wanted(w, &x)) {
			hm_arena_rewind(&w->arena, mark);
			continue;
		}
		if (w->n == w->limit) {
			free(order);
			return false;
		}
		if (!keep(w, &x)) {
			free(order);
			return !(*oom = true);
		}
		w->after = order[i].hash;
	}
	free(order);
	return true;
}

static void on_scan(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct walk *w = arg;
	const struct hm_reply *next = hm_reply_at(reply, 0), *list = hm_reply_at(reply, 1);
	struct hm_err e = {0};
	uint64_t cursor;
	bool oom = false;

	HM_CHECK(w, WALK_MAGIC);
	if (!err && (!next || !list || list->type != HM_REPLY_ARRAY || !hm_str_u64(next->s, &cursor))) {
		hm_err_set(&e, HM_EREDIS, "Redis answered something that is not understood");
		err = &e;
	}
	if (err) {
		finish(w, false, err);
		return;
	}
	if (!take(w, list, &oom)) {
		if (oom)
			hm_err_set(&e, HM_ENOMEM, "out of memory");
		finish(w, true, oom ? &e : NULL);
		return;
	}
	w->cursor = cursor;
	w->after = 0;
	if (cursor == 0)
		w->slot++;
	if (w->slot > w->last_slot)
		finish(w, false, NULL);
	else if (w->n == w->limit || ++w->scans >= (w->f.subject.len ? SCANS_ONE : SCANS_MAX))
		finish(w, true, NULL);
	else
		scan(w);
}

static void scan(struct walk *w)
{
	char key[HM_SUPPRESS_KEY_MAX], cursor[24];
	struct hm_str argv[7];

	argv[0] = HM_STR("HSCAN");
	argv[1] = hm_str_n(key, hm_person_key(w->prefix, w->slot, "supp", key, sizeof(key)));
	argv[2] = hm_str_n(cursor,
			   (size_t)snprintf(cursor, sizeof(cursor), "%llu", (unsigned long long)w->cursor));
	argv[3] = HM_STR("MATCH");
	argv[4] = hm_buf_str(&w->pattern);
	argv[5] = HM_STR("COUNT");
	argv[6] = HM_STR(SCAN_COUNT);
	hm_redis_send(w->r, argv[1], argv, hm_countof(argv), on_scan, w);
}

static void put_glob(struct hm_buf *b, struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (strchr("*?[]\\^-", s.p[i]) && s.p[i])
			hm_buf_putc(b, '\\');
		hm_buf_putc(b, s.p[i]);
	}
}

/* A first sieve inside Redis; wanted() decides. */
static void make_pattern(struct walk *w)
{
	const struct hm_suppress_filter *f = &w->f;
	struct hm_buf *b = &w->pattern;
	const char *kinds = f->consents ? "cC" : "au";

	if (f->users == f->addresses)
		hm_buf_printf(b, "[%s]", kinds);
	else
		hm_buf_putc(b, kinds[f->users]);
	hm_buf_putc(b, '\x1f');
	if (f->medium == HM_SUPPRESS_ANY)
		hm_buf_putc(b, '*');
	else
		put_glob(b,
			 f->medium < 0 ? HM_STR("*") : hm_str_c(hm_medium_name((enum hm_medium)f->medium)));
	hm_buf_putc(b, '\x1f');
	if (f->category.p == NULL)
		hm_buf_putc(b, '*');
	else
		put_glob(b, f->category.len ? f->category : HM_STR("*"));
	hm_buf_putc(b, '\x1f');
	if (f->subject.len)
		put_glob(b, f->subject);
	else
		hm_buf_putc(b, '*');
}

static bool part_hex(struct hm_str s, uint64_t *v_r)
{
	uint64_t v = 0;

	if (s.len == 0 || s.len > 16)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		static const char hex[] = "0123456789abcdef";
		const char *c = s.p[i] ? strchr(hex, s.p[i]) : NULL;

		if (c == NULL)
			return false;
		v = v << 4 | (uint64_t)(c - hex);
	}
	*v_r = v;
	return true;
}

bool hm_suppress_cursor_ok(struct hm_str cursor)
{
	struct hm_str slot, scan_at, rest = cursor;
	uint64_t v;

	return cursor.len == 0 ||
	       (cursor.len < HM_SUPPRESS_CURSOR_MAX && hm_str_split(&rest, '-', &slot) &&
		hm_str_u64(slot, &v) && v < HM_SUPPRESS_SLOTS && hm_str_split(&rest, '-', &scan_at) &&
		part_hex(scan_at, &v) && part_hex(rest, &v));
}

static void read_cursor(struct walk *w, struct hm_str cursor)
{
	struct hm_str slot, scan_at;
	uint64_t k = 0;

	if (cursor.len == 0)
		return;
	hm_assert(hm_suppress_cursor_ok(cursor));
	(void)hm_str_split(&cursor, '-', &slot);
	(void)hm_str_split(&cursor, '-', &scan_at);
	if (!hm_str_u64(slot, &k))
		hm_unreachable();
	(void)part_hex(scan_at, &w->cursor);
	(void)part_hex(cursor, &w->after);
	w->slot = (uint32_t)k;
}

void hm_suppress_page(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
		      const struct hm_suppress_filter *f, struct hm_str cursor, uint32_t limit,
		      hm_suppress_page_fn fn, void *arg)
{
	struct walk *w = calloc(1, sizeof(*w));
	struct hm_suppress_entry subject = {.subject = f->subject, .medium = -1};
	struct hm_buf folded;

	if (w == NULL)
		hm_panic(__FILE__, __LINE__, __func__, "no memory for a walk over the lists");
	hm_assert(limit > 0 && limit <= HM_SUPPRESS_PAGE_MAX);
	HM_MAGIC_SET(w, WALK_MAGIC);
	w->r = r;
	w->prefix = prefix;
	w->f = *f;
	w->now_ms = now_ms;
	w->limit = limit;
	w->fn = fn;
	w->arg = arg;
	hm_arena_init(&w->arena, NULL, 0);
	hm_buf_init(&w->pattern, PATTERN_MAX);
	if (f->category.len)
		w->f.category = hm_arena_str(&w->arena, f->category);
	w->last_slot = HM_SUPPRESS_SLOTS - 1;
	read_cursor(w, cursor);
	if (f->subject.len) {
		/* as the field has it: an e-mail address in lower case */
		subject.kind = f->users ? HM_SUPPRESS_USER : HM_SUPPRESS_ADDRESS;
		hm_buf_init_arena(&folded, &w->arena, HM_SUPPRESS_SUBJECT_MAX + 16);
		hm_suppress_field(&subject, &folded);
		w->f.subject = hm_str_n(folded.p + 6, folded.len - 6);
		w->last_slot = hm_person_slot(f->subject);
		if (w->slot != w->last_slot) {
			w->slot = w->last_slot;
			w->cursor = w->after = 0;
		}
	}
	make_pattern(w);
	if (w->pattern.err)
		hm_panic(__FILE__, __LINE__, __func__, "no memory for a walk over the lists");
	scan(w);
}

/* -- the total ------------------------------------------------------------------------------------------ */

static struct hm_redis_script total_script = {
	.name = "suppress-total",
	.source = "local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, 1000)\n"
		  "for _, f in ipairs(due) do\n"
		  "  redis.call('HDEL', KEYS[1], f)\n"
		  "  redis.call('ZREM', KEYS[2], f)\n"
		  "end\n"
		  "return redis.call('HLEN', KEYS[1]) - redis.call('ZCOUNT', KEYS[2], '-inf', ARGV[1])\n",
};

struct total {
	uint32_t magic, open;
	size_t n;
	struct hm_err err;
	hm_suppress_fn fn;
	void *arg;
};

static void on_total(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct total *t = arg;

	HM_CHECK(t, TOTAL_MAGIC);
	if (err)
		t->err = *err;
	else if (reply->type == HM_REPLY_INT && reply->i > 0)
		t->n += (size_t)reply->i;
	if (--t->open > 0)
		return;
	t->fn(t->arg, t->n, t->err.code ? &t->err : NULL);
	HM_MAGIC_CLEAR(t);
	free(t);
}

void hm_suppress_total(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms, hm_suppress_fn fn,
		       void *arg)
{
	struct total *t = calloc(1, sizeof(*t));
	char now[24], keys[2][HM_SUPPRESS_KEY_MAX];
	struct hm_str k[2], args[1];

	if (t == NULL)
		hm_panic(__FILE__, __LINE__, __func__, "no memory to count the lists");
	HM_MAGIC_SET(t, TOTAL_MAGIC);
	t->fn = fn;
	t->arg = arg;
	t->open = HM_SUPPRESS_SLOTS;
	args[0] = hm_str_n(now, (size_t)snprintf(now, sizeof(now), "%llu", (unsigned long long)now_ms));
	for (uint32_t s = 0; s < HM_SUPPRESS_SLOTS; s++) {
		k[0] = hm_str_n(keys[0], hm_person_key(prefix, s, "supp", keys[0], sizeof(keys[0])));
		k[1] = hm_str_n(keys[1], hm_person_key(prefix, s, "supp:until", keys[1], sizeof(keys[1])));
		hm_redis_eval(r, &total_script, k, 2, args, 1, on_total, t);
	}
}
