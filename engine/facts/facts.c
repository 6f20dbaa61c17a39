/*
 * facts.c - the service: what is remembered, who waits, what a new configuration changes
 */
#include "facts/facts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "facts/facts_int.h"

#define BUCKETS_FIRST 256

/* -- the table ------------------------------------------------------------------------------------ */

static uint64_t hash_of(const struct fact *fa, struct hm_str key)
{
	return hm_hash64(key.p, key.len, (uint64_t)(uintptr_t)fa);
}

static struct hm_fact_entry *find(const struct hm_facts *f, const struct fact *fa, struct hm_str key,
				  uint64_t hash)
{
	struct hm_fact_entry *en = f->table[hash & (f->n_buckets - 1)];

	while (en && !(en->hash == hash && en->fact == fa && hm_str_eq(hm_str_n(en->key, en->key_len), key)))
		en = en->chain;
	return en;
}

static void grow(struct hm_facts *f)
{
	size_t n = f->n_buckets * 2;
	struct hm_fact_entry **v = calloc(n, sizeof(*v));

	if (v == NULL)
		return; /* longer chains, nothing worse */
	for (size_t i = 0; i < f->n_buckets; i++)
		for (struct hm_fact_entry *en = f->table[i], *next; en; en = next) {
			next = en->chain;
			en->chain = v[en->hash & (n - 1)];
			v[en->hash & (n - 1)] = en;
		}
	free(f->table);
	f->table = v;
	f->n_buckets = n;
}

static void insert(struct hm_facts *f, struct hm_fact_entry *en)
{
	struct hm_fact_entry **at;

	if (f->n_hashed >= f->n_buckets)
		grow(f);
	at = &f->table[en->hash & (f->n_buckets - 1)];
	en->chain = *at;
	*at = en;
	en->hashed = true;
	f->n_hashed++;
}

static void unhash(struct hm_facts *f, struct hm_fact_entry *en)
{
	struct hm_fact_entry **at = &f->table[en->hash & (f->n_buckets - 1)];

	if (!en->hashed)
		return;
	while (*at != en)
		at = &(*at)->chain;
	*at = en->chain;
	en->hashed = false;
	f->n_hashed--;
}

/* -- entries -------------------------------------------------------------------------------------- */

static struct hm_fact_entry *entry_new(struct fact *fa, struct hm_str key, uint64_t hash)
{
	struct hm_facts *f = fa->f;
	struct hm_fact_entry *en = calloc(1, sizeof(*en) + key.len);

	if (en == NULL)
		return NULL;
	HM_MAGIC_SET(en, HM_FACT_ENTRY_MAGIC);
	en->fact = fa;
	en->hash = hash;
	en->key_len = key.len;
	if (key.len)
		memcpy(en->key, key.p, key.len);
	hm_list_init(&en->waiters);
	en->due_ms = hm_tick_ms(f->tick) + fa->conf->timeout_ms;
	hm_list_push(&fa->pending, &en->node);
	hm_list_push(&fa->queue, &en->queue);
	if (!hm_timer_armed(&fa->due))
		hm_timer_start(f->tick, &fa->due, fa->conf->timeout_ms);
	insert(f, en);
	fa->n_entries++;
	hm_flush_later(f->tick, &fa->flush);
	return en;
}

/* Off every list, its waiters are somebody else's business by now. The fact may go with its last one. */
static void entry_free(struct hm_fact_entry *en)
{
	struct fact *fa = en->fact;
	struct hm_facts *f = fa->f;

	HM_CHECK(en, HM_FACT_ENTRY_MAGIC);
	hm_assert(hm_list_empty(&en->waiters));
	unhash(f, en);
	if (hm_node_linked(&en->queue))
		hm_list_remove(&fa->queue, &en->queue);
	if (en->state == ENTRY_KNOWN) {
		hm_list_remove(&f->known, &en->node);
		f->bytes -= en->bytes;
		hm_stats_sub(f->tick->stats, HM_CT_FACTS_CACHED, 1);
	} else {
		hm_list_remove(&fa->pending, &en->node);
	}
	fact_req_let_go(en);
	free(en->mem);
	HM_MAGIC_CLEAR(en);
	free(en);
	fa->n_entries--;
	fact_maybe_free(fa);
}

