/*
 * record.c - encode, mark, decode
 */
#include "store/record.h"

#define REASON_MAX    1000
#define ATTEMPT_TEXT  200
#define ATTEMPTS_MAX  255
#define ATTEMPT_BYTES (1 + 2 + 1 + 3 + 10 + 5 + 3 * 2 + HM_REC_TEXT_MAX + 2 * ATTEMPT_TEXT)
_Static_assert(ATTEMPTS_MAX *ATTEMPT_BYTES + 8 * HM_REC_TEXT_MAX + HM_LEDGER_FACTS_MAX < HM_REC_MAX,
	       "see the bound in put_msg");

static struct hm_str cut(struct hm_str s, size_t max)
{
	if (s.len > max)
		s.len = hm_utf8_cut(s, max);
	return s;
}

uint32_t hm_rec_text_hash(struct hm_str s)
{
	uint32_t h;

	s = cut(s, HM_REC_TEXT_MAX);
	if (s.len == 0)
		return 0;
	h = (uint32_t)(hm_hash64(s.p, s.len, 0x7265u) >> 32);
	return h ? h : 1;
}

uint64_t hm_rec_campaign_hash(struct hm_str s)
{
	s = cut(s, HM_REC_TEXT_MAX);
	return s.len ? hm_hash64(s.p, s.len, 0x6361u) : 0;
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

static char *put_text(char *p, struct hm_str s)
{
	p = hm_varint_put(p, s.len);
	if (s.len)
		memcpy(p, s.p, s.len);
	return p + s.len;
}

static char *put_head(char *p, enum hm_rec_kind kind, const struct hm_ulid *id)
{
	p[4] = (char)((unsigned)kind | HM_REC_VERSION << 4);
	p[5] = p[6] = p[7] = 0;
	memcpy(p + 8, id->b, 16);
	return p + HM_REC_HEAD;
}

static void finish(struct hm_buf *out, size_t base, char *start, const char *end, struct hm_rec *r)
{
	r->len = (uint32_t)(end - start);
	r->off = (uint32_t)(out->len - base);
	hm_le32_put(start, r->len - 4);
	out->len += r->len;
}

int hm_rec_put_job(struct hm_buf *out, size_t base, const struct hm_ledger_job *j, struct hm_rec *r)
{
	struct hm_str campaign = cut(j->campaign, HM_REC_TEXT_MAX),
		      category = cut(j->category, HM_REC_TEXT_MAX);
	struct hm_str tenant = cut(j->tenant, HM_REC_TEXT_MAX);
	struct hm_str template_ref = cut(j->template_ref, HM_REC_TEXT_MAX);
	struct hm_str channel = cut(j->channel, HM_REC_TEXT_MAX);
	char *start, *p;

	if (!hm_buf_reserve(out, HM_REC_HEAD + 32 + 5 * 2 + campaign.len + category.len + tenant.len +
					 template_ref.len + channel.len + 16 + 5)) {
		out->err = 0;
		return HM_ENOMEM;
	}
	start = out->p + out->len;
	p = put_head(start, HM_REC_JOB, &j->id);
	*p++ = (char)j->lane;
	p = hm_varint_put(p, j->n);
	p = hm_varint_put(p, zigzag((int64_t)(j->accepted_ms - hm_ulid_ms(&j->id))));
	p = put_text(p, campaign);
	memset(r, 0, sizeof(*r));
	r->id = j->id;
	r->kind = HM_REC_JOB;
	r->n = j->n;
	r->n0 = j->n0;
	r->replay = j->has_of;
	r->flags = j->if_absent ? HM_REC_SEARCH : 0;
	r->campaign_hash = hm_rec_campaign_hash(campaign);
	r->campaign_len = (uint16_t)campaign.len;
	r->campaign_off = (uint32_t)((size_t)(p - out->p) - campaign.len - base);
	p = put_text(p, category);
	p = put_text(p, tenant);
	p = put_text(p, template_ref);
	p = put_text(p, channel);
	if (j->has_of) {
		memcpy(p, j->of.b, sizeof(j->of.b));
		p += sizeof(j->of.b);
	}
	if (j->n0)
		p = hm_varint_put(p, j->n0);
	finish(out, base, start, p, r);
	return 0;
}

int hm_rec_put_moved(struct hm_buf *out, size_t base, const struct hm_ledger_moved *m, struct hm_rec *r)
{
	struct hm_str campaign = cut(m->campaign, HM_REC_TEXT_MAX), node = cut(m->node, HM_REC_TEXT_MAX);
	char *start, *p;

	hm_assert(m->hop > 0);
	if (!hm_buf_reserve(out, HM_REC_SUMS_OFF + 4 * HM_REC_SUMS + 64 + campaign.len + node.len)) {
		out->err = 0;
		return HM_ENOMEM;
	}
	start = out->p + out->len;
	p = put_head(start, HM_REC_MOVED, &m->id);
	*p++ = m->back;
	*p++ = HM_REC_SUMS;
	memset(p, 0, 4 * HM_REC_SUMS);
	p += 4 * HM_REC_SUMS;
	*p++ = (char)m->lane;
	*p++ = m->replay;
	p = hm_varint_put(p, m->n0);
	p = hm_varint_put(p, m->n);
	p = hm_varint_put(p, zigzag((int64_t)(m->accepted_ms - hm_ulid_ms(&m->id))));
	p = put_text(p, campaign);
	memset(r, 0, sizeof(*r));
	r->id = m->id;
	r->kind = HM_REC_MOVED;
	r->n = m->n;
	r->n0 = m->n0;
	r->hop = m->hop;
	r->back = m->back;
	r->replay = m->replay;
	r->campaign_hash = hm_rec_campaign_hash(campaign);
	r->campaign_len = (uint16_t)campaign.len;
	r->campaign_off = (uint32_t)((size_t)(p - out->p) - campaign.len - base);
	p = put_text(p, node);
	p = hm_varint_put(p, m->hop);
	finish(out, base, start, p, r);
	return 0;
}

static char *put_attempt(char *p, const struct hm_ledger_attempt *t, struct hm_str msg_channel,
			 uint64_t accepted_ms)
{
	struct hm_str channel = cut(t->channel, HM_REC_TEXT_MAX);

	/* 0: the message's own channel, the usual case; else length + 1 */
	if (hm_str_eq(channel, msg_channel)) {
		*p++ = 0;
	} else {
		p = hm_varint_put(p, channel.len + 1);
		if (channel.len)
			memcpy(p, channel.p, channel.len);
		p += channel.len;
	}
	*p++ = (char)t->outcome;
	p = hm_varint_put(p, t->status);
	p = hm_varint_put(p, zigzag((int64_t)(t->at_ms - accepted_ms)));
	p = hm_varint_put(p, t->took_us);
	p = put_text(p, cut(t->reason, ATTEMPT_TEXT));
	return put_text(p, cut(t->provider_id, ATTEMPT_TEXT));
}

int hm_rec_put_msg(struct hm_buf *out, size_t base, const struct hm_ledger_msg *m, struct hm_rec *r)
{
	struct hm_str user = cut(m->user, HM_REC_TEXT_MAX), address = cut(m->address, HM_REC_TEXT_MAX);
	struct hm_str campaign = cut(m->campaign, HM_REC_TEXT_MAX),
		      channel = cut(m->channel, HM_REC_TEXT_MAX);
	struct hm_str template_ref = cut(m->template_ref, HM_REC_TEXT_MAX),
		      reason = cut(m->reason, REASON_MAX);
	struct hm_str facts = m->facts.len <= HM_LEDGER_FACTS_MAX ? m->facts : HM_STR_NULL;
	size_t n = hm_min(m->n_attempts, (size_t)ATTEMPTS_MAX), skip = m->n_attempts - n;
	size_t bound = HM_REC_HEAD + 64 + 6 * 2 + user.len + address.len + campaign.len + channel.len +
		       template_ref.len + reason.len + facts.len + 16;
	unsigned unknown = 0;
	uint32_t nth;
	char *start, *p;

	hm_assert(m->state < HM_ST_COUNT);
	for (size_t i = 0; i < m->n_attempts; i++) {
		unknown += m->attempts[i].outcome == HM_OUT_UNKNOWN;
		bound += 32 + hm_min(m->attempts[i].channel.len, (size_t)HM_REC_TEXT_MAX) +
			 hm_min(m->attempts[i].reason.len, (size_t)ATTEMPT_TEXT) +
			 hm_min(m->attempts[i].provider_id.len, (size_t)ATTEMPT_TEXT);
	}
	if (!hm_buf_reserve(out, bound)) {
		out->err = 0;
		return HM_ENOMEM;
	}
	unknown = hm_min(unknown, (unsigned)HM_REC_UNKNOWN_MAX);
	start = out->p + out->len;
	p = put_head(start, HM_REC_MSG, &m->id);
	*p++ = (char)(m->state | unknown << 4);
	*p++ = (char)m->lane;
	nth = hm_ulid_diff(&m->id, &m->job);
	if (nth < UINT32_MAX) {
		p = hm_varint_put(p, (uint64_t)nth + 1);
	} else {
		*p++ = 0;
		memcpy(p, m->job.b, 16);
		p += 16;
		nth = 0;
	}
	p = hm_varint_put(p, zigzag((int64_t)(m->accepted_ms - hm_ulid_ms(&m->id))));
	p = hm_varint_put(p, zigzag((int64_t)(m->updated_ms - m->accepted_ms)));
	p = put_text(p, campaign);
	memset(r, 0, sizeof(*r));
	r->id = m->id;
	r->kind = HM_REC_MSG;
	r->n0 = nth;
	r->state = m->state;
	r->unknown = (uint8_t)unknown;
	r->flags = (uint8_t)((m->maybe_repeat || m->amends ? HM_REC_SEARCH : 0) |
			     (m->amends ? HM_REC_AMENDS : 0));
	r->campaign_hash = hm_rec_campaign_hash(campaign);
	r->campaign_len = (uint16_t)campaign.len;
	r->campaign_off = (uint32_t)((size_t)(p - out->p) - campaign.len - base);
	r->address_hash = hm_rec_text_hash(address);
	r->user_hash = hm_rec_text_hash(user);
	p = put_text(p, user);
	p = put_text(p, address);
	p = put_text(p, channel);
	p = put_text(p, template_ref);
	p = put_text(p, reason);
	p = hm_varint_put(p, n);
	for (size_t i = 0; i < n; i++)
		p = put_attempt(p, &m->attempts[i == 0 ? 0 : i + skip], channel, m->accepted_ms);
	if (facts.len ||
	    m->has_of) /* most messages have none: not a byte for them, and older records read on */
		p = put_text(p, facts);
	if (m->has_of) {
		memcpy(p, m->of.b, sizeof(m->of.b));
		p += sizeof(m->of.b);
	}
	finish(out, base, start, p, r);
	return 0;
}

void hm_rec_mark(char *rec, uint8_t flags, uint8_t prev, uint8_t prev_unknown)
{
	rec[5] = (char)flags;
	rec[6] = (char)prev;
	rec[7] = (char)prev_unknown;
}

/* -- decoding ----------------------------------------------------------------- */

uint8_t hm_cut_u8(struct hm_cut *c)
{
	if (c->bad || c->p == c->end) {
		c->bad = true;
		return 0;
	}
	return (uint8_t)*c->p++;
}

uint64_t hm_cut_varint(struct hm_cut *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = hm_cut_u8(c);

		v |= (uint64_t)(b & 127) << shift;
		if (b < 128)
			return v;
	}
	c->bad = true;
	return 0;
}

