/*
 * smpp.c - the sink as an SMSC: SMPP 3.4, bytes by the engine's codec (engine/smpp/pdu.h)
 *
 *   OPEN --bind--> BOUND --unbind--> (closed)
 *
 * A submit_sm or data_sm is one request of profile smpp: method SUBMIT, path /sms/<destination>, headers system-id, source, destination,
 * esm-class, data-coding, registered-delivery, validity, sar (ref/total/number); the body is the message as it came, its user data
 * header included. Each is answered by its sequence number when its answer is due, so late answers overtake none and hold up none.
 * A transceiver that asks for a receipt gets it behind the answer: DELIVRD, or UNDELIV for destinations that begin with 99901.
 *
 * Limits: PDUs of 72 KiB, 10,000 messages without an answer and 10,000 receipts without one per session (no more receipts then); 1 MiB of
 * input while the answers before it are not read.
 */
#include "smpp.h"

#include <stdlib.h>
#include <time.h>

#include "smpp/pdu.h"

#define WAITING_MAX 10000u
#define PAUSE_AT    (256u << 10) /* answers not yet written: the rest of the input waits */
#define INPUT_MAX   (1u << 20)
#define ID_MAX	    64u
#define TAG_VERSION 0x0210

struct smpp_sink {
#define SMPP_SINK_MAGIC 0x51ab0011u
	uint32_t magic;
	bool bound, sends, receives, pumping, unbound;
	struct hm_buf in;
	uint32_t sequence;
	uint64_t receipts, receipts_answered;
	size_t id_len;
	char id[ID_MAX];
};

static struct smpp_sink *session(struct sink_conn *c)
{
	struct smpp_sink *s = c->session;

	HM_CHECK(s, SMPP_SINK_MAGIC);
	return s;
}

bool smpp_start(struct sink_conn *c)
{
	struct smpp_sink *s = calloc(1, sizeof(*s));

	if (!s)
		return false;
	HM_MAGIC_SET(s, SMPP_SINK_MAGIC);
	hm_buf_init(&s->in, INPUT_MAX + WORKER_READ);
	c->session = s;
	return true;
}

void smpp_free(struct sink_conn *c)
{
	struct smpp_sink *s = session(c);

	hm_buf_fini(&s->in);
	HM_MAGIC_CLEAR(s);
	free(s);
	c->session = NULL;
}

static void reply(struct sink_conn *c, uint32_t id, uint32_t status, uint32_t sequence)
{
	smpp_put_empty(&c->raw, id, status, sequence);
	conn_touch(c);
}

/* -- binding --------------------------------------------------------------------------- */

static struct hm_str text_of(struct hm_str *rest)
{
	struct hm_str v;

	return hm_str_split(rest, '\0', &v) ? v : HM_STR("");
}

static uint32_t may_bind(const struct opt_list *known, struct hm_str id, struct hm_str password)
{
	for (size_t i = 0; i < known->n; i++) {
		struct hm_str rest = hm_str_c(known->v[i]), name;

		if (!hm_str_split(&rest, ':', &name) || !hm_str_eq(name, id))
			continue;
		return hm_str_eq(rest, password) ? SMPP_ROK : SINK_SMPP_RINVPASWD;
	}
	return known->n ? SINK_SMPP_RINVSYSID : SMPP_ROK;
}

static void on_bind(struct sink_conn *c, const struct smpp_head *h, struct hm_str body)
{
	struct smpp_sink *s = session(c);
	struct hm_str id = text_of(&body), password = text_of(&body);
	uint32_t status = s->bound ? SMPP_RALYBND
				   : may_bind(&c->worker->sink->options->smpp_user, id, password);
	uint8_t version = 0x34;
	size_t at;

	if (status != SMPP_ROK) {
		reply(c, h->id | SMPP_RESP, status, h->sequence);
		return;
	}
	s->bound = true;
	s->sends = h->id != SMPP_BIND_RECEIVER;
	s->receives = h->id != SMPP_BIND_TRANSMITTER;
	s->id_len = hm_min(id.len, (size_t)ID_MAX);
	memcpy(s->id, id.p, s->id_len);
	at = smpp_begin(&c->raw, h->id | SMPP_RESP, SMPP_ROK, h->sequence);
	smpp_put_text(&c->raw, HM_STR("hermod-sink"));
	smpp_put_tlv(&c->raw, (enum smpp_tag)TAG_VERSION, &version, 1);
	smpp_end(&c->raw, at);
	conn_touch(c);
}

