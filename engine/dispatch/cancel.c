/*
 * cancel.c - the set of marks
 *
 * One writer (control thread), many readers. Marks are hashes of what they name in open-addressing tables; a slot goes
 * from 0 to its hash with one atomic store and keeps it while readers look, so look-ups need no lock. The value beside it
 * (cancelled up to when; paused or not) may change at any time. When a table fills, a bigger copy without what is over is
 * published and the old one is kept until the set is freed (tables double, so all old ones together are smaller than the
 * current one). Pruning publishes a fresh copy as well.
 */
#include "dispatch/cancel.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

struct mark {
	uint64_t hash;	/* 0 = free */
	uint64_t value; /* cancels: ms of the mark. pauses: round of the latest telling, 0 = over */
};
struct table {
	struct table *older;
	size_t cap, len; /* len: writer only */
	struct mark v[];
};
struct hm_cancel_set {
	struct table *cancels, *pauses;	  /* atomic */
	uint64_t gen, cancel_gen, active; /* atomic; active: pauses that hold */
	uint64_t round;			  /* of telling pauses */
	bool ready, by_id;		  /* atomic */
};

static const char *const kind_names[HM_MARK_KINDS] = {"id", "campaign", "tag", "tenant"};
static const uint64_t seeds[HM_MARK_KINDS] = {0x6964, 0x63616d, 0x746167, 0x74656e};

const char *hm_mark_kind_name(enum hm_mark_kind kind)
{
	return kind_names[kind];
}

int hm_mark_kind_find(struct hm_str name)
{
	for (int k = 0; k < HM_MARK_KINDS; k++)
		if (hm_str_is(name, kind_names[k]))
			return k;
	return -1;
}

static struct table *table_new(size_t cap)
{
	struct table *t = calloc(1, sizeof(*t) + cap * sizeof(struct mark));

	if (t != NULL)
		t->cap = cap;
	return t;
}

static void table_free(struct table *t)
{
	for (struct table *older; t != NULL; t = older) {
		older = t->older;
		free(t);
	}
}

struct hm_cancel_set *hm_cancel_new(void)
{
	struct hm_cancel_set *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->cancels = table_new(256);
	s->pauses = table_new(64);
	s->round = 1;
	if (s->cancels == NULL || s->pauses == NULL) {
		hm_cancel_free(s);
		return NULL;
	}
	return s;
}

void hm_cancel_free(struct hm_cancel_set *s)
{
	if (s == NULL)
		return;
	table_free(s->cancels);
	table_free(s->pauses);
	free(s);
}

/* -- tables ---------------------------------------------------------------------------------------- */

static struct mark *slot_of(struct table *t, uint64_t hash)
{
	size_t i = (size_t)hash & (t->cap - 1);

	while (t->v[i].hash != 0 && t->v[i].hash != hash)
		i = (i + 1) & (t->cap - 1);
	return &t->v[i];
}

static void table_put(struct table *t, uint64_t hash, uint64_t value)
{
	struct mark *m = slot_of(t, hash);

	/* value before hash: a reader that sees the hash sees a value */
	__atomic_store_n(&m->value, value, __ATOMIC_RELEASE);
	if (m->hash == 0)
		t->len++;
	__atomic_store_n(&m->hash, hash, __ATOMIC_RELEASE);
}

/* A copy of what is not below `least`. */
static bool rebuild(struct table **at, size_t cap, uint64_t least)
{
	struct table *old = *at, *t = table_new(cap);

	if (t == NULL)
		return false;
	for (size_t i = 0; i < old->cap; i++)
		if (old->v[i].hash != 0 && old->v[i].value >= least)
			table_put(t, old->v[i].hash, old->v[i].value);
	t->older = old;
	__atomic_store_n(at, t, __ATOMIC_RELEASE);
	return true;
}

static bool put(struct table **at, uint64_t hash, uint64_t value, uint64_t least)
{
	if ((*at)->len * 2 >= (*at)->cap && !rebuild(at, (*at)->cap * 2, least))
		return false;
	table_put(*at, hash, value);
	return true;
}