static struct hm_str cut_bytes(struct hm_cut *c, uint64_t n)
{
	struct hm_str s = {c->p, n};

	if (c->bad || n > (uint64_t)(c->end - c->p)) {
		c->bad = true;
		return HM_STR_NULL;
	}
	c->p += n;
	return s;
}

struct hm_str hm_cut_text(struct hm_cut *c)
{
	return cut_bytes(c, hm_cut_varint(c));
}

/* Checks the head and leaves the cutter behind it. */
static int open_record(struct hm_str rec, struct hm_cut *c, uint8_t *kind_r, struct hm_ulid *id_r)
{
	uint32_t len;
	uint8_t tag;

	if (rec.len < HM_REC_HEAD)
		return HM_ESTORE;
	len = hm_le32(rec.p);
	tag = (uint8_t)rec.p[4];
	if (len < HM_REC_HEAD - 4 || len > HM_REC_MAX || len > rec.len - 4 || tag >> 4 != HM_REC_VERSION)
		return HM_ESTORE;
	*kind_r = tag & 15;
	memcpy(id_r->b, rec.p + 8, 16);
	*c = (struct hm_cut){rec.p + HM_REC_HEAD, rec.p + 4 + len, false};
	return 0;
}

struct msg_front {
	uint8_t state, unknown, lane;
	struct hm_ulid job;
	uint64_t accepted_ms, updated_ms;
	struct hm_str campaign, user, address;
};