/* -- messages ----------------------------------------------------------------------------- */

static bool put_header(struct sink_req *r, const char *name, struct hm_str value)
{
	return value.len == 0 || req_put_header(r, name, value);
}

static bool put_number(struct sink_req *r, const char *name, unsigned v)
{
	char text[16];

	return req_put_header(r, name, hm_str_n(text, (size_t)snprintf(text, sizeof(text), "%u", v)));
}

static bool put_message(struct sink_req *r, const struct smpp_sink *s, const struct smpp_sm *m)
{
	char sar[40];

	r->method_len = 6;
	r->path = 6;
	if (!req_put(r, "SUBMIT/sms/", 11, SINK_MAX_HEAD) ||
	    !req_put(r, m->dest.p, m->dest.len, SINK_MAX_HEAD))
		return false;
	r->path_len = (uint32_t)r->data.len - r->path;
	if (!put_header(r, "system-id", hm_str_n(s->id, s->id_len)) || !put_header(r, "source", m->source) ||
	    !put_header(r, "destination", m->dest) || !put_number(r, "esm-class", m->esm_class) ||
	    !put_number(r, "data-coding", m->data_coding) ||
	    !put_number(r, "registered-delivery", m->registered) || !put_header(r, "validity", m->validity))
		return false;
	if (m->sar_total > 0) {
		snprintf(sar, sizeof(sar), "%d/%d/%d", m->sar_ref, m->sar_total, m->sar_seqnum);
		if (!put_header(r, "sar", hm_str_c(sar)))
			return false;
	}
	r->body = (uint32_t)r->data.len;
	r->body_len = (uint32_t)m->message.len;
	return req_put(r, m->message.p, m->message.len, SINK_MAX_HEAD + SMPP_MAX_PDU);
}

static void on_message(struct sink_conn *c, const struct smpp_head *h, struct hm_str body)
{
	struct smpp_sink *s = session(c);
	struct sink_req *r;
	struct smpp_sm m;
	uint32_t status = SMPP_ROK;

	if (!s->bound || !s->sends)
		status = SMPP_RINVBNDSTS;
	else if (!(h->id == SMPP_SUBMIT_SM ? smpp_sm_read(body, &m) : smpp_data_sm_read(body, &m)))
		status = SMPP_RINVCMDLEN;
	else if (c->reqs.len >= WAITING_MAX)
		status = SMPP_RMSGQFUL;
	r = status == SMPP_ROK ? req_new(c->worker, c) : NULL;
	if (r == NULL || !put_message(r, s, &m)) {
		if (r)
			req_free(r);
		reply(c, h->id | SMPP_RESP, status ? status : SMPP_RMSGQFUL, h->sequence);
		return;
	}
	r->stream_id = (int32_t)(h->sequence & SMPP_MAX_SEQUENCE);
	r->command = h->id;
	c->requests++;
	answer_request(r);
}

static void on_pdu(struct sink_conn *c, const struct smpp_head *h, struct hm_str body)
{
	struct smpp_sink *s = session(c);

	switch (h->id) {
	case SMPP_BIND_RECEIVER:
	case SMPP_BIND_TRANSMITTER:
	case SMPP_BIND_TRANSCEIVER: on_bind(c, h, body); return;
	case SMPP_SUBMIT_SM:
	case SMPP_DATA_SM: on_message(c, h, body); return;
	case SMPP_ENQUIRE_LINK: reply(c, h->id | SMPP_RESP, SMPP_ROK, h->sequence); return;
	case SMPP_UNBIND:
		reply(c, h->id | SMPP_RESP, s->bound ? SMPP_ROK : SMPP_RINVBNDSTS, h->sequence);
		s->unbound = true;
		return;
	case SMPP_DELIVER_SM | SMPP_RESP: s->receipts_answered++; return;
	default:
		if (!(h->id & SMPP_RESP)) /* what is not asked for gets no answer */
			reply(c, SMPP_GENERIC_NACK, SMPP_RINVCMDID, h->sequence);
	}
}