static uint64_t value_of(struct table *const *at, uint64_t hash)
{
	const struct table *t = __atomic_load_n(at, __ATOMIC_ACQUIRE);
	size_t i = (size_t)hash & (t->cap - 1);

	for (;;) {
		uint64_t h = __atomic_load_n(&t->v[i].hash, __ATOMIC_ACQUIRE);

		if (h == 0)
			return 0;
		if (h == hash)
			return __atomic_load_n(&t->v[i].value, __ATOMIC_ACQUIRE);
		i = (i + 1) & (t->cap - 1);
	}
}

/* -- what a mark names --------------------------------------------------------------------------------- */

static uint64_t hash_id(const struct hm_ulid *id)
{
	return hm_hash64(id->b, sizeof(id->b), seeds[HM_MARK_ID]) | 1u;
}

static uint64_t hash_label(enum hm_mark_kind kind, struct hm_str s)
{
	return hm_hash64(s.p, s.len, seeds[kind]) | 1u;
}

/* 0: the name of an id is none. */
static uint64_t hash_of(enum hm_mark_kind kind, struct hm_str name)
{
	struct hm_ulid id;

	if (kind != HM_MARK_ID)
		return hash_label(kind, name);
	return hm_ulid_parse(name, &id) ? hash_id(&id) : 0;
}

static void changed(struct hm_cancel_set *s, bool cancels)
{
	if (cancels)
		__atomic_add_fetch(&s->cancel_gen, 1, __ATOMIC_RELEASE);
	__atomic_add_fetch(&s->gen, 1, __ATOMIC_RELEASE);
}

/* -- writing --------------------------------------------------------------------------------------------- */

bool hm_cancel_add_id(struct hm_cancel_set *s, const struct hm_ulid *id, uint64_t since_ms)
{
	if (!put(&s->cancels, hash_id(id), since_ms, 0))
		return false;
	__atomic_store_n(&s->by_id, true, __ATOMIC_RELEASE);
	changed(s, true);
	return true;
}

bool hm_cancel_add(struct hm_cancel_set *s, enum hm_mark_kind kind, struct hm_str name, uint64_t since_ms)
{
	struct hm_ulid id;
	bool ok;

	if (kind == HM_MARK_ID)
		return !hm_ulid_parse(name, &id) || hm_cancel_add_id(s, &id, since_ms);
	ok = put(&s->cancels, hash_label(kind, name), since_ms, 0);
	if (ok)
		changed(s, true);
	return ok;
}

void hm_cancel_prune(struct hm_cancel_set *s, uint64_t older_than_ms)
{
	const struct table *t = s->cancels;
	size_t dead = 0;

	for (size_t i = 0; i < t->cap; i++)
		dead += t->v[i].hash != 0 && t->v[i].value < older_than_ms;
	if (dead > 1000 && dead > t->len / 2)
		(void)rebuild(&s->cancels, t->cap, older_than_ms);
}

bool hm_pause_set(struct hm_cancel_set *s, enum hm_mark_kind kind, struct hm_str name, bool on)
{
	uint64_t hash = hash_of(kind, name), before = hash ? value_of(&s->pauses, hash) : 0;

	if (hash == 0 || (!on && before == 0))
		return true;
	if (!put(&s->pauses, hash, on ? s->round : 0, 1))
		return false;
	if (on != (before != 0)) {
		__atomic_add_fetch(&s->active, on ? 1 : UINT64_MAX, __ATOMIC_RELEASE);
		changed(s, false);
	}
	return true;
}

void hm_pause_begin(struct hm_cancel_set *s)
{
	s->round++;
}

bool hm_pause_end(struct hm_cancel_set *s)
{
	struct table *t = s->pauses;

	for (size_t i = 0; i < t->cap; i++) {
		if (t->v[i].hash == 0 || t->v[i].value == 0 || t->v[i].value == s->round)
			continue;
		__atomic_store_n(&t->v[i].value, 0, __ATOMIC_RELEASE);
		__atomic_add_fetch(&s->active, UINT64_MAX, __ATOMIC_RELEASE);
		changed(s, false);
	}
	return true;
}

void hm_marks_ready(struct hm_cancel_set *s)
{
	__atomic_store_n(&s->ready, true, __ATOMIC_RELEASE);
}

/* -- looking --------------------------------------------------------------------------------------------- */