/* borrow by borrow */
void hm_ulid_back(struct hm_ulid *id, uint64_t n)
{
	int64_t borrow = 0;

	for (int i = 15; i >= 0; i--) {
		int64_t v = (int64_t)id->b[i] - (int64_t)(n & 255) - borrow;

		borrow = v < 0;
		id->b[i] = (uint8_t)v;
		n >>= 8;
	}
}

static void cut_msg_front(struct hm_cut *c, const struct hm_ulid *id, struct msg_front *f)
{
	uint8_t b = hm_cut_u8(c);
	uint64_t nth;

	f->state = b & 15;
	f->unknown = b >> 4;
	f->lane = hm_cut_u8(c);
	nth = hm_cut_varint(c);
	if (nth == 0) {
		struct hm_str s = cut_bytes(c, 16);

		memset(&f->job, 0, sizeof(f->job));
		if (s.p)
			memcpy(f->job.b, s.p, 16);
	} else {
		f->job = *id;
		hm_ulid_back(&f->job, nth - 1);
	}
	f->accepted_ms = hm_ulid_ms(id) + (uint64_t)unzigzag(hm_cut_varint(c));
	f->updated_ms = f->accepted_ms + (uint64_t)unzigzag(hm_cut_varint(c));
	f->campaign = hm_cut_text(c);
	f->user = hm_cut_text(c);
	f->address = hm_cut_text(c);
	if (f->state >= HM_ST_COUNT || f->lane >= HM_LANE_COUNT)
		c->bad = true;
}