/* Second chance: the oldest goes, unless it was used since it was last looked at. A use is one bit, it moves nothing. */
static void evict(struct hm_facts *f)
{
	struct hm_node *n;

	while ((f->known.len > f->o.cache_entries || f->bytes > f->o.cache_bytes) &&
	       (n = hm_list_first(&f->known)) != NULL) {
		struct hm_fact_entry *en = hm_container_of(n, struct hm_fact_entry, node);

		if (!en->used || en->due_ms <= hm_tick_ms(f->tick)) {
			entry_free(en);
			continue;
		}
		en->used = false;
		hm_list_remove(&f->known, n);
		hm_list_push(&f->known, n);
	}
}

/* -- answers to waiters -------------------------------------------------------------------------------- */

static struct hm_str copy_reason(struct hm_arena *a, struct hm_str fact, const char *reason)
{
	struct hm_str s = hm_arena_printf(a, "fact %.*s: %s", HM_STRF(fact), reason);

	return s.p ? s : HM_STR("fact: out of memory");
}

/* No value: the template's fallback, the fact's, or nothing. */
static void want_none(const struct fact *fa, struct hm_fact_want *w, struct hm_arena *a, const char *reason)
{
	const msgpack_object *fallback = w->fallback ? w->fallback : fa ? fa->conf->fallback : NULL;

	w->reason = copy_reason(a, w->fact, reason);
	w->fell_back = fallback != NULL;
	if (fa)
		fact_count(fa, fallback ? FACT_CT_FALLBACKS : FACT_CT_UNANSWERED);
	if (fallback) { /* the configuration may go before the message does */
		size_t n = fact_object_size(fallback);
		char *at = hm_arena_alloc(a, n + 1);

		if (at != NULL) {
			w->value = fact_object_copy(fallback, &at);
			return;
		}
		w->fell_back = false;
	}
	w->value = (msgpack_object){.type = MSGPACK_OBJECT_NIL};
}

static void want_value(struct hm_fact_want *w, struct hm_arena *a, const struct hm_fact_entry *en)
{
	size_t n = fact_object_size(&en->value);
	char *at = n ? hm_arena_alloc(a, n) : NULL;

	w->fell_back = false;
	w->reason = HM_STR_NULL;
	if (n && at == NULL) {
		want_none(en->fact, w, a, "out of memory");
		return;
	}
	w->value = fact_object_copy(&en->value, &at);
}

static void want_known(struct hm_fact_want *w, struct hm_arena *a, const struct hm_fact_entry *en)
{
	if (en->reason)
		want_none(en->fact, w, a, en->reason);
	else
		want_value(w, a, en);
}

/* One of a waiter's wants has its answer. */
static void want_done(struct hm_facts *f, struct hm_fact_want *want)
{
	struct hm_facts_waiter *w = want->w;

	want->entry = NULL;
	hm_assert(w->missing > 0);
	if (--w->missing == 0)
		hm_list_push(&f->ready, &w->node);
}

void fact_entry_failed(struct hm_fact_entry *en, const char *reason)
{
	struct hm_facts *f = en->fact->f;
	struct hm_node *n;

	HM_CHECK(en, HM_FACT_ENTRY_MAGIC);
	hm_assert(en->state == ENTRY_PENDING);
	while ((n = hm_list_pop(&en->waiters)) != NULL) {
		struct hm_fact_want *w = hm_container_of(n, struct hm_fact_want, node);

		want_none(en->fact, w, w->w->arena, reason);
		want_done(f, w);
	}
	entry_free(en);
}