static void pump(struct sink_conn *c)
{
	struct smpp_sink *s = session(c);
	size_t off = 0;

	if (s->pumping)
		return;
	s->pumping = true;
	while (s->in.len - off >= SMPP_HEAD && c->raw.len < PAUSE_AT && !s->unbound && c->doom == DOOM_NONE &&
	       !c->mute) {
		const uint8_t *p = (const uint8_t *)s->in.p + off;
		struct smpp_head h;

		smpp_head_read(p, &h);
		if (h.length < SMPP_HEAD ||
		    h.length > SMPP_MAX_PDU) { /* where the next one begins nobody knows */
			reply(c, SMPP_GENERIC_NACK, SMPP_RINVCMDLEN, h.sequence);
			s->unbound = true;
			break;
		}
		if (s->in.len - off < h.length)
			break;
		off += h.length;
		on_pdu(c, &h, hm_str_n((const char *)p + SMPP_HEAD, h.length - SMPP_HEAD));
	}
	hm_buf_consume(&s->in, off);
	s->pumping = false;
	if (s->unbound)
		c->doom = hm_max(c->doom, DOOM_AFTER_FLUSH);
}

bool smpp_input(struct sink_conn *c, const char *p, size_t n)
{
	struct smpp_sink *s = session(c);

	hm_buf_put(&s->in, p, n);
	pump(c);
	if (s->in.err || s->in.len > INPUT_MAX) /* it does not read its answers: nothing more could be said */
		c->doom = DOOM_NOW;
	return true;
}

size_t smpp_fill(struct sink_conn *c, char *buf, size_t cap)
{
	size_t n = 0, was;

	do {
		was = n;
		n += conn_fill_raw(c, buf + n, cap - n);
		pump(c);
	} while (n < cap && n > was);
	return n;
}

/* -- answers -------------------------------------------------------------------------------- */

/* "88", "0x58": what a script or a special row says; otherwise what comes nearest to the status of HTTP. */
static uint32_t command_status(const struct sink_req *r)
{
	char text[16];

	for (size_t i = 0; i < r->reply.n_h; i++) {
		struct hm_str v = r->reply.h[i].value;

		if (!hm_str_is(r->reply.h[i].name, "command-status") || v.len >= sizeof(text))
			continue;
		memcpy(text, v.p, v.len);
		text[v.len] = '\0';
		return (uint32_t)strtoul(text, NULL, 0);
	}
	if (r->reply.status < 300)
		return SMPP_ROK;
	return r->reply.status == 429	? SMPP_RTHROTTLED
	       : r->reply.status == 404 ? SINK_SMPP_RINVDSTADR
	       : r->reply.status >= 500 ? SINK_SMPP_RSYSERR
					: SINK_SMPP_RSUBMITFAIL;
}