/* Only where something follows. */
static void cut_of(struct hm_cut *c, bool *has_r, struct hm_ulid *of_r)
{
	struct hm_str s;

	*has_r = !c->bad && c->p < c->end;
	if (!*has_r)
		return;
	s = cut_bytes(c, sizeof(of_r->b));
	if (s.p)
		memcpy(of_r->b, s.p, sizeof(of_r->b));
}

static void cut_job(struct hm_cut *c, struct hm_ledger_job *j)
{
	uint64_t n, n0 = 0;

	j->lane = hm_cut_u8(c);
	n = hm_cut_varint(c);
	j->n = (uint32_t)n;
	j->accepted_ms = hm_ulid_ms(&j->id) + (uint64_t)unzigzag(hm_cut_varint(c));
	j->campaign = hm_cut_text(c);
	j->category = hm_cut_text(c);
	j->tenant = hm_cut_text(c);
	j->template_ref = hm_cut_text(c);
	j->channel = hm_cut_text(c);
	if (!c->bad && c->end - c->p >= (ptrdiff_t)sizeof(j->of.b))
		cut_of(c, &j->has_of, &j->of);
	if (!c->bad && c->p < c->end)
		n0 = hm_cut_varint(c);
	j->n0 = (uint32_t)n0;
	if (n > UINT32_MAX || n0 > UINT32_MAX || j->lane >= HM_LANE_COUNT)
		c->bad = true;
}

static void cut_moved(struct hm_cut *c, struct hm_ledger_moved *m)
{
	uint64_t n0, n, hop = 1;

	m->back = hm_cut_u8(c) != 0;
	(void)cut_bytes(c, 4u * hm_cut_u8(c));
	m->lane = hm_cut_u8(c);
	m->replay = hm_cut_u8(c) != 0;
	n0 = hm_cut_varint(c);
	n = hm_cut_varint(c);
	m->n0 = (uint32_t)n0;
	m->n = (uint32_t)n;
	m->accepted_ms = hm_ulid_ms(&m->id) + (uint64_t)unzigzag(hm_cut_varint(c));
	m->campaign = hm_cut_text(c);
	m->node = hm_cut_text(c);
	if (!c->bad && c->p < c->end)
		hop = hm_cut_varint(c);
	m->hop = (uint32_t)hop;
	if (n0 > UINT32_MAX || n > UINT32_MAX || hop == 0 || hop > UINT32_MAX || m->lane >= HM_LANE_COUNT)
		c->bad = true;
}

int hm_rec_scan(struct hm_str payload, size_t off, struct hm_rec *r)
{
	struct hm_str rec, campaign;
	struct hm_cut c;

	if (off > payload.len)
		return HM_ESTORE;
	rec = hm_str_n(payload.p + off, payload.len - off);
	memset(r, 0, sizeof(*r));
	if (open_record(rec, &c, &r->kind, &r->id) < 0)
		return HM_ESTORE;
	r->off = (uint32_t)off;
	r->len = hm_le32(rec.p) + 4;
	r->flags = (uint8_t)rec.p[5] & (HM_REC_DEAD | HM_REC_REPEAT | HM_REC_AWAY);
	r->prev = (uint8_t)rec.p[6];
	r->prev_unknown = (uint8_t)rec.p[7];
	if (r->kind == HM_REC_MSG && (r->prev > HM_ST_COUNT || r->prev_unknown > HM_REC_UNKNOWN_MAX))
		return HM_ESTORE;
	if (r->kind == HM_REC_JOB) {
		struct hm_ledger_job j;

		memset(&j, 0, sizeof(j));
		j.id = r->id;
		cut_job(&c, &j);
		r->n = j.n;
		r->n0 = j.n0;
		r->replay = j.has_of;
		campaign = j.campaign;
	} else if (r->kind == HM_REC_MOVED) {
		struct hm_ledger_moved m;

		memset(&m, 0, sizeof(m));
		m.id = r->id;
		cut_moved(&c, &m);
		r->n = m.n;
		r->n0 = m.n0;
		r->hop = m.hop;
		r->back = m.back;
		r->replay = m.replay;
		campaign = m.campaign;
	} else if (r->kind == HM_REC_MSG) {
		struct msg_front f;

		cut_msg_front(&c, &r->id, &f);
		r->state = f.state;
		r->unknown = f.unknown;
		r->address_hash = hm_rec_text_hash(f.address);
		r->user_hash = hm_rec_text_hash(f.user);
		campaign = f.campaign;
	} else {
		return HM_ESTORE;
	}
	if (c.bad || campaign.len > HM_REC_TEXT_MAX)
		return HM_ESTORE;
	r->campaign_hash = hm_rec_campaign_hash(campaign);
	r->campaign_off = campaign.len ? (uint32_t)(campaign.p - payload.p) : 0;
	r->campaign_len = (uint16_t)campaign.len;
	return 0;
}