/* Keeps value or reason in the entry. false: out of memory. */
static bool keep(struct hm_fact_entry *en, const msgpack_object *value, const char *why)
{
	size_t n = value ? fact_object_size(value) : strlen(why) + 1;
	char *at = n ? malloc(n) : NULL;

	if (n && at == NULL)
		return false;
	en->mem = at;
	en->bytes = sizeof(*en) + en->key_len + n;
	if (value) {
		en->value = fact_object_copy(value, &at);
	} else {
		en->value = (msgpack_object){.type = MSGPACK_OBJECT_NIL};
		memcpy(at, why, n);
		en->reason = at;
	}
	return true;
}

void fact_entry_known(struct hm_fact_entry *en, const msgpack_object *value, const char *why)
{
	struct fact *fa = en->fact;
	struct hm_facts *f = fa->f;
	uint64_t ttl = value ? fa->conf->cache_ms : hm_min(fa->conf->cache_ms, f->o.missing_ms);
	struct hm_node *n;

	HM_CHECK(en, HM_FACT_ENTRY_MAGIC);
	hm_assert(en->state == ENTRY_PENDING && !hm_node_linked(&en->queue));
	if (!keep(en, value, why)) {
		fact_entry_failed(en, "out of memory");
		return;
	}
	while ((n = hm_list_pop(&en->waiters)) != NULL) {
		struct hm_fact_want *w = hm_container_of(n, struct hm_fact_want, node);

		want_known(w, w->w->arena, en);
		want_done(f, w);
	}
	fact_req_let_go(en);
	if (ttl == 0 || fa->gone) {
		entry_free(en);
		return;
	}
	hm_list_remove(&fa->pending, &en->node);
	en->state = ENTRY_KNOWN;
	en->due_ms = hm_tick_ms(f->tick) + ttl;
	hm_list_push(&f->known, &en->node);
	f->bytes += en->bytes;
	hm_stats_inc(f->tick->stats, HM_CT_FACTS_CACHED);
	evict(f);
}

void fact_tell(struct hm_facts *f)
{
	struct hm_node *n;

	if (f->telling) /* whoever tells goes on until nobody is left */
		return;
	f->telling = true;
	while ((n = hm_list_pop(&f->ready)) != NULL) {
		struct hm_facts_waiter *w = hm_container_of(n, struct hm_facts_waiter, node);

		w->f = NULL;
		w->on_ready(w);
	}
	f->telling = false;
}

/* The time of the oldest that wait is up. */
static void on_due(struct hm_timer *t)
{
	struct fact *fa = hm_container_of(t, struct fact, due);
	struct hm_facts *f = fa->f;
	char reason[HM_FACT_REASON_MAX];
	struct hm_node *n;

	HM_CHECK(fa, HM_FACT_MAGIC);
	snprintf(reason, sizeof(reason), "no answer in %u ms", fa->conf->timeout_ms);
	fa->n_entries++; /* it stays until the end of this function */
	while ((n = hm_list_first(&fa->pending)) != NULL) {
		struct hm_fact_entry *en = hm_container_of(n, struct hm_fact_entry, node);
		uint64_t now = hm_tick_ms(f->tick);

		if (en->due_ms > now) {
			hm_timer_start(f->tick, &fa->due, en->due_ms - now);
			break;
		}
		fact_entry_failed(en, reason);
	}
	fa->n_entries--;
	fact_maybe_free(fa);
	fact_tell(f);
}

/* -- asking -------------------------------------------------------------------------------------------- */

static struct fact *find_fact(struct hm_facts *f, struct hm_str name)
{
	hm_list_foreach (&f->facts, n) {
		struct fact *fa = hm_container_of(n, struct fact, node);

		if (hm_str_eq(fa->conf->name, name))
			return fa;
	}
	return NULL;
}

