/*
 * session.c - one bound connection: bind, window, link tests, unbind
 *
 * Parts are written into the connection's output as the window allows and leave together at the end of the tick. What comes back is
 * cut into PDUs here; answers find their part by the sequence number, in any order. Answers to the SMSC's own requests never wait
 * for the window.
 */
#include <stdio.h>
#include <stdlib.h>

#include "smpp/smpp_int.h"

#define BLOCKED_BYTES (512u * 1024) /* unsent output above which no further part goes out */
#define PAUSE_MS      1000u	    /* after RTHROTTLED, RMSGQFUL */
#define LEAVE_MS      5000u	    /* for the rest of the answers, and for the unbind_resp */
#define MAX_ENQUIRIES 2u
#define SERVED_MS     5000u /* a bound session that lasts so long was worth connecting for */

static void session_close(struct smpp_session *s, int code, const char *fmt, ...) HM_PRINTF(3, 4);
static void arm_health(struct smpp_session *s);

static struct hm_tick *tick_of(const struct smpp_session *s)
{
	return s->d->origin->wire->tick;
}

static const char *name_of(const struct smpp_session *s)
{
	return s->d->origin->name.p;
}

/* -- sequence numbers, output ------------------------------------------------------------------- */

/* Numbers grow; one whose slot is still taken by an old answer is passed over. The window is at most half of the slots. */
static struct smpp_slot *next_sequence(struct smpp_session *s)
{
	struct smpp_slot *slot;

	do {
		s->sequence = s->sequence >= SMPP_MAX_SEQUENCE ? 1 : s->sequence + 1;
		slot = &s->slots[s->sequence & (s->n_slots - 1)];
	} while (slot->sequence);
	return slot;
}

static struct smpp_slot *find_slot(struct smpp_session *s, uint32_t sequence)
{
	struct smpp_slot *slot = &s->slots[sequence & (s->n_slots - 1)];

	return sequence && slot->sequence == sequence ? slot : NULL;
}

void smpp_session_reply(struct smpp_session *s, uint32_t id, uint32_t status, uint32_t sequence)
{
	struct hm_buf *out;
	size_t at, before;

	if (!hm_conn_usable(&s->conn))
		return;
	out = hm_conn_out(&s->conn);
	before = out->len;
	at = smpp_begin(out, id, status, sequence);
	if (id == (SMPP_DELIVER_SM | SMPP_RESP) || id == (SMPP_DATA_SM | SMPP_RESP))
		smpp_put_text(out, HM_STR("")); /* message_id: always empty */
	smpp_end(out, at);
	s->produced += out->len - before;
	hm_conn_kick(&s->conn);
}

static void request(struct smpp_session *s, uint32_t id)
{
	next_sequence(s); /* not kept: there is one of its kind at a time */
	smpp_session_reply(s, id, 0, s->sequence);
}

static void session_close(struct smpp_session *s, int code, const char *fmt, ...)
{
	char text[sizeof(s->why.text)];
	va_list ap;

	if (s->state == SMPP_S_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->why.code == 0)
		hm_err_set(&s->why, code, "%s", text);
	hm_conn_close(&s->conn, &s->why);
}

/* -- the window ------------------------------------------------------------------------------------ */

static bool can_submit(const struct smpp_session *s)
{
	return s->state == SMPP_S_BOUND && s->kind != SMPP_RECEIVER && hm_conn_usable(&s->conn) &&
	       hm_conn_pending(&s->conn) <= BLOCKED_BYTES;
}

/* When the next part may go by the pace: there may be a tenth of a second's worth at once. */
static uint64_t pace_wait_ns(const struct smpp_session *s)
{
	uint64_t now = tick_of(s)->now_ns, burst = SMPP_NS_PER_S / 10;

	if (s->d->config.pace == 0 || s->pace_ns <= now + burst)
		return 0;
	return s->pace_ns - burst;
}

static uint32_t free_slots(const struct smpp_session *s, bool urgent)
{
	uint32_t limit = s->window - (urgent ? 0 : origin_reserve(s->window));

	return limit > s->in_flight ? limit - s->in_flight : 0;
}

