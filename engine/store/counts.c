/*
 * counts.c - counters per campaign and their snapshot
 */
#include <stdlib.h>

#include "store/counts.h"

#define SNAPSHOT_MAGIC	 "HERMODLEDGER"
#define SNAPSHOT_VERSION 2 /* 1 had no replays and nothing moved */
/* A name no campaign can have: texts are cut at HM_REC_TEXT_MAX bytes, this is a hash of its own. */
#define FORGOTTEN_HASH 0x666f72676f74u

void hm_counts_init(struct hm_counts *t)
{
	memset(t, 0, sizeof(*t));
}

void hm_counts_fini(struct hm_counts *t)
{
	for (size_t i = 0; i < t->cap; i++)
		free(t->v[i]);
	free(t->v);
	memset(t, 0, sizeof(*t));
}

static size_t probe(struct hm_counts_row *const *v, size_t cap, uint64_t hash, struct hm_str name,
		    bool forgotten)
{
	size_t i = hash & (cap - 1);

	while (v[i] != NULL &&
	       !(v[i]->hash == hash && v[i]->forgotten == forgotten && hm_str_eq(hm_counts_name(v[i]), name)))
		i = (i + 1) & (cap - 1);
	return i;
}

static bool resize(struct hm_counts *t, size_t cap)
{
	struct hm_counts_row **v = calloc(cap, sizeof(*v));

	if (v == NULL)
		return false;
	for (size_t i = 0; i < t->cap; i++) {
		struct hm_counts_row *r = t->v[i];

		if (r)
			v[probe(v, cap, r->hash, hm_counts_name(r), r->forgotten)] = r;
	}
	free(t->v);
	t->v = v;
	t->cap = cap;
	return true;
}

static struct hm_counts_row *row_of(struct hm_counts *t, uint64_t hash, struct hm_str name, bool forgotten)
{
	struct hm_counts_row *r;
	size_t i;

	if (t->n * 2 >= t->cap && !resize(t, t->cap ? t->cap * 2 : 64))
		return NULL;
	i = probe(t->v, t->cap, hash, name, forgotten);
	if (t->v[i])
		return t->v[i];
	r = calloc(1, sizeof(*r) + name.len + 1);
	if (r == NULL)
		return NULL;
	r->hash = hash;
	r->len = name.len;
	r->forgotten = forgotten;
	if (name.len)
		memcpy(r->name, name.p, name.len);
	t->v[i] = r;
	t->n++;
	return r;
}

struct hm_counts_row *hm_counts_row(struct hm_counts *t, uint64_t hash, struct hm_str name)
{
	struct hm_counts_row *r = t->latest;

	if (r && r->hash == hash && hm_str_eq(hm_counts_name(r), name))
		return r;
	r = row_of(t, hash, name, false);
	t->latest = r;
	return r;
}

struct hm_counts_row *hm_counts_find(const struct hm_counts *t, uint64_t hash, struct hm_str name)
{
	return t->cap ? t->v[probe(t->v, t->cap, hash, name, false)] : NULL;
}

static void apply_moved(struct hm_counts_row *row, const struct hm_rec *r, const char *rec)
{
	unsigned k = (uint8_t)rec[HM_REC_HEAD + 1];
	uint64_t v[HM_REC_SUMS] = {0}, sign = r->back ? 1 : UINT64_MAX; /* wraps to -1 */

	for (unsigned i = 0; i < k && i < HM_REC_SUMS; i++)
		v[i] = hm_le32(rec + HM_REC_SUMS_OFF + 4 * i);
	row->accepted += sign * v[HM_REC_SUM_ACCEPTED];
	row->moved -= sign * v[HM_REC_SUM_ACCEPTED];
	row->replays += sign * v[HM_REC_SUM_REPLAYS];
	row->unknown += sign * v[HM_REC_SUM_UNKNOWN];
	for (size_t s = 0; s < HM_ST_COUNT; s++)
		row->state[s] += sign * v[HM_REC_SUM_STATES + s];
}

void hm_counts_apply(struct hm_counts_row *row, const struct hm_rec *r, const char *rec)
{
	if (r->flags & HM_REC_REPEAT)
		row->repeats++;
	if (r->flags & HM_REC_DEAD)
		return;
	if (r->kind == HM_REC_JOB) {
		uint32_t n = r->n - hm_min(hm_rec_uncounted(r), r->n);

		row->accepted += n;
		row->replays += r->replay ? n : 0;
		return;
	}
	if (r->kind == HM_REC_MOVED) {
		apply_moved(row, r, rec);
		return;
	}
	if (r->flags & HM_REC_AWAY)
		return;
	if (hm_state_final(r->state))
		row->state[r->state]++;
	if (r->prev && hm_state_final(r->prev - 1))
		row->state[r->prev - 1]--;
	row->unknown += (uint64_t)r->unknown - r->prev_unknown;
}