bool hm_marks_are_ready(const struct hm_cancel_set *s)
{
	return __atomic_load_n(&s->ready, __ATOMIC_ACQUIRE);
}

uint64_t hm_marks_gen(const struct hm_cancel_set *s)
{
	return __atomic_load_n(&s->gen, __ATOMIC_ACQUIRE);
}

uint64_t hm_cancel_gen(const struct hm_cancel_set *s)
{
	return __atomic_load_n(&s->cancel_gen, __ATOMIC_ACQUIRE);
}

bool hm_cancel_by_id(const struct hm_cancel_set *s)
{
	return __atomic_load_n(&s->by_id, __ATOMIC_ACQUIRE);
}

static struct hm_str tag_at(const msgpack_object *tags, uint32_t i)
{
	const msgpack_object *o = &tags->via.array.ptr[i];

	return o->type == MSGPACK_OBJECT_STR ? hm_str_n(o->via.str.ptr, o->via.str.size) : HM_STR_NULL;
}

uint64_t hm_cancel_since(const struct hm_cancel_set *s, const struct hm_mark_labels *l)
{
	uint64_t since = value_of(&s->cancels, hash_id(&l->job));

	if (l->campaign.len > 0)
		since = hm_max(since, value_of(&s->cancels, hash_label(HM_MARK_CAMPAIGN, l->campaign)));
	if (l->tenant.len > 0)
		since = hm_max(since, value_of(&s->cancels, hash_label(HM_MARK_TENANT, l->tenant)));
	for (uint32_t i = 0; l->tags != NULL && i < l->tags->via.array.size; i++)
		since = hm_max(since, value_of(&s->cancels, hash_label(HM_MARK_TAG, tag_at(l->tags, i))));
	return since;
}

bool hm_cancel_id(const struct hm_cancel_set *s, const struct hm_ulid *id)
{
	return hm_cancel_by_id(s) && hm_ulid_ms(id) <= value_of(&s->cancels, hash_id(id));
}

static bool say(char mark_r[HM_MARK_TEXT], enum hm_mark_kind kind, struct hm_str name)
{
	(void)snprintf(mark_r, HM_MARK_TEXT, "%s:%.*s", kind_names[kind], HM_STRF(name));
	return true;
}

static bool is_paused(const struct hm_cancel_set *s, enum hm_mark_kind kind, struct hm_str name)
{
	return name.len > 0 && value_of(&s->pauses, hash_label(kind, name)) != 0;
}

bool hm_pause_id(const struct hm_cancel_set *s, const struct hm_ulid *id, char mark_r[HM_MARK_TEXT])
{
	char text[HM_ULID_TEXT + 1];

	if (__atomic_load_n(&s->active, __ATOMIC_ACQUIRE) == 0 || value_of(&s->pauses, hash_id(id)) == 0)
		return false;
	hm_ulid_text(id, text);
	return say(mark_r, HM_MARK_ID, hm_str_n(text, HM_ULID_TEXT));
}

bool hm_pause_find(const struct hm_cancel_set *s, const struct hm_mark_labels *l, char mark_r[HM_MARK_TEXT])
{
	if (__atomic_load_n(&s->active, __ATOMIC_ACQUIRE) == 0)
		return false;
	if (hm_pause_id(s, &l->job, mark_r))
		return true;
	if (is_paused(s, HM_MARK_CAMPAIGN, l->campaign))
		return say(mark_r, HM_MARK_CAMPAIGN, l->campaign);
	if (is_paused(s, HM_MARK_TENANT, l->tenant))
		return say(mark_r, HM_MARK_TENANT, l->tenant);
	for (uint32_t i = 0; l->tags != NULL && i < l->tags->via.array.size; i++)
		if (is_paused(s, HM_MARK_TAG, tag_at(l->tags, i)))
			return say(mark_r, HM_MARK_TAG, tag_at(l->tags, i));
	return false;
}

bool hm_pause_is(const struct hm_cancel_set *s, struct hm_str mark)
{
	struct hm_str kind;
	int k;
	uint64_t hash;

	if (!hm_str_split(&mark, ':', &kind) || (k = hm_mark_kind_find(kind)) < 0)
		return false;
	hash = hash_of((enum hm_mark_kind)k, mark);
	return hash != 0 && value_of(&s->pauses, hash) != 0;
}
