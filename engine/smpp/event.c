/*
 * event.c - what the SMSC sends: receipts and messages from handsets
 *
 * The answer to a deliver_sm waits until the event is durably taken. The session may be gone by then; then the SMSC has no answer and
 * sends it again to the next one, where it is seen to be a repeat.
 */
#include <stdio.h>
#include <stdlib.h>

#include "smpp/smpp_int.h"

#define MAX_FIELDS 20
#define MAX_TEXT   (256u << 10)
#define KEEP_FREE  64u

struct smpp_event {
	struct hm_driver_event ev;
	uint32_t magic;
	struct smpp *d;
	struct hm_node node; /* d->free */
	uint64_t session;    /* its serial */
	uint32_t command, sequence;
	struct hm_header fields[MAX_FIELDS];
	struct {
		size_t at, len; /* in text: its memory moves while it grows */
	} spans[MAX_FIELDS];
	size_t n;
	struct hm_buf text;
};

static struct smpp_event *event_get(struct smpp *d)
{
	struct hm_node *n = hm_list_pop(&d->free);
	struct smpp_event *ev;

	if (n)
		return hm_container_of(n, struct smpp_event, node);
	ev = calloc(1, sizeof(*ev));
	if (ev) {
		HM_MAGIC_SET(ev, SMPP_EVENT_MAGIC);
		ev->d = d;
		hm_buf_init(&ev->text, MAX_TEXT);
	}
	return ev;
}

static void event_free(struct smpp_event *ev)
{
	hm_buf_fini(&ev->text);
	HM_MAGIC_CLEAR(ev);
	free(ev);
}

static void event_put(struct smpp_event *ev)
{
	hm_buf_reset(&ev->text);
	ev->n = 0;
	if (ev->d->free.len < KEEP_FREE && ev->text.cap <= 4096)
		hm_list_push(&ev->d->free, &ev->node);
	else
		event_free(ev);
}

void smpp_events_free(struct smpp *d)
{
	struct hm_node *n;

	while ((n = hm_list_pop(&d->free)) != NULL)
		event_free(hm_container_of(n, struct smpp_event, node));
}

/* -- fields ---------------------------------------------------------------------------------------- */

static void open_field(struct smpp_event *ev, const char *name)
{
	hm_assert(ev->n < MAX_FIELDS);
	ev->fields[ev->n].name = hm_str_c(name);
	ev->spans[ev->n].at = ev->text.len;
}

static void close_field(struct smpp_event *ev)
{
	ev->spans[ev->n].len = ev->text.len - ev->spans[ev->n].at;
	if (ev->spans[ev->n].len)
		ev->n++;
}

/* Texts of the SMSC are ASCII; what is not becomes Latin-1, so that all fields are UTF-8. */
static void put_text(struct smpp_event *ev, const char *name, struct hm_str v)
{
	open_field(ev, name);
	smpp_text_decode(v, SMPP_LATIN1, &ev->text);
	close_field(ev);
}

static void put_number(struct smpp_event *ev, const char *name, unsigned v)
{
	open_field(ev, name);
	hm_buf_printf(&ev->text, "%u", v);
	close_field(ev);
}

static enum smpp_alphabet alphabet_of(const struct smpp *d, uint8_t coding, bool *binary_r)
{
	*binary_r = false;
	if (coding == 0)
		return d->config.default_alphabet;
	if (coding == 1) /* IA5: what is in it is the same in Latin-1 */
		return SMPP_LATIN1;
	if (coding == 3)
		return SMPP_LATIN1;
	if (coding == 8 || (coding & 0xFC) == 0x18)
		return SMPP_UCS2;
	if ((coding & 0xFC) == 0x10 || (coding & 0xFC) == 0xF0) /* with a message class */
		return SMPP_GSM;
	*binary_r = true;
	return SMPP_LATIN1;
}

/* The user data header off the front of the text: which part this is. */
static struct hm_str read_udh(struct smpp_event *ev, struct hm_str text)
{
	const uint8_t *p = (const uint8_t *)text.p;
	size_t n = text.len ? p[0] + 1u : 0;

	if (n == 0 || n > text.len)
		return text;
	for (size_t i = 1; i + 2 <= n; i += 2u + p[i + 1]) {
		size_t len = p[i + 1];

		if (i + 2 + len > n)
			break;
		if ((p[i] == 0x00 && len == 3) || (p[i] == 0x08 && len == 4)) {
			unsigned ref = len == 3 ? p[i + 2] : (unsigned)(p[i + 2] << 8 | p[i + 3]);

			put_number(ev, "ref", ref);
			put_number(ev, "parts", p[i + len]);
			put_number(ev, "part", p[i + len + 1]);
			break;
		}
	}
	return hm_str_n(text.p + n, text.len - n);
}

static void put_network_error(struct smpp_event *ev, struct hm_str v)
{
	const uint8_t *p = (const uint8_t *)v.p;

	if (v.len != 3)
		return;
	open_field(ev, "network_error");
	hm_buf_printf(&ev->text, "%u-%u", p[0], p[1] << 8 | p[2]);
	close_field(ev);
}