uint32_t smpp_session_room(const struct smpp_session *s, bool urgent)
{
	uint32_t room = free_slots(s, urgent);

	if (!can_submit(s) || s->pause_until_ns > tick_of(s)->now_ns || pace_wait_ns(s))
		return 0;
	return room > s->todo ? room - s->todo : 0;
}

uint64_t smpp_session_wake_ns(const struct smpp_session *s)
{
	uint64_t now = tick_of(s)->now_ns, when = pace_wait_ns(s);

	if (s->state != SMPP_S_BOUND || s->kind == SMPP_RECEIVER)
		return UINT64_MAX;
	if (s->pause_until_ns > now)
		when = hm_max(when, s->pause_until_ns);
	return when ? when : UINT64_MAX;
}

static void send_part(struct smpp_session *s, struct smpp_message *m, uint32_t part)
{
	struct smpp_slot *slot = next_sequence(s);
	struct hm_buf *out = hm_conn_out(&s->conn);
	struct smpp_part *p = &m->parts[part];
	size_t before = out->len;
	uint64_t now = tick_of(s)->now_ns;

	if (!m->went) {
		m->went = true;
		m->call->sent_off = s->produced;
	}
	*slot = (struct smpp_slot){.sequence = s->sequence, .part = part, .message = m};
	p->state = SMPP_PART_SENT;
	p->sequence = s->sequence;
	m->todo--;
	m->sent++;
	s->todo--;
	s->in_flight++;
	s->submitted++;
	s->used_ns = now;
	smpp_message_put(m, part, s->sequence, out);
	s->produced += out->len - before;
	if (s->d->config.pace)
		s->pace_ns = hm_max(s->pace_ns, now) + SMPP_NS_PER_S / s->d->config.pace;
	if (m->call->urgent)
		hm_conn_kick_soon(&s->conn);
}

static struct smpp_message *message_of(struct hm_node *n)
{
	struct smpp_message *m = hm_container_of(n, struct hm_call, node)->driver;

	HM_CHECK(m, SMPP_MESSAGE_MAGIC);
	return m;
}

void smpp_session_push(struct smpp_session *s)
{
	while (!hm_list_empty(&s->sending)) {
		struct smpp_message *m = message_of(hm_list_first(&s->sending));

		for (uint32_t i = 0; i < m->text.n_parts && m->todo; i++) {
			if (m->parts[i].state != SMPP_PART_TODO)
				continue;
			if (!can_submit(s) || free_slots(s, m->call->urgent) == 0 || pace_wait_ns(s) ||
			    s->pause_until_ns > tick_of(s)->now_ns)
				return;
			send_part(s, m, i);
		}
		hm_list_remove(&s->sending, &m->call->node);
		hm_list_push(&s->waiting, &m->call->node);
	}
}

void smpp_session_take(struct smpp_session *s, struct smpp_message *m)
{
	struct hm_call *c = m->call;

	c->state = CALL_DRIVER;
	c->driver = m;
	c->body_off = 0;
	m->session = s;
	if (m->text.n_parts > 1)
		m->ref = smpp_ref_next(s->d, &m->sm);
	s->todo += m->todo;
	if (c->urgent)
		hm_list_push_front(&s->sending, &c->node);
	else
		hm_list_push(&s->sending, &c->node);
	smpp_session_push(s);
}

/* Off its list, its slots free. What still comes for them is of no interest. */
static void detach(struct smpp_message *m)
{
	struct smpp_session *s = m->session;

	hm_list_remove(m->todo ? &s->sending : &s->waiting, &m->call->node);
	s->todo -= m->todo;
	for (uint32_t i = 0; i < m->text.n_parts && m->sent; i++) {
		struct smpp_slot *slot;

		if (m->parts[i].state != SMPP_PART_SENT)
			continue;
		slot = find_slot(s, m->parts[i].sequence);
		hm_assert(slot && slot->message == m && s->in_flight > 0);
		slot->sequence = 0;
		s->in_flight--;
		m->sent--;
	}
	m->session = NULL;
}

bool smpp_session_drop(struct smpp_message *m)
{
	HM_CHECK(m, SMPP_MESSAGE_MAGIC);
	HM_CHECK(m->session, SMPP_SESSION_MAGIC);
	detach(m);
	HM_MAGIC_CLEAR(m);
	return m->went;
}