static struct hm_str stamp(uint64_t now_ms, char out[16])
{
	time_t t = (time_t)(now_ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	return hm_str_n(out, strftime(out, 16, "%y%m%d%H%M", &tm));
}

static void put_receipt(struct sink_conn *c, const struct sink_req *r, struct hm_str id)
{
	struct smpp_sink *s = session(c);
	struct hm_str to = req_header(r, "destination"), from = req_header(r, "source"), when;
	bool bad = hm_str_starts(to, HM_STR("99901"));
	char date[16], text[200], idz[ID_MAX + 1];
	uint8_t state = bad ? 5 : 2;
	size_t at;
	int n;

	if (s->receipts - s->receipts_answered >= WAITING_MAX || id.len > ID_MAX)
		return;
	s->receipts++;
	s->sequence = s->sequence % SMPP_MAX_SEQUENCE + 1;
	when = stamp(c->worker->now_ms, date);
	n = snprintf(text, sizeof(text),
		     "id:%.*s sub:001 dlvrd:%s submit date:%.*s done date:%.*s stat:%s err:%s text:",
		     HM_STRF(id), bad ? "000" : "001", HM_STRF(when), HM_STRF(when),
		     bad ? "UNDELIV" : "DELIVRD", bad ? "001" : "000");
	at = smpp_begin(&c->raw, SMPP_DELIVER_SM, 0, s->sequence);
	smpp_put_text(&c->raw, HM_STR("")); /* service_type */
	smpp_put16(&c->raw, 0x0101);
	smpp_put_text(&c->raw, to);
	smpp_put16(&c->raw, 0);
	smpp_put_text(&c->raw, from);
	smpp_put8(&c->raw, SMPP_ESM_RECEIPT);
	smpp_put16(&c->raw, 0);		    /* protocol_id, priority_flag */
	smpp_put_text(&c->raw, HM_STR("")); /* schedule_delivery_time */
	smpp_put_text(&c->raw, HM_STR("")); /* validity_period */
	smpp_put32(&c->raw, 0); /* registered_delivery, replace_if_present, data_coding, sm_default_msg_id */
	smpp_put8(&c->raw, (unsigned)n);
	hm_buf_put(&c->raw, text, (size_t)n);
	memcpy(idz, id.p, id.len);
	idz[id.len] = '\0';
	smpp_put_tlv(&c->raw, SMPP_TAG_RECEIPTED_ID, idz, id.len + 1);
	smpp_put_tlv(&c->raw, SMPP_TAG_MESSAGE_STATE, &state, 1);
	smpp_end(&c->raw, at);
}

void smpp_answer(struct sink_req *r)
{
	struct sink_conn *c = r->conn;
	struct smpp_sink *s = session(c);
	const struct knobs_conn *k = &c->worker->knobs->conn;
	struct hm_str id = hm_str_trim(r->reply.body);
	uint32_t status = command_status(r);
	struct hm_buf *b = &c->raw;
	size_t at = smpp_begin(b, r->command | SMPP_RESP, status, (uint32_t)r->stream_id);

	if (hm_str_chr(id, '\0') >= 0 || id.len > 1000)
		id = HM_STR("");
	if (status == SMPP_ROK) {
		smpp_put_text(b, id);
	} else if (id.len) { /* what it says to a failure */
		smpp_put_text(b, HM_STR(""));
		smpp_put_tlv(b, SMPP_TAG_ADDITIONAL_STATUS, id.p, id.len);
	}
	smpp_end(b, at);
	if (r->reply.fault == FAULT_HUGE && !b->err) { /* a length nobody should believe */
		b->len = at;
		smpp_put32(b, (uint32_t)hm_min(r->reply.fill, (uint64_t)UINT32_MAX));
		smpp_put32(b, r->command | SMPP_RESP);
		smpp_put32(b, status);
		smpp_put32(b, (uint32_t)r->stream_id);
	} else if (r->reply.fault == FAULT_TRUNCATE && !b->err) {
		b->len = at + (b->len - at) / 2;
		s->unbound = true;
	} else if (status == SMPP_ROK && s->receives &&
		   strtoul(req_header(r, "registered-delivery").p, NULL, 10) % 4 == 1) {
		put_receipt(c, r, id);
	}
	if (k->goaway_after && c->requests == (uint64_t)k->goaway_after)
		reply(c, SMPP_UNBIND, 0, s->sequence = s->sequence % SMPP_MAX_SEQUENCE + 1);
	if (k->close_after && c->requests >= (uint64_t)k->close_after)
		s->unbound = true;
	if (s->unbound)
		c->doom = hm_max(c->doom, DOOM_AFTER_FLUSH);
	req_free(r);
	conn_touch(c);
}
