/*
 * ledger.c - the exact count of what was accepted
 */
#include "ledger.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/ulid.h"
#include "profile.h"

#define STRIPES	    64
#define CHUNK	    4096 /* entries */
#define CHUNKS	    16384
#define TEXT_CHUNK  (256u << 10)
#define TEXT_CHUNKS 16384
#define ID_MAX	    1024 /* longer ids count by their first 1024 bytes */

enum id_kind { ID_UUID, ID_ULID, ID_TEXT, ID_HASH };

struct entry { /* 32 bytes */
	union {
		uint8_t raw[16];
		struct {
			uint64_t hash;
			uint32_t chunk, pos; /* text: uint16 length, bytes */
		} t;
	} u;
	uint32_t count;
	uint32_t first_ms, last_ms; /* since the ledger's start */
	uint32_t meta;		    /* profile << 8 | kind */
};
_Static_assert(sizeof(struct entry) == 32, "an entry must stay small");

struct stripe {
	pthread_mutex_t lock;
	uint32_t *index; /* place + 1, 0 = empty */
	uint32_t cap, n; /* cap: power of two */
	struct entry **chunks;
	char **text;
	uint32_t text_chunk, text_pos;
	uint64_t accepted[SINK_MAX_PROFILES], unique[SINK_MAX_PROFILES], lost;
} __attribute__((aligned(64)));

struct ledger {
	bool lean;
	uint64_t start_ms;
	struct stripe s[STRIPES];
};