/* -- answers ------------------------------------------------------------------------------------------ */

static void slow_down(struct smpp_session *s, uint32_t status)
{
	uint64_t now = tick_of(s)->now_ns;
	char hex[11];

	if (s->pause_until_ns > now) /* one of those that had gone out before */
		return;
	s->pause_until_ns = now + PAUSE_MS * SMPP_NS_PER_MS;
	s->window = hm_max(s->window / 2, 1u);
	s->accepted_since = 0;
	s->wake = true;
	HM_DEBUG(WIRE, "SMSC asks for less", HM_SV("origin", s->d->origin->name),
		 HM_S("status", smpp_status_name(status, hex)), HM_U("window", s->window));
}

static void speed_up(struct smpp_session *s)
{
	if (s->window < s->d->config.window && ++s->accepted_since >= s->window) {
		s->window++;
		s->accepted_since = 0;
	}
}

static bool throttle(uint32_t status)
{
	return status == SMPP_RTHROTTLED || status == SMPP_RMSGQFUL;
}

/* Moves a message that has parts to send (again) or none any more to the list where it belongs. */
static void relist(struct smpp_session *s, struct smpp_message *m, bool was_sending)
{
	if (was_sending == (m->todo > 0))
		return;
	hm_list_remove(was_sending ? &s->sending : &s->waiting, &m->call->node);
	if (m->todo)
		hm_list_push_front(&s->sending, &m->call->node);
	else
		hm_list_push(&s->waiting, &m->call->node);
}

static void decide(struct smpp_session *s, struct smpp_message *m)
{
	bool was_sending = m->todo > 0;

	if (m->refused && m->todo) { /* the rest would go for nothing */
		s->todo -= m->todo;
		m->todo = 0;
		for (uint32_t i = 0; i < m->text.n_parts; i++)
			if (m->parts[i].state == SMPP_PART_TODO)
				m->parts[i].state = SMPP_PART_REFUSED;
	}
	if (m->throttled && m->sent == 0 && m->refused == 0 && m->taken == 0 && m->todo) {
		/* Nothing of it was taken: the whole call is told, and whoever sent it waits. */
		s->todo -= m->todo;
		m->todo = 0;
	} else if (m->throttled && m->sent == 0 && m->refused == 0 && m->taken) {
		for (uint32_t i = 0; i < m->text.n_parts; i++) {
			if (m->parts[i].state == SMPP_PART_THROTTLED) {
				m->parts[i].state = SMPP_PART_TODO;
				m->throttled--;
				m->todo++;
				s->todo++;
			}
		}
	}
	relist(s, m, was_sending);
	if (m->todo || m->sent)
		return;
	hm_list_remove(&s->waiting, &m->call->node);
	m->session = NULL;
	s->answered++;
	s->wake = true;
	smpp_message_answer(m);
}

static void part_answered(struct smpp_session *s, struct smpp_slot *slot, uint32_t status, struct hm_str body)
{
	struct smpp_message *m = slot->message;
	struct smpp_part *p = &m->parts[slot->part];
	struct hm_str id = HM_STR(""), words = HM_STR("");
	char canonical[SMPP_ID_CAP];

	HM_CHECK(m, SMPP_MESSAGE_MAGIC);
	hm_assert(p->state == SMPP_PART_SENT && s->in_flight > 0);
	slot->sequence = 0;
	s->in_flight--;
	s->wake = true;
	m->sent--;
	if (body.len)
		smpp_submit_resp_read(body, &id, &words);
	if (status == SMPP_ROK) {
		speed_up(s);
		p->state = SMPP_PART_TAKEN;
		m->taken++;
		id = smpp_id_canonical(id, s->d->config.id_radix, canonical);
		p->id = id.len ? hm_arena_str(m->call->arena, id) : HM_STR("");
		if (p->id.p == NULL)
			p->id = HM_STR("");
	} else {
		if (throttle(status))
			slow_down(s, status);
		if (m->status == SMPP_ROK || (m->refused == 0 && !throttle(status))) {
			m->status = status;
			m->words = words.len ? hm_arena_str(m->call->arena, words) : HM_STR("");
		}
		p->state = throttle(status) ? SMPP_PART_THROTTLED : SMPP_PART_REFUSED;
		if (throttle(status))
			m->throttled++;
		else
			m->refused++;
	}
	decide(s, m);
}