/* true: the answer is there. */
static bool want(struct hm_facts *f, struct hm_facts_waiter *w, struct hm_fact_want *x)
{
	struct fact *fa = find_fact(f, x->fact);
	struct hm_fact_entry *en;
	uint64_t hash;

	x->w = w;
	x->entry = NULL;
	hm_node_init(&x->node);
	if (fa == NULL) {
		want_none(NULL, x, w->arena, "it is not in the configuration");
		return true;
	}
	if (x->key.len > HM_FACTS_KEY_MAX) {
		want_none(fa, x, w->arena, "the key is longer than 512 bytes");
		return true;
	}
	hash = hash_of(fa, x->key);
	en = find(f, fa, x->key, hash);
	if (en && en->state == ENTRY_KNOWN) {
		if (en->due_ms > hm_tick_ms(f->tick)) {
			en->used = true;
			fact_count(fa, FACT_CT_HITS);
			want_known(x, w->arena, en);
			return true;
		}
		entry_free(en);
		en = NULL;
	}
	fact_count(fa, FACT_CT_MISSES);
	if (en == NULL && fa->broken[0]) {
		want_none(fa, x, w->arena, fa->broken);
		return true;
	}
	if (en == NULL && fact_paused(fa)) {
		char reason[HM_FACT_REASON_MAX + 64];

		snprintf(reason, sizeof(reason), "it rests after %u failures in a row: %s", fa->fails,
			 fa->last_failure);
		want_none(fa, x, w->arena, reason);
		return true;
	}
	if (en == NULL && (en = entry_new(fa, x->key, hash)) == NULL) {
		want_none(fa, x, w->arena, "out of memory");
		return true;
	}
	x->entry = en;
	hm_list_push(&en->waiters, &x->node);
	return false;
}

bool hm_facts_get(struct hm_facts *f, struct hm_facts_waiter *w)
{
	HM_CHECK(f, HM_FACTS_MAGIC);
	hm_assert(!f->closing && w->n <= HM_FACTS_MAX);
	w->missing = 0;
	hm_node_init(&w->node);
	for (size_t i = 0; i < w->n; i++)
		w->missing += !want(f, w, &w->want[i]);
	w->f = w->missing > 0 ? f : NULL;
	return w->missing == 0;
}

void hm_facts_cancel(struct hm_facts_waiter *w)
{
	struct hm_facts *f = w->f;

	if (f == NULL)
		return;
	HM_CHECK(f, HM_FACTS_MAGIC);
	if (hm_node_linked(&w->node))
		hm_list_remove(&f->ready, &w->node);
	for (size_t i = 0; i < w->n; i++) {
		struct hm_fact_entry *en = w->want[i].entry;

		if (en != NULL)
			hm_list_remove(&en->waiters, &w->want[i].node);
		w->want[i].entry = NULL;
	}
	w->f = NULL;
}

/* -- facts, as the configuration has them ------------------------------------------------------------------ */

static void on_flush(struct hm_flush *fl)
{
	fact_ask(hm_container_of(fl, struct fact, flush));
}

static struct fact *fact_new(struct hm_facts *f, struct hm_config *cfg, const struct hm_fact_conf *conf)
{
	struct fact *fa = calloc(1, sizeof(*fa));
	struct hm_err e;

	if (fa == NULL)
		return NULL;
	fa->stats = fact_stats_take(conf->name);
	if (fa->stats == NULL) {
		free(fa);
		return NULL;
	}
	HM_MAGIC_SET(fa, HM_FACT_MAGIC);
	fa->f = f;
	fa->cfg = hm_config_ref(cfg);
	fa->conf = conf;
	hm_list_init(&fa->queue);
	hm_list_init(&fa->pending);
	hm_timer_init(&fa->due, on_due);
	hm_flush_init(&fa->flush, on_flush);
	hm_list_push(&f->facts, &fa->node);
	hm_err_clear(&e);
	if (fact_open(fa, &e) != 0) {
		snprintf(fa->broken, sizeof(fa->broken), "%.*s",
			 (int)hm_utf8_cut(hm_str_c(e.text), sizeof(fa->broken) - 1), e.text);
		HM_ERROR(FACTS, "a fact cannot be used", HM_SV("fact", conf->name), HM_E(&e));
	}
	return fa;
}