void hm_counts_add(struct hm_counts_row *to, const struct hm_counts_row *from)
{
	to->accepted += from->accepted;
	for (size_t s = 0; s < HM_ST_COUNT; s++)
		to->state[s] += from->state[s];
	to->unknown += from->unknown;
	to->repeats += from->repeats;
	to->replays += from->replays;
	to->moved += from->moved;
	to->last_seq = hm_max(to->last_seq, from->last_seq);
}

void hm_counts_forget(struct hm_counts *t, uint64_t seq)
{
	struct hm_counts_row **v, *sum;
	bool any = false;

	for (size_t i = 0; i < t->cap; i++)
		any |= t->v[i] && !t->v[i]->forgotten && t->v[i]->last_seq <= seq;
	if (!any)
		return;
	/* Rows leave by moving the others to a fresh table: holes would break the probing. Without
	 * the memory for it nothing is forgotten this time. */
	sum = row_of(t, FORGOTTEN_HASH, HM_STR_NULL, true);
	v = sum ? calloc(t->cap, sizeof(struct hm_counts_row *)) : NULL;
	if (v == NULL)
		return;
	for (size_t i = 0; i < t->cap; i++) {
		struct hm_counts_row *r = t->v[i];

		if (r == NULL)
			continue;
		if (r->forgotten || r->last_seq > seq) {
			v[probe(v, t->cap, r->hash, hm_counts_name(r), r->forgotten)] = r;
			continue;
		}
		hm_counts_add(sum, r);
		free(r);
		t->n--;
	}
	free(t->v);
	t->v = v;
	t->latest = NULL;
}

bool hm_counts_next(const struct hm_counts *t, size_t *pos, struct hm_counts_row **row_r)
{
	while (*pos < t->cap) {
		struct hm_counts_row *r = t->v[(*pos)++];

		if (r) {
			*row_r = r;
			return true;
		}
	}
	return false;
}

static void put_varint(struct hm_buf *b, uint64_t v)
{
	char tmp[10];

	hm_buf_put(b, tmp, (size_t)(hm_varint_put(tmp, v) - tmp));
}

void hm_counts_write(const struct hm_counts *t, uint64_t seq, uint64_t created_ms, struct hm_buf *out)
{
	struct hm_counts_row *r;
	size_t pos = 0;

	hm_buf_lit(out, SNAPSHOT_MAGIC);
	hm_buf_putc(out, SNAPSHOT_VERSION);
	put_varint(out, seq);
	put_varint(out, created_ms);
	put_varint(out, HM_ST_COUNT);
	put_varint(out, t->n);
	while (hm_counts_next(t, &pos, &r)) {
		hm_buf_putc(out, r->forgotten ? 1 : 0);
		put_varint(out, r->len);
		hm_buf_puts(out, hm_counts_name(r));
		put_varint(out, r->last_seq);
		put_varint(out, r->accepted);
		for (size_t s = 0; s < HM_ST_COUNT; s++)
			put_varint(out, r->state[s]);
		put_varint(out, r->unknown);
		put_varint(out, r->repeats);
		put_varint(out, r->replays);
		put_varint(out, r->moved);
	}
}

int hm_counts_read(struct hm_counts *t, struct hm_str payload, uint64_t *seq_r, uint64_t *created_ms_r)
{
	struct hm_cut c = {payload.p, payload.p + payload.len, false};
	size_t magic = sizeof(SNAPSHOT_MAGIC) - 1;
	uint64_t states, n;
	int version;

	if (payload.len <= magic || memcmp(payload.p, SNAPSHOT_MAGIC, magic) != 0 || payload.p[magic] < 1 ||
	    payload.p[magic] > SNAPSHOT_VERSION)
		return HM_ESTORE;
	version = payload.p[magic];
	c.p += magic + 1;
	*seq_r = hm_cut_varint(&c);
	*created_ms_r = hm_cut_varint(&c);
	states = hm_cut_varint(
		&c); /* an older file may know fewer: their order is fixed, new ones go to the end */
	n = hm_cut_varint(&c);
	if (c.bad || states > HM_ST_COUNT)
		return HM_ESTORE;
	for (uint64_t i = 0; i < n; i++) {
		bool forgotten = hm_cut_u8(&c) != 0;
		struct hm_str name = hm_cut_text(&c);
		struct hm_counts_row row = {.accepted = 0}, *r;

		row.last_seq = hm_cut_varint(&c);
		row.accepted = hm_cut_varint(&c);
		for (size_t s = 0; s < states; s++)
			row.state[s] = hm_cut_varint(&c);
		row.unknown = hm_cut_varint(&c);
		row.repeats = hm_cut_varint(&c);
		if (version >= 2) {
			row.replays = hm_cut_varint(&c);
			row.moved = hm_cut_varint(&c);
		}
		if (c.bad || name.len > HM_REC_TEXT_MAX)
			return HM_ESTORE;
		r = row_of(t, forgotten ? FORGOTTEN_HASH : hm_rec_campaign_hash(name), name, forgotten);
		if (r == NULL)
			return HM_ENOMEM;
		hm_counts_add(r, &row);
	}
	return 0;
}
