/*
 * session.c - one connection to a broker: CONNECT, window, acknowledgements, signs of life, DISCONNECT
 *
 * Publishes are written into the connection's output as the window allows and leave together at the end of the tick. What comes back
 * is cut into packets here; acknowledgements find their publish by the packet id, in any order.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mqtt/mqtt_int.h"

#define BLOCKED_BYTES (512u * 1024) /* unsent output above which no further publish goes out */
#define LEAVE_MS      5000u	    /* for the rest of the answers */
#define SERVED_MS     5000u	    /* an open session that lasts so long was worth connecting for */
#define MAX_INCOMING  (64u * 1024)  /* bytes of a packet; nothing is subscribed to */

static void session_close(struct mqtt_session *s, int code, const char *fmt, ...) HM_PRINTF(3, 4);
static void arm_health(struct mqtt_session *s);

static struct hm_tick *tick_of(const struct mqtt_session *s)
{
	return s->d->origin->wire->tick;
}

static const char *name_of(const struct mqtt_session *s)
{
	return s->d->origin->name.p;
}

static void session_close(struct mqtt_session *s, int code, const char *fmt, ...)
{
	char text[sizeof(s->why.text)];
	va_list ap;

	if (s->state == MQTT_S_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->why.code == 0)
		hm_err_set(&s->why, code, "%s", text);
	hm_conn_close(&s->conn, &s->why);
}

/* -- packet ids, output ------------------------------------------------------------------- */

/* Ids go round; one whose slot is still taken is passed over. The window is at most half of the slots. */
static struct mqtt_slot *next_slot(struct mqtt_session *s)
{
	struct mqtt_slot *slot;

	do {
		s->id = s->id == UINT16_MAX ? 1 : (uint16_t)(s->id + 1);
		slot = &s->slots[s->id & (s->n_slots - 1)];
	} while (slot->state != MQTT_SLOT_FREE);
	slot->id = s->id;
	return slot;
}

static struct mqtt_slot *find_slot(struct mqtt_session *s, uint16_t id)
{
	struct mqtt_slot *slot = &s->slots[id & (s->n_slots - 1)];

	return slot->state != MQTT_SLOT_FREE && slot->id == id ? slot : NULL;
}

static void wrote(struct mqtt_session *s, size_t before)
{
	s->produced += hm_conn_out(&s->conn)->len - before;
	s->last_tx_ns = tick_of(s)->now_ns;
}

static void reply(struct mqtt_session *s, enum mqtt_type type, uint16_t id)
{
	struct hm_buf *out;
	size_t before;

	if (!hm_conn_usable(&s->conn))
		return;
	out = hm_conn_out(&s->conn);
	before = out->len;
	mqtt_put_ack(out, type, id);
	wrote(s, before);
}

/* Its answer shows that everything before it was read. */
static void ping(struct mqtt_session *s)
{
	struct hm_buf *out = hm_conn_out(&s->conn);
	size_t before = out->len;

	hm_assert(s->pings == s->pongs);
	mqtt_put_empty(out, MQTT_PINGREQ);
	wrote(s, before);
	s->pings++;
	s->need_ping = false;
	s->ping_ns = tick_of(s)->now_ns;
	arm_health(s);
}

/* -- the window ------------------------------------------------------------------------------------ */

uint32_t mqtt_session_room(const struct mqtt_session *s, bool urgent)
{
	uint32_t limit = s->d->config.window - (urgent ? 0 : origin_reserve(s->d->config.window));

	if (s->state != MQTT_S_OPEN || !hm_conn_usable(&s->conn) || hm_conn_pending(&s->conn) > BLOCKED_BYTES)
		return 0;
	return limit > s->in_flight ? limit - s->in_flight : 0;
}

void mqtt_session_take(struct mqtt_session *s, struct mqtt_message *m)
{
	struct hm_call *c = m->call;
	struct hm_buf *out = hm_conn_out(&s->conn);
	size_t before = out->len;

	c->state = CALL_DRIVER;
	c->driver = m;
	c->body_off = 0;
	c->sent_off = s->produced;
	m->session = s;
	hm_list_push(&s->calls, &c->node);
	if (m->publish.qos) {
		struct mqtt_slot *slot = next_slot(s);

		slot->state = m->publish.qos == 1 ? MQTT_SLOT_PUBACK : MQTT_SLOT_PUBREC;
		slot->message = m;
		m->publish.id = slot->id;
	} else {
		m->ping = s->pings + 1;
		s->need_ping = true;
	}
	s->in_flight++;
	s->published++;
	mqtt_put_publish(out, &m->publish);
	wrote(s, before);
	s->used_ns = s->last_tx_ns;
	if (c->urgent)
		hm_conn_kick_soon(&s->conn);
}