void fact_maybe_free(struct fact *fa)
{
	struct hm_facts *f = fa->f;

	HM_CHECK(fa, HM_FACT_MAGIC);
	if (!fa->gone || fa->n_entries > 0 || fa->n_reqs > 0)
		return;
	hm_timer_stop(f->tick, &fa->due);
	hm_flush_cancel(f->tick, &fa->flush);
	hm_list_remove(&f->gone, &fa->node);
	if (fa->source)
		fact_source_put(fa->source);
	fact_stats_leave(fa->stats);
	hm_config_unref(fa->cfg);
	HM_MAGIC_CLEAR(fa);
	free(fa);
}

/* Nothing new is asked of it, what it knew is forgotten, who waits goes on waiting. */
static void fact_drop(struct fact *fa)
{
	struct hm_facts *f = fa->f;

	hm_list_remove(&f->facts, &fa->node);
	hm_list_push(&f->gone, &fa->node);
	fa->gone = true;
	fa->n_entries++;
	hm_list_foreach_safe (&f->known, n, tmp) {
		struct hm_fact_entry *en = hm_container_of(n, struct hm_fact_entry, node);

		if (en->fact == fa)
			entry_free(en);
	}
	hm_list_foreach (&fa->pending, n)
		unhash(f, hm_container_of(n, struct hm_fact_entry, node));
	fa->n_entries--;
	fact_maybe_free(fa);
}

static void take_settings(struct hm_facts *f, const struct hm_settings *s)
{
	f->o.cache_entries = (size_t)s->facts.cache_entries;
	f->o.cache_bytes = s->facts.cache_bytes;
	f->o.max_value = s->facts.max_value;
	f->o.missing_ms = s->facts.missing_for_ms;
	f->o.pause_ms = s->facts.pause_ms;
	f->o.pause_after = (uint32_t)s->facts.pause_after;
}

/* TLS settings that a fact takes over from elsewhere may have changed as well. */
static bool same(const struct fact *fa, const struct hm_config *cfg, const struct hm_fact_conf *c)
{
	const struct hm_settings *a = &fa->cfg->settings, *b = &cfg->settings;

	return hm_fact_conf_same(fa->conf, c) && a->redis.tls_verify == b->redis.tls_verify &&
	       a->wire.tls_verify == b->wire.tls_verify && !fa->broken[0];
}

void hm_facts_reload(struct hm_facts *f, struct hm_config *cfg)
{
	HM_CHECK(f, HM_FACTS_MAGIC);
	take_settings(f, &cfg->settings);
	hm_list_foreach_safe (&f->facts, n, tmp) {
		struct fact *fa = hm_container_of(n, struct fact, node);
		const struct hm_fact_conf *c = hm_config_fact(cfg, fa->conf->name);

		if (c == NULL || !same(fa, cfg, c))
			fact_drop(fa);
	}
	for (size_t i = 0; i < cfg->n_facts; i++)
		if (find_fact(f, cfg->facts[i].name) == NULL && fact_new(f, cfg, &cfg->facts[i]) == NULL)
			HM_ERROR(FACTS, "no memory for a fact", HM_SV("fact", cfg->facts[i].name));
	evict(f);
}

/* -- life ------------------------------------------------------------------------------------------------- */

static void on_closed(struct hm_flush *fl)
{
	struct hm_facts *f = hm_container_of(fl, struct hm_facts, closed_flush);
	void (*done)(void *arg) = f->on_closed;
	void *arg = f->closed_arg;

	HM_CHECK(f, HM_FACTS_MAGIC);
	hm_assert(f->n_hashed == 0 && hm_list_empty(&f->gone) && hm_list_empty(&f->known));
	msgpack_zone_destroy(&f->zone);
	free(f->table);
	HM_MAGIC_CLEAR(f);
	free(f);
	done(arg);
}