/* -- PDUs from the SMSC ------------------------------------------------------------------------------- */

static void on_bind_resp(struct smpp_session *s, const struct smpp_head *h, struct hm_str body)
{
	struct hm_tick *tick = tick_of(s);
	char hex[11];

	if (s->state != SMPP_S_BINDING || h->sequence != s->bind_sequence)
		return;
	if (h->status != SMPP_ROK) {
		s->bind_status = h->status;
		session_close(s, HM_EAUTH, "%s refuses the bind: %s", name_of(s),
			      smpp_status_name(h->status, hex));
		return;
	}
	s->state = SMPP_S_BOUND;
	s->used_ns = s->bound_ns = tick->now_ns;
	arm_health(s);
	HM_DEBUG(WIRE, "bound to SMSC", HM_SV("origin", s->d->origin->name),
		 HM_S("peer", hm_conn_peer(&s->conn)), HM_SV("smsc", smpp_bind_resp_read(body)));
	smpp_session_is_bound(s);
}

static void finish_leaving(struct smpp_session *s)
{
	if (s->state != SMPP_S_LEAVING || s->in_flight)
		return;
	if (s->peer_unbinds || s->unbound) {
		hm_timer_stop(tick_of(s), &s->health);
		hm_conn_finish(&s->conn);
	}
}

static void on_unbind(struct smpp_session *s, const struct smpp_head *h)
{
	smpp_session_reply(s, SMPP_UNBIND | SMPP_RESP, SMPP_ROK, h->sequence);
	s->peer_unbinds = true;
	if (s->state != SMPP_S_BOUND && s->state != SMPP_S_LEAVING) {
		session_close(s, HM_ECLOSED, "%s unbinds", name_of(s));
		return;
	}
	hm_err_set(&s->why, HM_ECLOSED, "%s has unbound the session", name_of(s));
	s->state = SMPP_S_LEAVING; /* what is in the window may still be answered */
	s->wake = true;
	hm_timer_start(tick_of(s), &s->health, LEAVE_MS);
	finish_leaving(s);
}

static void on_nack(struct smpp_session *s, const struct smpp_head *h)
{
	struct smpp_slot *slot = find_slot(s, h->sequence);
	uint32_t status = h->status ? h->status : SMPP_RINVCMDID;

	if (s->state == SMPP_S_BINDING && (h->sequence == s->bind_sequence || h->sequence == 0)) {
		s->bind_status = status;
		session_close(s, HM_EPROTO, "%s does not understand the bind", name_of(s));
	} else if (slot) {
		part_answered(s, slot, status, HM_STR(""));
	} else {
		HM_WARN(WIRE, "generic_nack from SMSC", HM_SV("origin", s->d->origin->name),
			HM_U("status", h->status), HM_U("sequence", h->sequence));
	}
}

static void on_pdu(struct smpp_session *s, const struct smpp_head *h, struct hm_str body)
{
	struct smpp_slot *slot;

	s->received++;
	switch (h->id) {
	case SMPP_SUBMIT_SM | SMPP_RESP:
		slot = find_slot(s, h->sequence);
		if (slot) /* else: its call has ended */
			part_answered(s, slot, h->status, body);
		break;
	case SMPP_BIND_RECEIVER | SMPP_RESP:
	case SMPP_BIND_TRANSMITTER | SMPP_RESP:
	case SMPP_BIND_TRANSCEIVER | SMPP_RESP: on_bind_resp(s, h, body); break;
	case SMPP_ENQUIRE_LINK:
		smpp_session_reply(s, SMPP_ENQUIRE_LINK | SMPP_RESP, SMPP_ROK, h->sequence);
		break;
	case SMPP_ENQUIRE_LINK | SMPP_RESP: break; /* that it came is all it says */
	case SMPP_DELIVER_SM:
	case SMPP_DATA_SM:
		if (s->state == SMPP_S_BOUND || s->state == SMPP_S_LEAVING)
			smpp_event_in(s, h, body);
		else
			smpp_session_reply(s, h->id | SMPP_RESP, SMPP_RINVBNDSTS, h->sequence);
		break;
	case SMPP_UNBIND: on_unbind(s, h); break;
	case SMPP_UNBIND | SMPP_RESP: s->unbound = true; break;
	case SMPP_GENERIC_NACK: on_nack(s, h); break;
	case SMPP_OUTBIND:
	case SMPP_ALERT_NOTIFICATION: break; /* want no answer */
	default:
		if ((h->id & SMPP_RESP) == 0)
			smpp_session_reply(s, SMPP_GENERIC_NACK, SMPP_RINVCMDID, h->sequence);
		break;
	}
	if (s->state == SMPP_S_LEAVING)
		finish_leaving(s);
}