/* Off the list; a slot of it stays, without a call. */
static void detach(struct mqtt_message *m)
{
	struct mqtt_session *s = m->session;

	HM_CHECK(m, MQTT_MESSAGE_MAGIC);
	HM_CHECK(s, MQTT_SESSION_MAGIC);
	hm_list_remove(&s->calls, &m->call->node);
	if (m->publish.qos) {
		struct mqtt_slot *slot = find_slot(s, m->publish.id);

		hm_assert(slot && slot->message == m);
		slot->message = NULL;
		s->orphans++;
	} else {
		s->in_flight--;
	}
	m->session = NULL;
}

void mqtt_session_drop(struct mqtt_message *m)
{
	struct mqtt_session *s = m->session;

	detach(m);
	HM_MAGIC_CLEAR(m);
	if (s->orphans >= s->d->config.window)
		session_close(s, HM_ETIMEDOUT, "%s acknowledges nothing", name_of(s));
}

/* -- answers ------------------------------------------------------------------------------------------ */

static void taken(struct mqtt_session *s, struct mqtt_message *m)
{
	HM_CHECK(m, MQTT_MESSAGE_MAGIC);
	hm_list_remove(&s->calls, &m->call->node);
	m->session = NULL;
	s->answered++;
	mqtt_message_taken(m);
}

static void through(struct mqtt_session *s, struct mqtt_slot *slot)
{
	struct mqtt_message *m = slot->message;

	slot->state = MQTT_SLOT_FREE;
	slot->message = NULL;
	hm_assert(s->in_flight > 0);
	s->in_flight--;
	s->wake = true;
	if (m)
		taken(s, m);
	else
		s->orphans--;
}

static void on_ack(struct mqtt_session *s, const struct mqtt_packet *k)
{
	static const uint8_t awaited[] = {[MQTT_PUBACK] = MQTT_SLOT_PUBACK,
					  [MQTT_PUBREC] = MQTT_SLOT_PUBREC,
					  [MQTT_PUBCOMP] = MQTT_SLOT_PUBCOMP};
	struct mqtt_slot *slot;
	uint16_t id;

	if (!mqtt_ack_read(k, &id)) {
		session_close(s, HM_EPROTO, "%s sent a malformed packet", name_of(s));
		return;
	}
	slot = find_slot(s, id);
	if (slot == NULL) /* of nothing that is under way */
		return;
	if (k->type == MQTT_PUBREC && slot->state != MQTT_SLOT_PUBACK) {
		slot->state = MQTT_SLOT_PUBCOMP; /* a PUBREC that comes twice is answered twice */
		reply(s, MQTT_PUBREL, id);
	} else if (slot->state == awaited[k->type]) {
		through(s, slot);
	} else {
		session_close(s, HM_EPROTO, "%s answers a publish as if it had another QoS", name_of(s));
	}
}

static void on_pong(struct mqtt_session *s)
{
	if (s->pings == s->pongs)
		return;
	s->pongs++;
	hm_list_foreach_safe (&s->calls, n, next) {
		struct mqtt_message *m = hm_container_of(n, struct hm_call, node)->driver;

		if (m->publish.qos == 0 && m->ping <= s->pongs) {
			s->in_flight--;
			s->wake = true;
			taken(s, m);
		}
	}
	if (s->need_ping)
		hm_conn_kick(&s->conn);
	arm_health(s); /* it waited for this answer */
}