void fact_maybe_closed(struct hm_facts *f)
{
	if (f->closing && hm_list_empty(&f->reqs) && f->open_sources == 0)
		hm_flush_later(f->tick, &f->closed_flush);
}

struct hm_facts *hm_facts_new(const struct hm_facts_deps *d, struct hm_config *cfg, struct hm_err *e)
{
	struct hm_facts *f = calloc(1, sizeof(*f));

	if (f == NULL || (f->table = calloc(BUCKETS_FIRST, sizeof(struct hm_fact_entry *))) == NULL ||
	    !msgpack_zone_init(&f->zone, MSGPACK_ZONE_CHUNK_SIZE)) {
		free(f ? f->table : NULL);
		free(f);
		hm_err_set(e, HM_ENOMEM, "out of memory");
		return NULL;
	}
	HM_MAGIC_SET(f, HM_FACTS_MAGIC);
	f->n_buckets = BUCKETS_FIRST;
	f->tick = d->tick;
	f->redis = d->redis;
	f->wire = d->wire;
	hm_list_init(&f->facts);
	hm_list_init(&f->gone);
	hm_list_init(&f->sources);
	hm_list_init(&f->reqs);
	hm_list_init(&f->known);
	hm_list_init(&f->ready);
	hm_flush_init(&f->closed_flush, on_closed);
	hm_facts_reload(f, cfg);
	return f;
}

void hm_facts_close(struct hm_facts *f, void (*fn)(void *arg), void *arg)
{
	struct hm_node *n;

	HM_CHECK(f, HM_FACTS_MAGIC);
	hm_assert(!f->closing && hm_list_empty(&f->ready));
	f->on_closed = fn;
	f->closed_arg = arg;
	while ((n = hm_list_first(&f->facts)) != NULL)
		fact_drop(hm_container_of(n, struct fact, node));
	/* What is asked for nobody: entries first, so that requests have none left. */
	hm_list_foreach_safe (&f->gone, g, tmp) {
		struct fact *fa = hm_container_of(g, struct fact, node);

		fa->n_reqs++;
		while ((n = hm_list_first(&fa->pending)) != NULL)
			entry_free(hm_container_of(n, struct hm_fact_entry,
						   node)); /* has no waiters: asserted there */
		fa->n_reqs--;
		fact_maybe_free(fa);
	}
	fact_reqs_cut(f);
	hm_list_foreach_safe (&f->gone, g, tmp)
		fact_maybe_free(hm_container_of(g, struct fact, node));
	f->closing = true;
	fact_maybe_closed(f);
}

void hm_facts_describe(const struct hm_facts *f, struct hm_buf *out)
{
	bool first = true;

	HM_CHECK(f, HM_FACTS_MAGIC);
	hm_buf_printf(out, "{\"cached\":%zu,\"cached_bytes\":%zu,\"facts\":{", f->known.len, f->bytes);
	hm_list_foreach (&f->facts, n) {
		const struct fact *fa = hm_container_of(n, const struct fact, node);

		hm_buf_printf(out,
			      "%s\"%s\":{\"waiting\":%zu,\"queued\":%zu,\"requests\":%u,\"failures\":%u,"
			      "\"resting\":%s",
			      first ? "" : ",", fa->conf->name.p, fa->pending.len, fa->queue.len,
			      fa->in_flight, fa->fails, fact_paused(fa) ? "true" : "false");
		if (fa->fails > 0) {
			hm_buf_lit(out, ",\"last_failure\":\"");
			hm_buf_json(out, hm_str_c(fa->last_failure));
			hm_buf_putc(out, '"');
		}
		hm_buf_putc(out, '}');
		first = false;
	}
	hm_buf_lit(out, "}}");
}