/* What the parameters say counts more than the text, which each vendor writes in its own way. */
static bool read_receipt(struct smpp_event *ev, const struct smpp_sm *m)
{
	unsigned type = m->esm_class & SMPP_ESM_TYPE;
	const char *state = smpp_state_name(m->message_state);
	struct smpp_receipt r;
	bool by_text = smpp_receipt_read(m->message, &r);
	char id[SMPP_ID_CAP];

	if (type != SMPP_ESM_RECEIPT && type != SMPP_ESM_PROGRESS && !(type == 0 && by_text))
		return false;
	put_text(ev, "type", HM_STR("receipt"));
	put_text(ev, "id",
		 smpp_id_canonical(m->receipted_id.len ? m->receipted_id : r.id, ev->d->config.receipt_radix,
				   id));
	put_text(ev, "stat", state ? hm_str_c(state) : r.stat);
	if (m->message_state >= 0)
		put_number(ev, "state", (unsigned)m->message_state);
	put_text(ev, "detail", r.stat);
	put_text(ev, "err", r.err);
	put_network_error(ev, m->network_error);
	put_text(ev, "submit_date", r.submit_date);
	put_text(ev, "done_date", r.done_date);
	if (type == SMPP_ESM_PROGRESS)
		put_text(ev, "final", HM_STR("no"));
	return true;
}

static void read_inbound(struct smpp_event *ev, const struct smpp_sm *m)
{
	struct hm_str text = m->message;
	enum smpp_alphabet a;
	bool binary;

	put_text(ev, "type", HM_STR("inbound"));
	if (m->esm_class & SMPP_ESM_UDHI)
		text = read_udh(ev, text);
	if (m->sar_total > 1 && m->sar_ref >= 0 && m->sar_seqnum > 0) {
		put_number(ev, "ref", (unsigned)m->sar_ref);
		put_number(ev, "parts", (unsigned)m->sar_total);
		put_number(ev, "part", (unsigned)m->sar_seqnum);
	}
	put_number(ev, "data_coding", m->data_coding);
	a = alphabet_of(ev->d, m->data_coding, &binary);
	open_field(ev, binary ? "hex" : "text");
	if (binary)
		hm_buf_hex(&ev->text, text.p, text.len);
	else
		smpp_text_decode(text, a, &ev->text);
	close_field(ev);
}

/* -- taken ------------------------------------------------------------------------------------------- */

static struct smpp_session *session_of(const struct smpp_event *ev)
{
	hm_list_foreach (&ev->d->sessions, n) {
		struct smpp_session *s = hm_container_of(n, struct smpp_session, node);

		if (s->serial == ev->session)
			return s;
	}
	return NULL;
}

static void on_taken(struct hm_driver_event *e, int rc)
{
	struct smpp_event *ev = hm_container_of(e, struct smpp_event, ev);
	struct smpp *d = ev->d;
	struct hm_wire *w = d->origin->wire;
	struct smpp_session *s;

	HM_CHECK(ev, SMPP_EVENT_MAGIC);
	s = session_of(ev);
	if (rc != 0)
		d->n_refused_events++;
	if (s) {
		s->events--;
		smpp_session_reply(s, ev->command | SMPP_RESP, rc == 0 ? SMPP_ROK : SMPP_RX_T_APPN,
				   ev->sequence);
	}
	d->events--;
	event_put(ev);
	w->sessions--;
	if (w->closing)
		wire_maybe_closed(w);
}

void smpp_event_in(struct smpp_session *s, const struct smpp_head *h, struct hm_str body)
{
	struct smpp *d = s->d;
	struct hm_wire *w = d->origin->wire;
	struct smpp_event *ev = NULL;
	uint32_t status = SMPP_RX_T_APPN;
	struct smpp_sm m;
	bool ok = h->id == SMPP_DELIVER_SM ? smpp_sm_read(body, &m) : smpp_data_sm_read(body, &m);

	if (!ok)
		status = SMPP_RX_P_APPN; /* sent again it would be no better */
	else if (s->events >= SMPP_MAX_EVENTS)
		status = SMPP_RMSGQFUL;
	else if (w->opts.on_event && !w->closing)
		ev = event_get(d);
	if (ev) {
		if (read_receipt(ev, &m))
			d->n_receipts++;
		else
			read_inbound(ev, &m), d->n_inbound++;
		put_text(ev, "from",
			 m.source.len && m.source.p[0] == '+' ? hm_str_n(m.source.p + 1, m.source.len - 1)
							      : m.source);
		put_text(ev, "to",
			 m.dest.len && m.dest.p[0] == '+' ? hm_str_n(m.dest.p + 1, m.dest.len - 1) : m.dest);
		if (ev->text.err) {
			event_put(ev);
			ev = NULL;
		}
	}
	if (ev == NULL) {
		d->n_refused_events++;
		smpp_session_reply(s, h->id | SMPP_RESP, status, h->sequence);
		return;
	}
	ev->ev = (struct hm_driver_event){
		.origin = d->origin, .fields = ev->fields, .n_fields = ev->n, .done = on_taken};
	for (size_t i = 0; i < ev->n; i++) {
		ev->fields[i].value = hm_str_n(ev->text.p + ev->spans[i].at, ev->spans[i].len);
		if (hm_str_is(ev->fields[i].name, "text"))
			ev->ev.body = ev->fields[i].value;
	}
	ev->session = s->serial;
	ev->command = h->id;
	ev->sequence = h->sequence;
	s->events++;
	d->events++;
	w->sessions++; /* the wire stays until it is taken */
	w->opts.on_event(w->opts.event_arg, &ev->ev);
}
