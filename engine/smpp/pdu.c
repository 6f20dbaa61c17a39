/*
 * pdu.c - PDUs of SMPP 3.4
 */
#include "smpp/pdu.h"

#include <stdio.h>

const char *smpp_status_name(uint32_t status, char hex[11])
{
	switch (status) {
#define HM_SMPP_STATUS(value, name) \
	case value:                 \
		return name;
#include "tbl/smpp_status.h"
#undef HM_SMPP_STATUS
	default: snprintf(hex, 11, "0x%08X", (unsigned)status); return hex;
	}
}

/* -- reading ---------------------------------------------------------------------- */

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void smpp_head_read(const uint8_t *p, struct smpp_head *h)
{
	*h = (struct smpp_head){
		.length = be32(p), .id = be32(p + 4), .status = be32(p + 8), .sequence = be32(p + 12)};
}

struct cursor {
	const uint8_t *p, *end;
	bool bad; /* something was missing */
};

static struct cursor cursor_of(struct hm_str body)
{
	const uint8_t *p = (const uint8_t *)body.p;

	return (struct cursor){p, p + body.len, false};
}

static uint8_t take8(struct cursor *c)
{
	if (c->p == c->end) {
		c->bad = true;
		return 0;
	}
	return *c->p++;
}

static struct hm_str take(struct cursor *c, size_t n)
{
	struct hm_str s;

	if ((size_t)(c->end - c->p) < n) {
		c->bad = true;
		n = 0;
	}
	s = hm_str_n((const char *)c->p, n);
	c->p += n;
	return s;
}

static struct hm_str take_text(struct cursor *c)
{
	size_t left = (size_t)(c->end - c->p);
	const uint8_t *nul = left ? memchr(c->p, 0, left) : NULL;
	struct hm_str s;

	if (nul == NULL) {
		c->bad = true;
		c->p = c->end;
		return HM_STR("");
	}
	s = hm_str_n((const char *)c->p, (size_t)(nul - c->p));
	c->p = nul + 1;
	return s;
}

/* The next whole optional parameter; false at the end, and for what is left when it is none. */
static bool take_tlv(struct cursor *c, unsigned *tag_r, struct hm_str *value_r)
{
	size_t n;

	if (c->end - c->p < 4)
		return false;
	*tag_r = (unsigned)(c->p[0] << 8 | c->p[1]);
	n = (size_t)(c->p[2] << 8 | c->p[3]);
	if ((size_t)(c->end - c->p) - 4 < n)
		return false;
	*value_r = hm_str_n((const char *)c->p + 4, n);
	c->p += 4 + n;
	return true;
}

/* A text in a parameter ends with a NUL, mostly. */
static struct hm_str text_of(struct hm_str v)
{
	ptrdiff_t nul = hm_str_chr(v, '\0');

	return nul >= 0 ? hm_str_n(v.p, (size_t)nul) : v;
}

static int number_of(struct hm_str v)
{
	int n = 0;

	if (v.len == 0 || v.len > 2)
		return -1;
	for (size_t i = 0; i < v.len; i++)
		n = n << 8 | (uint8_t)v.p[i];
	return n;
}

static void read_params(struct cursor *c, struct smpp_sm *m)
{
	struct hm_str v;
	unsigned tag;

	m->message_state = m->sar_ref = m->sar_total = m->sar_seqnum = -1;
	while (take_tlv(c, &tag, &v)) {
		switch (tag) {
		case SMPP_TAG_RECEIPTED_ID: m->receipted_id = text_of(v); break;
		case SMPP_TAG_MESSAGE_STATE: m->message_state = number_of(v); break;
		case SMPP_TAG_NETWORK_ERROR: m->network_error = v.len == 3 ? v : HM_STR_NULL; break;
		case SMPP_TAG_SAR_REF: m->sar_ref = number_of(v); break;
		case SMPP_TAG_SAR_TOTAL: m->sar_total = number_of(v); break;
		case SMPP_TAG_SAR_SEQNUM: m->sar_seqnum = number_of(v); break;
		case SMPP_TAG_PAYLOAD:
			if (m->message.len == 0)
				m->message = v;
			break;
		default: break;
		}
	}
}

bool smpp_sm_read(struct hm_str body, struct smpp_sm *m)
{
	struct cursor c = cursor_of(body);

	memset(m, 0, sizeof(*m));
	m->service_type = take_text(&c);
	m->source_ton = take8(&c);
	m->source_npi = take8(&c);
	m->source = take_text(&c);
	m->dest_ton = take8(&c);
	m->dest_npi = take8(&c);
	m->dest = take_text(&c);
	m->esm_class = take8(&c);
	m->protocol_id = take8(&c);
	m->priority = take8(&c);
	m->schedule = take_text(&c);
	m->validity = take_text(&c);
	m->registered = take8(&c);
	m->replace = take8(&c);
	m->data_coding = take8(&c);
	m->default_id = take8(&c);
	m->message = take(&c, take8(&c));
	if (c.bad)
		return false;
	read_params(&c, m);
	return true;
}

bool smpp_data_sm_read(struct hm_str body, struct smpp_sm *m)
{
	struct cursor c = cursor_of(body);

	memset(m, 0, sizeof(*m));
	m->service_type = take_text(&c);
	m->source_ton = take8(&c);
	m->source_npi = take8(&c);
	m->source = take_text(&c);
	m->dest_ton = take8(&c);
	m->dest_npi = take8(&c);
	m->dest = take_text(&c);
	m->esm_class = take8(&c);
	m->registered = take8(&c);
	m->data_coding = take8(&c);
	if (c.bad)
		return false;
	read_params(&c, m);
	return true;
}