static int bad(struct hm_err *e)
{
	return hm_err_set(e, HM_ESTORE, "a ledger record is damaged or was written by a newer Hermod");
}

int hm_rec_get_job(struct hm_str rec, struct hm_ledger_job *j, struct hm_err *e)
{
	struct hm_cut c;
	uint8_t kind;

	memset(j, 0, sizeof(*j));
	if (open_record(rec, &c, &kind, &j->id) < 0 || kind != HM_REC_JOB)
		return bad(e);
	cut_job(&c, j);
	return c.bad ? bad(e) : 0;
}

int hm_rec_get_moved(struct hm_str rec, struct hm_ledger_moved *m, struct hm_err *e)
{
	struct hm_cut c;
	uint8_t kind;

	memset(m, 0, sizeof(*m));
	if (open_record(rec, &c, &kind, &m->id) < 0 || kind != HM_REC_MOVED)
		return bad(e);
	cut_moved(&c, m);
	return c.bad ? bad(e) : 0;
}

static void cut_attempt(struct hm_cut *c, const struct hm_ledger_msg *m, struct hm_ledger_attempt *t)
{
	uint64_t n = hm_cut_varint(c), v;

	t->channel = n == 0 ? m->channel : cut_bytes(c, n - 1);
	t->outcome = hm_cut_u8(c);
	v = hm_cut_varint(c);
	t->status = (uint16_t)v;
	c->bad |= v > UINT16_MAX || t->outcome >= HM_OUT_COUNT;
	t->at_ms = m->accepted_ms + (uint64_t)unzigzag(hm_cut_varint(c));
	v = hm_cut_varint(c);
	t->took_us = (uint32_t)v;
	c->bad |= v > UINT32_MAX;
	t->reason = hm_cut_text(c);
	t->provider_id = hm_cut_text(c);
}

int hm_rec_get_msg(struct hm_str rec, struct hm_arena *a, struct hm_ledger_msg *m, struct hm_err *e)
{
	struct hm_ledger_attempt *attempts = NULL;
	struct msg_front f;
	struct hm_cut c;
	uint64_t n;
	uint8_t kind;

	memset(m, 0, sizeof(*m));
	if (open_record(rec, &c, &kind, &m->id) < 0 || kind != HM_REC_MSG)
		return bad(e);
	cut_msg_front(&c, &m->id, &f);
	m->job = f.job;
	m->state = f.state;
	m->lane = f.lane;
	m->accepted_ms = f.accepted_ms;
	m->updated_ms = f.updated_ms;
	m->campaign = f.campaign;
	m->user = f.user;
	m->address = f.address;
	m->channel = hm_cut_text(&c);
	m->template_ref = hm_cut_text(&c);
	m->reason = hm_cut_text(&c);
	n = hm_cut_varint(&c);
	if (c.bad || n > ATTEMPTS_MAX)
		return bad(e);
	if (n) {
		attempts = hm_arena_zalloc(a, (size_t)n * sizeof(*attempts));
		if (attempts == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory reading a ledger record");
	}
	for (size_t i = 0; i < n; i++)
		cut_attempt(&c, m, &attempts[i]);
	if (!c.bad && c.p < c.end)
		m->facts = hm_cut_text(&c);
	cut_of(&c, &m->has_of, &m->of);
	if (c.bad)
		return bad(e);
	m->attempts = attempts;
	m->n_attempts = (size_t)n;
	return 0;
}