/* Whole PDUs at the front of p; returns the bytes eaten. */
static size_t eat(struct smpp_session *s, const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (n - at >= 4 && s->state != SMPP_S_CLOSING && hm_conn_usable(&s->conn)) {
		uint32_t length = (uint32_t)p[at] << 24 | (uint32_t)p[at + 1] << 16 |
				  (uint32_t)p[at + 2] << 8 | p[at + 3];
		struct smpp_head h;

		if (length < SMPP_HEAD || length > SMPP_MAX_PDU) {
			/* No way to find where the next one begins. */
			smpp_session_reply(s, SMPP_GENERIC_NACK, SMPP_RINVCMDLEN, 0);
			session_close(s, HM_EPROTO, "%s sent a PDU of %u bytes", name_of(s), length);
			return n;
		}
		if (n - at < length)
			break;
		smpp_head_read(p + at, &h);
		on_pdu(s, &h, hm_str_n((const char *)p + at + SMPP_HEAD, length - SMPP_HEAD));
		at += length;
	}
	return at;
}

static void on_read(struct hm_conn *conn, const uint8_t *p, size_t n)
{
	struct smpp_session *s = conn->arg;
	size_t eaten;

	HM_CHECK(s, SMPP_SESSION_MAGIC);
	s->last_rx_ns = tick_of(s)->now_ns;
	s->enquiries = 0;
	s->wake = false;
	if (s->in.len == 0) {
		eaten = eat(s, p, n);
		p += eaten;
		n -= eaten;
		eaten = 0;
		hm_buf_put(&s->in, p, n);
	} else {
		hm_buf_put(&s->in, p, n);
		eaten = s->in.err ? 0 : eat(s, (const uint8_t *)s->in.p, s->in.len);
	}
	if (s->in.err)
		session_close(s, s->in.err, "no room for what %s sends", name_of(s));
	else
		hm_buf_consume(&s->in, hm_min(eaten, s->in.len));
	if (s->wake)
		origin_pump_later(s->d->origin);
}

/* -- the link ------------------------------------------------------------------------------------------ */

static void count_bytes(struct smpp_session *s)
{
	struct hm_stats *stats = tick_of(s)->stats;

	hm_stats_add(stats, HM_CT_WIRE_TX_BYTES, s->conn.tx_bytes - s->tx_seen);
	hm_stats_add(stats, HM_CT_WIRE_RX_BYTES, s->conn.rx_bytes - s->rx_seen);
	s->tx_seen = s->conn.tx_bytes;
	s->rx_seen = s->conn.rx_bytes;
}

static void on_open(struct hm_conn *conn)
{
	struct smpp_session *s = conn->arg;
	const struct smpp_config *c = &s->d->config;
	static const uint32_t ids[] = {
		[SMPP_TRANSCEIVER] = SMPP_BIND_TRANSCEIVER,
		[SMPP_TRANSMITTER] = SMPP_BIND_TRANSMITTER,
		[SMPP_RECEIVER] = SMPP_BIND_RECEIVER,
	};
	struct smpp_bind b = {
		.id = ids[s->kind],
		.system_id = c->system_id,
		.password = c->password,
		.system_type = c->system_type,
		.address_range = c->address_range,
		.ton = c->addr_ton,
		.npi = c->addr_npi,
	};
	struct hm_buf *out = hm_conn_out(conn);
	size_t before = out->len;

	HM_CHECK(s, SMPP_SESSION_MAGIC);
	s->state = SMPP_S_BINDING;
	s->last_rx_ns = tick_of(s)->now_ns;
	next_sequence(s);
	s->bind_sequence = s->sequence;
	smpp_put_bind(out, s->sequence, &b);
	s->produced += out->len - before;
	hm_timer_start(tick_of(s), &s->health, (uint64_t)c->bind_timeout_s * 1000);
}