void smpp_submit_resp_read(struct hm_str body, struct hm_str *id_r, struct hm_str *text_r)
{
	struct cursor c = cursor_of(body);
	struct hm_str v;
	unsigned tag;

	*text_r = HM_STR("");
	/* Some leave the NUL away. */
	*id_r = body.len && hm_str_chr(body, '\0') < 0 ? body : take_text(&c);
	while (take_tlv(&c, &tag, &v))
		if (tag == SMPP_TAG_ADDITIONAL_STATUS)
			*text_r = text_of(v);
}

struct hm_str smpp_bind_resp_read(struct hm_str body)
{
	struct cursor c = cursor_of(body);

	return take_text(&c);
}

/* -- writing ------------------------------------------------------------------------ */

void smpp_put8(struct hm_buf *b, unsigned v)
{
	hm_buf_putc(b, (char)(v & 0xff));
}

void smpp_put16(struct hm_buf *b, unsigned v)
{
	char p[2] = {(char)(v >> 8 & 0xff), (char)(v & 0xff)};

	hm_buf_put(b, p, 2);
}

void smpp_put32(struct hm_buf *b, uint32_t v)
{
	char p[4] = {(char)(v >> 24), (char)(v >> 16 & 0xff), (char)(v >> 8 & 0xff), (char)(v & 0xff)};

	hm_buf_put(b, p, 4);
}

void smpp_put_text(struct hm_buf *b, struct hm_str s)
{
	hm_assert(hm_str_chr(s, '\0') < 0);
	hm_buf_puts(b, s);
	hm_buf_putc(b, '\0');
}

void smpp_put_tlv(struct hm_buf *b, enum smpp_tag tag, const void *p, size_t n)
{
	hm_assert(n <= 0xffff);
	smpp_put16(b, tag);
	smpp_put16(b, (unsigned)n);
	hm_buf_put(b, p, n);
}

size_t smpp_begin(struct hm_buf *b, uint32_t id, uint32_t status, uint32_t sequence)
{
	size_t at = b->len;

	smpp_put32(b, SMPP_HEAD);
	smpp_put32(b, id);
	smpp_put32(b, status);
	smpp_put32(b, sequence);
	return at;
}

void smpp_end(struct hm_buf *b, size_t at)
{
	size_t n = b->len - at;

	if (b->err)
		return;
	hm_assert(n >= SMPP_HEAD && n <= SMPP_MAX_PDU);
	for (int i = 0; i < 4; i++)
		b->p[at + (size_t)i] = (char)(n >> (24 - 8 * i) & 0xff);
}

void smpp_put_empty(struct hm_buf *b, uint32_t id, uint32_t status, uint32_t sequence)
{
	smpp_end(b, smpp_begin(b, id, status, sequence));
}

void smpp_put_bind(struct hm_buf *b, uint32_t sequence, const struct smpp_bind *v)
{
	size_t at = smpp_begin(b, v->id, 0, sequence);

	smpp_put_text(b, v->system_id);
	smpp_put_text(b, v->password);
	smpp_put_text(b, v->system_type);
	smpp_put8(b, 0x34);
	smpp_put8(b, v->ton);
	smpp_put8(b, v->npi);
	smpp_put_text(b, v->address_range);
	smpp_end(b, at);
}

static void put_payload(struct hm_buf *b, const struct smpp_sm *m, struct hm_str header)
{
	hm_assert(header.len + m->message.len <= 0xffff);
	smpp_put16(b, SMPP_TAG_PAYLOAD);
	smpp_put16(b, (unsigned)(header.len + m->message.len));
	hm_buf_puts(b, header);
	hm_buf_puts(b, m->message);
}

void smpp_put_submit(struct hm_buf *b, uint32_t sequence, const struct smpp_sm *m, struct hm_str header,
		     bool payload)
{
	size_t at = smpp_begin(b, SMPP_SUBMIT_SM, 0, sequence), n = header.len + m->message.len;

	smpp_put_text(b, m->service_type);
	smpp_put8(b, m->source_ton);
	smpp_put8(b, m->source_npi);
	smpp_put_text(b, m->source);
	smpp_put8(b, m->dest_ton);
	smpp_put8(b, m->dest_npi);
	smpp_put_text(b, m->dest);
	smpp_put8(b, m->esm_class | (header.len ? SMPP_ESM_UDHI : 0));
	smpp_put8(b, m->protocol_id);
	smpp_put8(b, m->priority);
	smpp_put_text(b, m->schedule);
	smpp_put_text(b, m->validity);
	smpp_put8(b, m->registered);
	smpp_put8(b, m->replace);
	smpp_put8(b, m->data_coding);
	smpp_put8(b, m->default_id);
	hm_assert(payload || n <= SMPP_MAX_MESSAGE);
	smpp_put8(b, payload ? 0 : (unsigned)n);
	if (!payload) {
		hm_buf_puts(b, header);
		hm_buf_puts(b, m->message);
	}
	if (m->sar_total > 0) {
		uint8_t ref[2] = {(uint8_t)(m->sar_ref >> 8), (uint8_t)m->sar_ref};
		uint8_t total = (uint8_t)m->sar_total, seqnum = (uint8_t)m->sar_seqnum;

		smpp_put_tlv(b, SMPP_TAG_SAR_REF, ref, 2);
		smpp_put_tlv(b, SMPP_TAG_SAR_TOTAL, &total, 1);
		smpp_put_tlv(b, SMPP_TAG_SAR_SEQNUM, &seqnum, 1);
	}
	if (payload)
		put_payload(b, m, header);
	smpp_end(b, at);
}