static void on_connack(struct mqtt_session *s, const struct mqtt_packet *k)
{
	struct hm_tick *tick = tick_of(s);
	unsigned code;

	if (!mqtt_connack_read(k, &code)) {
		session_close(s, HM_EPROTO, "%s sent a malformed CONNACK", name_of(s));
		return;
	}
	if (code) {
		s->refused = code;
		session_close(s, HM_EAUTH, "%s %s (CONNACK %u)", name_of(s), mqtt_connack_sentence(code),
			      code);
		return;
	}
	s->state = MQTT_S_OPEN;
	s->used_ns = s->open_ns = tick->now_ns;
	arm_health(s);
	HM_DEBUG(WIRE, "connected to broker", HM_SV("origin", s->d->origin->name),
		 HM_S("peer", hm_conn_peer(&s->conn)), HM_S("client_id", s->client_id));
	mqtt_session_is_open(s);
}

/* Nothing is subscribed to; a broker that publishes all the same gets its acknowledgement, so that it does not wait for it. */
static void on_publish(struct mqtt_session *s, const struct mqtt_packet *k)
{
	struct mqtt_publish v;

	if (!mqtt_publish_read(k, &v))
		session_close(s, HM_EPROTO, "%s sent a malformed packet", name_of(s));
	else if (v.qos)
		reply(s, v.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, v.id);
}

static void on_packet(struct mqtt_session *s, const struct mqtt_packet *k)
{
	uint16_t id;

	if ((s->state == MQTT_S_GREETING) != (k->type == MQTT_CONNACK)) {
		session_close(s, HM_EPROTO, "%s sent a packet of type %d out of turn", name_of(s),
			      (int)k->type);
		return;
	}
	switch (k->type) {
	case MQTT_CONNACK: on_connack(s, k); break;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBCOMP: on_ack(s, k); break;
	case MQTT_PINGRESP: on_pong(s); break;
	case MQTT_PUBLISH: on_publish(s, k); break;
	case MQTT_PUBREL:
		if (mqtt_ack_read(k, &id))
			reply(s, MQTT_PUBCOMP, id);
		break;
	default: hm_unreachable(); /* mqtt_packet_read lets no other pass */
	}
	if (s->state == MQTT_S_LEAVING && hm_list_empty(&s->calls))
		mqtt_session_leave(s);
}

/* Whole packets at the front of p; returns the bytes eaten. */
static size_t eat(struct mqtt_session *s, const uint8_t *p, size_t n)
{
	struct mqtt_packet k;
	size_t at = 0, eaten;

	while (at < n && hm_conn_usable(&s->conn)) {
		switch (mqtt_packet_read(p + at, n - at, MAX_INCOMING, &k, &eaten)) {
		case MQTT_READ_WHOLE: break;
		case MQTT_READ_MORE: return at;
		case MQTT_READ_LONG:
			session_close(s, HM_EPROTO, "%s sent a packet of more than %u bytes", name_of(s),
				      MAX_INCOMING);
			return n;
		case MQTT_READ_BAD:
			session_close(s, HM_EPROTO, "%s does not speak MQTT: it sent 0x%02x%02x", name_of(s),
				      p[at], at + 1 < n ? p[at + 1] : 0);
			return n;
		}
		at += eaten;
		on_packet(s, &k);
	}
	return n;
}

static void on_read(struct hm_conn *conn, const uint8_t *p, size_t n)
{
	struct mqtt_session *s = conn->arg;
	size_t eaten;

	HM_CHECK(s, MQTT_SESSION_MAGIC);
	s->last_rx_ns = tick_of(s)->now_ns;
	s->wake = false;
	if (s->in.len == 0) {
		eaten = eat(s, p, n);
		hm_buf_put(&s->in, p + eaten, n - eaten);
	} else {
		hm_buf_put(&s->in, p, n);
		eaten = s->in.err ? 0 : eat(s, (const uint8_t *)s->in.p, s->in.len);
		hm_buf_consume(&s->in, eaten);
	}
	if (s->in.err)
		session_close(s, s->in.err, "no room for what %s sends", name_of(s));
	if (s->wake)
		origin_pump_later(s->d->origin);
}

/* -- the link ------------------------------------------------------------------------------------------ */

static void count_bytes(struct mqtt_session *s)
{
	struct hm_stats *stats = tick_of(s)->stats;

	hm_stats_add(stats, HM_CT_WIRE_TX_BYTES, s->conn.tx_bytes - s->tx_seen);
	hm_stats_add(stats, HM_CT_WIRE_RX_BYTES, s->conn.rx_bytes - s->rx_seen);
	s->tx_seen = s->conn.tx_bytes;
	s->rx_seen = s->conn.rx_bytes;
}