static uint64_t since_ms(const struct smpp_session *s, uint64_t ns)
{
	return (tick_of(s)->now_ns - ns) / SMPP_NS_PER_MS;
}

static bool idle(const struct smpp_session *s)
{
	return s->in_flight == 0 && s->events == 0 && hm_list_empty(&s->sending);
}

/* One more than is needed: another session of its kind stands, or nobody wants any. */
static bool surplus(const struct smpp_session *s)
{
	if (!s->d->wanted || s->kind == SMPP_TRANSMITTER)
		return true;
	hm_list_foreach (&s->d->sessions, n) {
		const struct smpp_session *other = hm_container_of(n, const struct smpp_session, node);

		if (other != s && other->kind == s->kind && other->state == SMPP_S_BOUND)
			return true;
	}
	return false;
}

static void arm_health(struct smpp_session *s)
{
	const struct smpp_config *c = &s->d->config;
	uint32_t idle_close = s->d->origin->wire->opts.idle_close_ms;
	uint64_t next = UINT64_MAX;

	if (c->enquire_s) {
		uint64_t limit = (s->enquiries ? c->enquire_timeout_s : c->enquire_s) * UINT64_C(1000);
		uint64_t silent = since_ms(s, s->enquiries ? s->enquire_ns : s->last_rx_ns);

		next = limit > silent ? limit - silent : 0;
	}
	if (idle_close) {
		uint64_t unused = since_ms(s, s->used_ns);

		next = hm_min(next, idle_close > unused ? idle_close - unused : idle_close);
	}
	if (next != UINT64_MAX)
		hm_timer_start(tick_of(s), &s->health, next + 1);
}

static void on_health(struct hm_timer *t)
{
	struct smpp_session *s = hm_container_of(t, struct smpp_session, health);
	const struct smpp_config *c = &s->d->config;
	uint32_t idle_close = s->d->origin->wire->opts.idle_close_ms;

	HM_CHECK(s, SMPP_SESSION_MAGIC);
	switch (s->state) {
	case SMPP_S_BINDING:
		session_close(s, HM_ETIMEDOUT, "%s did not answer the bind in %u s", name_of(s),
			      c->bind_timeout_s);
		return;
	case SMPP_S_LEAVING:
		session_close(s, HM_ETIMEDOUT, "%s left the unbind unanswered", name_of(s));
		return;
	case SMPP_S_BOUND: break;
	default: return;
	}
	if (idle_close && idle(s) && since_ms(s, s->used_ns) >= idle_close && surplus(s)) {
		smpp_session_leave(s);
		return;
	}
	if (c->enquire_s && s->enquiries &&
	    since_ms(s, s->enquire_ns) >= c->enquire_timeout_s * UINT64_C(1000)) {
		if (s->enquiries >= MAX_ENQUIRIES) {
			session_close(s, HM_ETIMEDOUT, "%s did not answer %u enquire_link", name_of(s),
				      MAX_ENQUIRIES);
			return;
		}
		s->enquiries++;
		s->enquire_ns = tick_of(s)->now_ns;
		request(s, SMPP_ENQUIRE_LINK);
	} else if (c->enquire_s && s->enquiries == 0 &&
		   since_ms(s, s->last_rx_ns) >= c->enquire_s * UINT64_C(1000)) {
		s->enquiries = 1;
		s->enquire_ns = tick_of(s)->now_ns;
		request(s, SMPP_ENQUIRE_LINK);
	}
	arm_health(s);
}

void smpp_session_leave(struct smpp_session *s)
{
	if (s->state == SMPP_S_LEAVING || s->state == SMPP_S_CLOSING)
		return;
	if (s->state != SMPP_S_BOUND) {
		hm_conn_close(&s->conn, NULL);
		return;
	}
	s->state = SMPP_S_LEAVING;
	request(s, SMPP_UNBIND);
	hm_timer_start(tick_of(s), &s->health, LEAVE_MS);
}

/* -- its end ------------------------------------------------------------------------------------------- */

/* The calls of a dead session, youngest first, because each goes back to the head of the queue. Nothing of a message that never
 * reached the kernel can have been taken. */