struct key {
	enum id_kind kind;
	unsigned profile;
	uint64_t hash;
	uint8_t raw[16];
	struct hm_str text;
};

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Canonical lower-case UUID only, so that the text can be given back as it came. */
static bool parse_uuid(struct hm_str s, uint8_t raw[16])
{
	size_t o = 0;

	if (s.len != 36)
		return false;
	for (size_t i = 0; i < 36;) {
		int hi, lo;

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (s.p[i++] != '-')
				return false;
			continue;
		}
		hi = hex_digit(s.p[i]);
		lo = hex_digit(s.p[i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		raw[o++] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	return true;
}

static bool parse_ulid(struct hm_str s, uint8_t raw[16])
{
	struct hm_ulid id;
	char text[HM_ULID_TEXT + 1];

	if (s.len != HM_ULID_TEXT || !hm_ulid_parse(s, &id))
		return false;
	hm_ulid_text(&id, text);
	if (memcmp(text, s.p, s.len) != 0) /* lower case or an alias letter: keep as text */
		return false;
	memcpy(raw, id.b, 16);
	return true;
}

static void make_key(const struct ledger *l, unsigned profile, struct hm_str id, struct key *k)
{
	k->profile = profile;
	k->text = id;
	if (k->text.len > ID_MAX)
		k->text.len = ID_MAX;
	if (parse_uuid(id, k->raw))
		k->kind = ID_UUID;
	else if (parse_ulid(id, k->raw))
		k->kind = ID_ULID;
	else
		k->kind = l->lean ? ID_HASH : ID_TEXT;
	if (k->kind == ID_HASH) {
		uint64_t h[2] = {hm_hash64(id.p, id.len, 1), hm_hash64(id.p, id.len, 2)};

		memcpy(k->raw, h, 16);
	}
	if (k->kind == ID_TEXT)
		k->hash = hm_hash64(k->text.p, k->text.len, profile);
	else
		k->hash = hm_hash64(k->raw, 16, profile);
}

static struct entry *entry_at(const struct stripe *s, uint32_t place)
{
	return &s->chunks[place / CHUNK][place % CHUNK];
}

static uint64_t entry_hash(const struct entry *en)
{
	return (en->meta & 0xff) == ID_TEXT ? en->u.t.hash : hm_hash64(en->u.raw, 16, en->meta >> 8);
}

static struct hm_str entry_text(const struct stripe *s, const struct entry *en)
{
	const char *p = s->text[en->u.t.chunk] + en->u.t.pos;
	uint16_t n;

	memcpy(&n, p, 2);
	return hm_str_n(p + 2, n);
}

static bool entry_is(const struct stripe *s, const struct entry *en, const struct key *k)
{
	if (en->meta != (k->profile << 8 | k->kind))
		return false;
	if (k->kind != ID_TEXT)
		return memcmp(en->u.raw, k->raw, 16) == 0;
	return en->u.t.hash == k->hash && hm_str_eq(entry_text(s, en), k->text);
}

static struct stripe *stripe_of(struct ledger *l, const struct key *k)
{
	return &l->s[k->hash >> 58];
}

static struct entry *lookup(const struct stripe *s, const struct key *k, uint32_t *slot_r)
{
	uint32_t i = s->cap ? (uint32_t)k->hash & (s->cap - 1) : 0;

	for (; s->cap && s->index[i]; i = (i + 1) & (s->cap - 1)) {
		struct entry *en = entry_at(s, s->index[i] - 1);

		if (entry_is(s, en, k))
			return en;
	}
	*slot_r = i;
	return NULL;
}

static bool grow(struct stripe *s)
{
	uint32_t cap = s->cap ? s->cap * 2 : 256;
	uint32_t *index = calloc(cap, sizeof(*index));

	if (!index)
		return false;
	for (uint32_t p = 0; p < s->n; p++) {
		uint32_t i = (uint32_t)entry_hash(entry_at(s, p)) & (cap - 1);

		while (index[i])
			i = (i + 1) & (cap - 1);
		index[i] = p + 1;
	}
	free(s->index);
	s->index = index;
	s->cap = cap;
	return true;
}

static bool store_text(struct stripe *s, struct entry *en, struct hm_str text)
{
	uint32_t need = (uint32_t)text.len + 2;
	uint16_t n = (uint16_t)text.len;
	char *p;

	if (!s->text && !(s->text = calloc(TEXT_CHUNKS, sizeof(*s->text))))
		return false;
	if (s->text[s->text_chunk] && s->text_pos + need > TEXT_CHUNK) {
		if (s->text_chunk + 1 == TEXT_CHUNKS)
			return false;
		s->text_chunk++;
		s->text_pos = 0;
	}
	if (!s->text[s->text_chunk] && !(s->text[s->text_chunk] = malloc(TEXT_CHUNK)))
		return false;
	p = s->text[s->text_chunk] + s->text_pos;
	memcpy(p, &n, 2);
	if (text.len)
		memcpy(p + 2, text.p, text.len);
	en->u.t.chunk = s->text_chunk;
	en->u.t.pos = s->text_pos;
	s->text_pos += need;
	return true;
}

/* A new entry at the end of the chunks, not yet in the index. */
static struct entry *entry_new(struct stripe *s, const struct key *k)
{
	struct entry *en;

	if (s->n == CHUNK * (uint64_t)CHUNKS ||
	    (!s->chunks && !(s->chunks = calloc(CHUNKS, sizeof(*s->chunks)))))
		return NULL;
	if (!s->chunks[s->n / CHUNK] && !(s->chunks[s->n / CHUNK] = malloc(CHUNK * sizeof(struct entry))))
		return NULL;
	en = entry_at(s, s->n);
	memset(en, 0, sizeof(*en));
	en->meta = k->profile << 8 | k->kind;
	if (k->kind != ID_TEXT) {
		memcpy(en->u.raw, k->raw, 16);
		return en;
	}
	en->u.t.hash = k->hash;
	return store_text(s, en, k->text) ? en : NULL;
}

uint32_t ledger_add(struct ledger *l, unsigned profile, struct hm_str id, uint64_t now_ms)
{
	struct key k;
	struct stripe *s;
	struct entry *en;
	uint32_t slot = 0, count = 0, at = (uint32_t)(now_ms - l->start_ms);

	make_key(l, profile, id, &k);
	s = stripe_of(l, &k);
	pthread_mutex_lock(&s->lock);
	s->accepted[profile]++;
	en = lookup(s, &k, &slot);
	if (!en) {
		if (s->n + 1 > s->cap / 4 * 3) {
			if (!grow(s))
				goto lost;
			lookup(s, &k, &slot);
		}
		en = entry_new(s, &k);
		if (!en)
			goto lost;
		s->index[slot] = ++s->n;
		s->unique[profile]++;
		en->first_ms = at;
	}
	en->last_ms = at;
	count = ++en->count;
	pthread_mutex_unlock(&s->lock);
	return count;
lost:
	s->lost++;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

uint32_t ledger_get(struct ledger *l, unsigned profile, struct hm_str id, uint64_t *first_ms,
		    uint64_t *last_ms)
{
	struct key k;
	struct stripe *s;
	struct entry *en;
	uint32_t slot, count = 0;

	make_key(l, profile, id, &k);
	s = stripe_of(l, &k);
	pthread_mutex_lock(&s->lock);
	en = lookup(s, &k, &slot);
	if (en) {
		count = en->count;
		if (first_ms)
			*first_ms = l->start_ms + en->first_ms;
		if (last_ms)
			*last_ms = l->start_ms + en->last_ms;
	}
	pthread_mutex_unlock(&s->lock);
	return count;
}

void ledger_totals(struct ledger *l, unsigned profile, struct ledger_totals *t)
{
	memset(t, 0, sizeof(*t));
	for (size_t i = 0; i < STRIPES; i++) {
		struct stripe *s = &l->s[i];

		pthread_mutex_lock(&s->lock);
		for (unsigned p = 1; p < SINK_MAX_PROFILES; p++) {
			if (profile && p != profile)
				continue;
			t->accepted += s->accepted[p];
			t->unique += s->unique[p];
		}
		t->lost += s->lost;
		pthread_mutex_unlock(&s->lock);
	}
	t->duplicates = t->accepted - t->unique - t->lost;
}

static void put_id(const struct stripe *s, const struct entry *en, struct hm_buf *out)
{
	static const char hex[] = "0123456789abcdef";
	char text[37];
	size_t n = 0;
	struct hm_ulid id;

	switch ((enum id_kind)(en->meta & 0xff)) {
	case ID_TEXT: hm_buf_json(out, entry_text(s, en)); return;
	case ID_ULID:
		memcpy(id.b, en->u.raw, 16);
		hm_ulid_text(&id, text);
		hm_buf_puts(out, hm_str_c(text));
		return;
	case ID_HASH:
		hm_buf_lit(out, "hash:");
		hm_buf_hex(out, en->u.raw, 16);
		return;
	case ID_UUID: break;
	}
	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[n++] = '-';
		text[n++] = hex[en->u.raw[i] >> 4];
		text[n++] = hex[en->u.raw[i] & 15];
	}
	hm_buf_put(out, text, n);
}

static void put_entry(const struct ledger *l, const struct stripe *s, const struct entry *en,
		      struct hm_buf *out)
{
	hm_buf_printf(out, "{\"profile\":\"%s\",\"id\":\"", sink_profile_name(en->meta >> 8));
	put_id(s, en, out);
	hm_buf_lit(out, "\",\"accepted\":");
	hm_buf_u64(out, en->count);
	hm_buf_lit(out, ",\"first_ms\":");
	hm_buf_u64(out, l->start_ms + en->first_ms);
	hm_buf_lit(out, ",\"last_ms\":");
	hm_buf_u64(out, l->start_ms + en->last_ms);
	hm_buf_lit(out, "}\n");
}

bool ledger_dump(struct ledger *l, struct ledger_cursor *c, unsigned profile, uint32_t min_count, size_t max,
		 struct hm_buf *out)
{
	while (c->stripe < STRIPES && max > 0) {
		struct stripe *s = &l->s[c->stripe];

		pthread_mutex_lock(&s->lock);
		for (; c->entry < s->n && max > 0; c->entry++, max--) {
			const struct entry *en = entry_at(s, c->entry);

			if ((!profile || en->meta >> 8 == profile) && en->count >= min_count)
				put_entry(l, s, en, out);
		}
		if (c->entry >= s->n) {
			c->stripe++;
			c->entry = 0;
		}
		pthread_mutex_unlock(&s->lock);
	}
	return c->stripe < STRIPES;
}

static void stripe_clear(struct stripe *s)
{
	for (size_t i = 0; s->chunks && i < CHUNKS && s->chunks[i]; i++)
		free(s->chunks[i]);
	for (size_t i = 0; s->text && i < TEXT_CHUNKS && s->text[i]; i++)
		free(s->text[i]);
	free(s->chunks);
	free(s->text);
	free(s->index);
	s->chunks = NULL;
	s->text = NULL;
	s->index = NULL;
	s->cap = s->n = s->text_chunk = s->text_pos = 0;
	s->lost = 0;
	memset(s->accepted, 0, sizeof(s->accepted));
	memset(s->unique, 0, sizeof(s->unique));
}

void ledger_reset(struct ledger *l)
{
	for (size_t i = 0; i < STRIPES; i++) {
		pthread_mutex_lock(&l->s[i].lock);
		stripe_clear(&l->s[i]);
		pthread_mutex_unlock(&l->s[i].lock);
	}
}

struct ledger *ledger_new(bool lean)
{
	struct ledger *l = aligned_alloc(64, sizeof(*l));

	if (!l)
		return NULL;
	memset(l, 0, sizeof(*l));
	l->lean = lean;
	l->start_ms = hm_clock_wall_ms();
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_init(&l->s[i].lock, NULL);
	return l;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < STRIPES; i++) {
		stripe_clear(&l->s[i]);
		pthread_mutex_destroy(&l->s[i].lock);
	}
	free(l);
}