/* Letters and digits are all that every broker must accept in an id (section 3.1.3.1). */
static void make_client_id(struct mqtt_session *s)
{
	static const char chars[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	struct hm_str base = s->d->config.client_id;
	size_t n = base.len;

	hm_assert(n + MQTT_RANDOM < sizeof(s->client_id));
	memcpy(s->client_id, base.p, n);
	for (int i = 0; s->d->config.unique && i < MQTT_RANDOM; i++)
		s->client_id[n++] = chars[wire_random(s->d->origin->wire) % (sizeof(chars) - 1)];
	s->client_id[n] = '\0';
}

static void on_open(struct hm_conn *conn)
{
	struct mqtt_session *s = conn->arg;
	const struct mqtt_config *c = &s->d->config;
	struct mqtt_connect v = {
		.client_id = hm_str_c(s->client_id),
		.user = c->user,
		.password = c->password,
		.keep_alive_s = (uint16_t)c->keep_alive_s,
	};
	struct hm_buf *out = hm_conn_out(conn);
	size_t before = out->len;

	HM_CHECK(s, MQTT_SESSION_MAGIC);
	s->state = MQTT_S_GREETING;
	s->last_rx_ns = tick_of(s)->now_ns;
	mqtt_put_connect(out, &v);
	wrote(s, before);
	hm_timer_start(tick_of(s), &s->health, (uint64_t)c->connack_timeout_s * 1000);
}

static uint64_t since_ms(const struct mqtt_session *s, uint64_t ns)
{
	uint64_t now = tick_of(s)->now_ns;

	return now > ns ? (now - ns) / MQTT_NS_PER_MS : 0;
}

/* How long nothing went one of the two ways. */
static uint64_t silent_ms(const struct mqtt_session *s)
{
	return since_ms(s, hm_min(s->last_rx_ns, s->last_tx_ns));
}

static uint64_t left_ms(uint64_t limit, uint64_t passed)
{
	return limit > passed ? limit - passed : 0;
}

static void arm_health(struct mqtt_session *s)
{
	const struct mqtt_config *c = &s->d->config;
	uint32_t idle_close = s->d->origin->wire->opts.idle_close_ms;
	uint64_t next = UINT64_MAX;

	if (s->state != MQTT_S_OPEN)
		return;
	if (s->pings > s->pongs)
		next = left_ms(c->ping_timeout_s * UINT64_C(1000), since_ms(s, s->ping_ns));
	else if (c->keep_alive_s)
		next = left_ms(c->keep_alive_s * UINT64_C(750), silent_ms(s));
	if (idle_close) {
		uint64_t left = left_ms(idle_close, since_ms(s, s->used_ns));

		next = hm_min(next, left ? left : idle_close);
	}
	if (next != UINT64_MAX)
		hm_timer_start(tick_of(s), &s->health, next + 1);
}

static void on_health(struct hm_timer *t)
{
	struct mqtt_session *s = hm_container_of(t, struct mqtt_session, health);
	const struct mqtt_config *c = &s->d->config;
	uint32_t idle_close = s->d->origin->wire->opts.idle_close_ms;

	HM_CHECK(s, MQTT_SESSION_MAGIC);
	switch (s->state) {
	case MQTT_S_GREETING:
		session_close(s, HM_ETIMEDOUT, "%s did not answer CONNECT in %u s", name_of(s),
			      c->connack_timeout_s);
		return;
	case MQTT_S_LEAVING:
		session_close(s, HM_ETIMEDOUT, "%s left publishes unanswered", name_of(s));
		return;
	case MQTT_S_OPEN: break;
	default: return;
	}
	if (!hm_conn_usable(&s->conn))
		return;
	if (s->pings > s->pongs && since_ms(s, s->ping_ns) >= c->ping_timeout_s * UINT64_C(1000)) {
		session_close(s, HM_ETIMEDOUT, "%s did not answer PINGREQ in %u s", name_of(s),
			      c->ping_timeout_s);
		return;
	}
	if (idle_close && hm_list_empty(&s->calls) && since_ms(s, s->used_ns) >= idle_close) {
		mqtt_session_leave(s);
		return;
	}
	if (c->keep_alive_s && s->pings == s->pongs && silent_ms(s) >= c->keep_alive_s * UINT64_C(750))
		ping(s);
	else
		arm_health(s);
}

void mqtt_session_leave(struct mqtt_session *s)
{
	struct hm_buf *out;

	if (s->state == MQTT_S_CLOSING)
		return;
	if (s->state < MQTT_S_OPEN || !hm_conn_usable(&s->conn)) {
		hm_conn_close(&s->conn, NULL);
		return;
	}
	if (!hm_list_empty(&s->calls)) {
		s->state = MQTT_S_LEAVING;
		hm_timer_start(tick_of(s), &s->health, LEAVE_MS);
		return;
	}
	s->state = MQTT_S_LEAVING;
	hm_timer_stop(tick_of(s), &s->health);
	out = hm_conn_out(&s->conn);
	mqtt_put_empty(out, MQTT_DISCONNECT);
	hm_conn_finish(&s->conn);
}

/* -- its end ------------------------------------------------------------------------------------------- */

/* The calls of a dead session, youngest first, because each goes back to the head of the queue. What never reached the kernel cannot
 * have been taken. */
static void orphan(struct mqtt_session *s, const struct hm_err *why)
{
	uint64_t kernel = hm_conn_taken(&s->conn);

	while (!hm_list_empty(&s->calls)) {
		struct hm_call *c = hm_container_of(s->calls.head.prev, struct hm_call, node);
		struct mqtt_message *m = c->driver;

		detach(m);
		HM_MAGIC_CLEAR(m);
		if (c->sent_off >= kernel)
			call_again(c, why->code, why->text);
		else
			call_finish(c, HM_FATE_MAYBE, why->code, "%s", why->text);
	}
}

static void on_close(struct hm_conn *conn, const struct hm_err *conn_why)
{
	struct mqtt_session *s = conn->arg;
	struct mqtt *d = s->d;
	struct hm_wire *w = d->origin->wire;
	struct hm_err why = s->why.code ? s->why : *conn_why;
	enum mqtt_session_state was = s->state;
	bool served;

	HM_CHECK(s, MQTT_SESSION_MAGIC);
	count_bytes(s);
	s->state = MQTT_S_CLOSING;
	hm_list_remove(&d->sessions, &s->node);
	orphan(s, &why);
	hm_assert(s->in_flight == s->orphans);
	hm_timer_stop(w->tick, &s->health);
	/* A broker that only lets us in and hangs up would otherwise be dialled for ever. */
	served = s->answered > 0 || (was >= MQTT_S_OPEN && since_ms(s, s->open_ns) >= SERVED_MS);
	mqtt_session_ended(d, was, served, s->refused, &why);
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
	struct mqtt_session *s = conn->arg;

	count_bytes(s);
	if (s->need_ping && s->pings == s->pongs)
		ping(s);
}

static void on_drain(struct hm_conn *conn)
{
	struct mqtt_session *s = conn->arg;

	origin_pump_later(s->d->origin);
}

static const struct hm_conn_ops ops = {
	.on_open = on_open,
	.on_read = on_read,
	.on_flush = on_flush,
	.on_drain = on_drain,
	.on_close = on_close,
};

int mqtt_session_new(struct mqtt *d, struct hm_err *e)
{
	struct hm_origin *o = d->origin;
	struct hm_wire *w = o->wire;
	struct mqtt_session *s = calloc(1, sizeof(*s));
	struct hm_conn_opts co = {
		.tls = o->opts.tls ? o->tls : NULL,
		.connect_timeout_ms = w->opts.connect_timeout_ms,
		.max_bytes = (size_t)d->config.max_packet + BLOCKED_BYTES + (64u << 20),
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
	for (s->n_slots = 4; s->n_slots < 2 * d->config.window; s->n_slots *= 2)
		;
	s->slots = calloc(s->n_slots, sizeof(*s->slots));
	if (s->slots == NULL) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
	} else {
		HM_MAGIC_SET(s, MQTT_SESSION_MAGIC);
		s->d = d;
		make_client_id(s);
		hm_list_init(&s->calls);
		hm_timer_init(&s->health, on_health);
		hm_buf_init(&s->in, MAX_INCOMING + (64u << 10) + 1);
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