static void orphan(struct smpp_session *s, struct hm_list *list, const struct hm_err *why)
{
	uint64_t kernel = hm_conn_taken(&s->conn);

	while (!hm_list_empty(list)) {
		struct hm_call *c = hm_container_of(list->head.prev, struct hm_call, node);
		struct smpp_message *m = message_of(&c->node);

		detach(m);
		HM_MAGIC_CLEAR(m);
		if (!m->went || (m->taken == 0 && c->sent_off >= kernel))
			call_again(c, why->code, why->text);
		else
			call_finish(c, HM_FATE_MAYBE, why->code, "%s%s", why->text,
				    m->taken ? "; some parts were taken" : "");
	}
}

static void on_close(struct hm_conn *conn, const struct hm_err *conn_why)
{
	struct smpp_session *s = conn->arg;
	struct smpp *d = s->d;
	struct hm_wire *w = d->origin->wire;
	struct hm_err why = s->why.code ? s->why : *conn_why;
	enum smpp_session_state was = s->state;
	bool served;

	HM_CHECK(s, SMPP_SESSION_MAGIC);
	count_bytes(s);
	s->state = SMPP_S_CLOSING;
	hm_list_remove(&d->sessions, &s->node);
	orphan(s, &s->sending, &why);
	orphan(s, &s->waiting, &why);
	hm_assert(s->in_flight == 0 && s->todo == 0);
	hm_timer_stop(w->tick, &s->health);
	/* A peer that only binds and hangs up would otherwise be dialled for ever. */
	served = s->answered > 0 || (was >= SMPP_S_BOUND && since_ms(s, s->bound_ns) >= SERVED_MS);
	smpp_session_ended(d, was, served, s->bind_status, &why);
	hm_buf_fini(&s->in);
	free(s->slots);
	HM_MAGIC_CLEAR(s);
	free(s);
	w->sessions--;
	if (w->closing)
		wire_maybe_closed(w);
}

static void on_flush(struct hm_conn *conn)
{
	count_bytes(conn->arg);
}

static void on_drain(struct hm_conn *conn)
{
	struct smpp_session *s = conn->arg;

	origin_pump_later(s->d->origin);
}

static const struct hm_conn_ops ops = {
	.on_open = on_open,
	.on_read = on_read,
	.on_flush = on_flush,
	.on_drain = on_drain,
	.on_close = on_close,
};

int smpp_session_new(struct smpp *d, enum smpp_kind kind, struct hm_err *e)
{
	struct hm_origin *o = d->origin;
	struct hm_wire *w = o->wire;
	struct smpp_session *s = calloc(1, sizeof(*s));
	struct hm_conn_opts co = {
		.tls = o->opts.tls ? o->tls : NULL,
		.connect_timeout_ms = w->opts.connect_timeout_ms,
		.faults = true,
		.host = o->dial_host,
		.port = o->dial_port,
		.unix_path = o->dial_unix,
		.server_name = o->opts.server_name.len ? o->opts.server_name : o->opts.host,
		.sessions = &o->tickets,
		/* An address the operator wrote down (connect_to) is meant. */
		.deny_private = o->opts.deny_private && o->opts.connect_to.len == 0,
	};
	int rc = HM_ENOMEM;

	if (s == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	s->window = d->config.window;
	for (s->n_slots = 4; s->n_slots < 2 * s->window; s->n_slots *= 2)
		;
	s->slots = calloc(s->n_slots, sizeof(*s->slots));
	if (s->slots == NULL) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
	} else {
		HM_MAGIC_SET(s, SMPP_SESSION_MAGIC);
		s->d = d;
		s->kind = kind;
		s->serial = ++d->serials;
		hm_list_init(&s->sending);
		hm_list_init(&s->waiting);
		hm_timer_init(&s->health, on_health);
		hm_buf_init(&s->in, SMPP_MAX_PDU + (64u << 10) + 1);
		rc = hm_conn_connect(&s->conn, w->tick, &co, &ops, s, e);
	}
	if (rc < 0) {
		free(s->slots);
		free(s);
		return rc;
	}
	hm_list_push(&d->sessions, &s->node);
	w->sessions++;
	return 0;
}
