/*
 * record.h - one ledger record as bytes
 *
 *   u32 length of what follows | u8 kind + 16 * version | u8 flags | u8 prev | u8 prev_unknown | id 16
 *   JOB:  u8 lane | varint n | zigzag accepted_ms - ms of the id | texts
 *   MSG:  u8 state + 16 * unknown attempts | u8 lane | varint (id - job) + 1, or 0 and the job's 16 bytes |
 *         zigzag accepted_ms - ms of the id | zigzag updated_ms - accepted_ms | texts | varint attempts | ...
 *        and, only when values were fetched for it, behind the attempts: text (facts)
 *        and, only when it sends a failed message once more, behind that text (which may be empty): 16 bytes
 *   JOB:  the same 16 bytes behind the texts; behind that, when its first message is not the job's first: varint n0.
 *        prev and prev_unknown together: how many of its messages do not count, as another record covers them
 *   MOVED: u8 back | u8 k | k x u32 what it takes from (or gives back to) the counters, filled in by the ledger thread |
 *         u8 lane | u8 replay | varint n0 | varint n | zigzag accepted_ms - ms of the id | text (campaign) | text (node) |
 *         varint hop (missing in older ones: 1)
 *   text: varint length, bytes
 * Encoded once, by the thread that knows the message. The four bytes behind the
 * length are the only ones the ledger thread may still change (hm_rec_mark): what
 * the record replaced, and whether it counts at all.
 *
 * Decoding is safe on any bytes; texts point into them. Numbers are little-endian.
 */
#ifndef HM_STORE_RECORD_H
#define HM_STORE_RECORD_H

#include "store/ledger.h"

#define HM_REC_VERSION	   1
#define HM_REC_HEAD	   24		/* length, marks, id */
#define HM_REC_MAX	   (512u << 10) /* no encoder makes a longer one */
#define HM_REC_TEXT_MAX	   1024
#define HM_REC_UNKNOWN_MAX 15

enum hm_rec_kind { HM_REC_JOB = 1, HM_REC_MSG = 2, HM_REC_MOVED = 3 };
/* The k numbers of a MOVED record: accepted, replays, unknown, then one per state. */
enum { HM_REC_SUM_ACCEPTED, HM_REC_SUM_REPLAYS, HM_REC_SUM_UNKNOWN, HM_REC_SUM_STATES };
#define HM_REC_SUMS	(HM_REC_SUM_STATES + HM_ST_COUNT)
#define HM_REC_SUMS_OFF (HM_REC_HEAD + 2) /* where they stand */
enum {
	HM_REC_DEAD = 1,   /* does not count and is not indexed */
	HM_REC_REPEAT = 2, /* and it was a second final record */
	HM_REC_AWAY = 4,   /* does not count: the message is another node's (owner.h) */
	/* never on disk: what the ledger thread has to look for */
	HM_REC_AMENDS = 64,
	HM_REC_SEARCH = 128,
};

/* What counters and index need to know of a record, in one cache line. */
struct hm_rec {
	struct hm_ulid id;
	uint64_t campaign_hash;
	uint32_t off, len; /* of the whole record inside its frame's payload */
	union {
		uint32_t address_hash; /* MSG; 0 = none */
		uint32_t hop;	       /* JOB: 0; MOVED: from 1 */
	};
	uint32_t user_hash; /* 0 = none */
	uint32_t n;	    /* JOB, MOVED: messages */
	uint32_t n0;	    /* JOB, MOVED: place of the first one in its job; MSG: its place */
	uint32_t campaign_off;
	uint16_t campaign_len;
	uint8_t kind, flags, state, unknown;
	bool back, replay;	    /* MOVED; both */
	uint8_t prev, prev_unknown; /* state + 1 of the record this one replaced, 0 = none */
};
/* JOB: messages that do not count. A job of more than HM_JOB_MAX_RECIPIENTS messages has none, or all of them. */
static inline uint32_t hm_rec_uncounted(const struct hm_rec *r)
{
	return r->prev | (uint32_t)r->prev_unknown << 8;
}
void hm_ulid_back(struct hm_ulid *id, uint64_t n); /* id -= n */
/* The job a record is about. */
static inline struct hm_ulid hm_rec_origin(const struct hm_rec *r)
{
	struct hm_ulid id = r->id;

	if (r->n0)
		hm_ulid_back(&id, r->n0);
	return id;
}

static inline void hm_le32_put(void *p, uint32_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap32(v);
#endif
	memcpy(p, &v, 4);
}
static inline uint32_t hm_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap32(v);
#endif
	return v;
}
static inline void hm_le64_put(void *p, uint64_t v)
{
	hm_le32_put(p, (uint32_t)v);
	hm_le32_put((char *)p + 4, (uint32_t)(v >> 32));
}
static inline uint64_t hm_le64(const void *p)
{
	return hm_le32(p) | (uint64_t)hm_le32((const char *)p + 4) << 32;
}
static inline char *hm_varint_put(char *p, uint64_t v) /* at most 10 bytes */
{
	while (v >= 128) {
		*p++ = (char)(v | 128);
		v >>= 7;
	}
	*p++ = (char)v;
	return p;
}
/* A reader that stops at the end: after the first short or wrong read `bad` stays set and all reads give 0. */
struct hm_cut {
	const char *p, *end;
	bool bad;
};
uint8_t hm_cut_u8(struct hm_cut *c);
uint64_t hm_cut_varint(struct hm_cut *c);
struct hm_str hm_cut_text(struct hm_cut *c);

/* May a receipt's addition in state `to` replace the record of a message in state `from`? */
static inline bool hm_state_amendable(uint8_t from, uint8_t to)
{
	return (from == HM_ST_SENT && (to == HM_ST_SENT || to == HM_ST_DELIVERED)) ||
	       (from == HM_ST_DELIVERED && to == HM_ST_DELIVERED);
}
uint32_t hm_rec_text_hash(struct hm_str s); /* of a recipient, cut like the encoder does; 0 only for "" */
uint64_t hm_rec_campaign_hash(struct hm_str s);

/* Append to `out`; r_r->off is relative to out->p + base. HM_ENOMEM leaves `out` as it was. */
int hm_rec_put_job(struct hm_buf *out, size_t base, const struct hm_ledger_job *j,
		   struct hm_rec *r_r) HM_MUSTCHECK;
int hm_rec_put_msg(struct hm_buf *out, size_t base, const struct hm_ledger_msg *m,
		   struct hm_rec *r_r) HM_MUSTCHECK;
int hm_rec_put_moved(struct hm_buf *out, size_t base, const struct hm_ledger_moved *m,
		     struct hm_rec *r_r) HM_MUSTCHECK;
void hm_rec_mark(char *rec, uint8_t flags, uint8_t prev, uint8_t prev_unknown);

/* The record at payload[off]: 0, or HM_ESTORE when the bytes are none. */
int hm_rec_scan(struct hm_str payload, size_t off, struct hm_rec *r_r) HM_MUSTCHECK;
/* rec = one whole record; attempts go into the arena, texts stay where they are. */
int hm_rec_get_job(struct hm_str rec, struct hm_ledger_job *j_r, struct hm_err *e) HM_MUSTCHECK;
/* back: also as the job it continues. */
int hm_rec_get_moved(struct hm_str rec, struct hm_ledger_moved *m_r, struct hm_err *e) HM_MUSTCHECK;
int hm_rec_get_msg(struct hm_str rec, struct hm_arena *a, struct hm_ledger_msg *m_r,
		   struct hm_err *e) HM_MUSTCHECK;

#endif
