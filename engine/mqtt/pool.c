/*
 * pool.c - the sessions of an account: how many, when, and which takes a call
 *
 * More calls than the windows hold: one more session at a time, up to max_connections. A broker that is down is tried again with a
 * growing pause; one that lets nobody in much more slowly, because a wrong password does not mend itself.
 */
#include "mqtt/mqtt_int.h"

#define BACKOFF_FIRST_MS    200u
#define BACKOFF_MOST_MS	    30000u
#define REFUSED_MOST_MS	    300000u
#define FAIL_FAST_MS	    1000u /* of pause left: more than this, and nobody is kept waiting for the next try */
#define CONNACK_UNAVAILABLE 3u /* not our fault: tried again like a broker that is down */

static const char *const state_names[] = {"connecting", "greeting", "open", "leaving", "closing"};

static struct mqtt *mqtt_of(const struct hm_origin *o)
{
	struct mqtt *d = o->driver;

	HM_CHECK(d, MQTT_DRIVER_MAGIC);
	return d;
}

static struct mqtt_session *session_at(struct hm_node *n)
{
	struct mqtt_session *s = hm_container_of(n, struct mqtt_session, node);

	HM_CHECK(s, MQTT_SESSION_MAGIC);
	return s;
}

static bool publishes(const struct mqtt_session *s)
{
	return s->state <= MQTT_S_OPEN;
}

static bool any_publishes(const struct mqtt *d)
{
	hm_list_foreach (&d->sessions, n)
		if (publishes(session_at(n)))
			return true;
	return false;
}

/* -- pauses ------------------------------------------------------------------------------------ */

static void pause_for(struct mqtt *d, uint64_t ms, const char *what, const struct hm_err *why)
{
	struct hm_origin *o = d->origin;
	/* Between half and all of it, so that many shards do not knock together. */
	uint64_t wait = ms / 2 + wire_random(o->wire) % (ms / 2 + 1);

	o->next_try_ns = o->wire->tick->now_ns + wait * MQTT_NS_PER_MS;
	origin_note(o, why);
	HM_WARN(WIRE, what, HM_SV("origin", o->name), HM_E(why), HM_U("again_in_ms", wait));
}

static void connect_failed(struct mqtt *d, const struct hm_err *why)
{
	uint64_t ms = (uint64_t)BACKOFF_FIRST_MS << hm_min(d->origin->fails, 16u);

	d->origin->fails++;
	pause_for(d, hm_min(ms, (uint64_t)BACKOFF_MOST_MS), "no session with broker", why);
}

static void connect_refused(struct mqtt *d, unsigned code, const struct hm_err *why)
{
	uint64_t ms = ((uint64_t)d->config.reconnect_s * 1000) << hm_min(d->refusals, 8u);

	d->refused = code;
	if (code == CONNACK_UNAVAILABLE) {
		connect_failed(d, why);
		return;
	}
	d->refusals++;
	pause_for(d, hm_min(ms, (uint64_t)REFUSED_MOST_MS), "broker refuses the connection", why);
}

static void fail_waiting(struct mqtt *d)
{
	struct hm_origin *o = d->origin;
	struct hm_call *c;

	if (d->refused == 0) {
		origin_fail_waiting(o, &o->last_err);
		return;
	}
	while ((c = origin_next(o, false)) != NULL)
		mqtt_answer_refused(c, d->refused);
}

void mqtt_session_is_open(struct mqtt_session *s)
{
	s->d->refused = 0;
	s->d->refusals = 0;
	s->d->origin->next_try_ns = 0;
	origin_pump_later(s->d->origin);
}

void mqtt_session_ended(struct mqtt *d, enum mqtt_session_state was, bool served, unsigned refused,
			const struct hm_err *why)
{
	struct hm_origin *o = d->origin;
	bool meant = why->code == HM_ECANCELLED; /* we left */

	if (d->closing)
		return;
	if (refused) {
		connect_refused(d, refused, why);
		if (!any_publishes(d))
			fail_waiting(d);
	} else if (was < MQTT_S_OPEN) {
		d->refused = 0;
		connect_failed(d, why);
		if (!any_publishes(d))
			fail_waiting(d);
	} else if (!served && !meant) {
		connect_failed(d, why);
	} else if (!meant) {
		o->fails = 0;
		origin_note(o, why);
		HM_INFO(WIRE, "session with broker ended", HM_SV("origin", o->name), HM_E(why));
	}
	origin_pump_later(o);
}

/* -- sessions ------------------------------------------------------------------------------------ */

static void add_session(struct mqtt *d)
{
	struct hm_err e = {0};

	if (mqtt_session_new(d, &e) == 0)
		return;
	d->refused = 0;
	connect_failed(d, &e);
	if (!any_publishes(d))
		fail_waiting(d);
}

static struct mqtt_session *best_session(struct mqtt *d, bool urgent)
{
	struct mqtt_session *best = NULL;
	uint32_t most = 0;

	hm_list_foreach (&d->sessions, n) {
		struct mqtt_session *s = session_at(n);
		uint32_t room = mqtt_session_room(s, urgent);

		if (room > most) {
			best = s;
			most = room;
		}
	}
	return best;
}

static void give(struct mqtt_session *s, struct hm_call *c)
{
	struct mqtt_message *m;
	struct hm_err e = {0};

	if (mqtt_message_new(c, &s->d->config, &m, &e) < 0)
		call_finish(c, HM_FATE_NOT_SENT, e.code, "%s", e.text);
	else
		mqtt_session_take(s, m);
}

/* More calls than room: one more session, when the pause and the limit allow. */
static void grow(struct mqtt *d)
{
	struct hm_origin *o = d->origin;
	uint64_t now = o->wire->tick->now_ns;
	uint32_t using = 0, starting = 0;

	hm_list_foreach (&d->sessions, n) {
		const struct mqtt_session *s = session_at(n);

		using += publishes(s);
		starting += s->state < MQTT_S_OPEN;
	}
	if (starting || using >= o->opts.max_connections || d->sessions.len >= 4ul * o->opts.max_connections)
		return;
	if (now >= o->next_try_ns)
		add_session(d);
	else if (using == 0 && o->next_try_ns - now > FAIL_FAST_MS * MQTT_NS_PER_MS)
		fail_waiting(d); /* better told at once, so that another route can be taken */
}

static void pump(struct hm_origin *o)
{
	struct mqtt *d = mqtt_of(o);
	uint64_t now = o->wire->tick->now_ns;
	struct mqtt_session *s;

	if (d->closing)
		return;
	while (!hm_list_empty(&o->urgent) && (s = best_session(d, true)) != NULL)
		give(s, origin_next(o, true));
	while (!hm_list_empty(&o->normal) && (s = best_session(d, false)) != NULL)
		give(s, origin_next(o, false));
	if (origin_waiting(o))
		grow(d);
	if (origin_waiting(o) && o->next_try_ns > now)
		hm_timer_start(o->wire->tick, &o->retry, (o->next_try_ns - now) / MQTT_NS_PER_MS + 1);
}

static size_t room(const struct hm_origin *o, bool urgent)
{
	const struct mqtt *d = mqtt_of(o);
	uint32_t fresh = d->config.window - (urgent ? 0 : origin_reserve(d->config.window)), using = 0;
	size_t n_room = 0;

	hm_list_foreach (&d->sessions, n) {
		const struct mqtt_session *s = session_at(n);

		if (!publishes(s))
			continue;
		n_room += s->state == MQTT_S_OPEN ? mqtt_session_room(s, urgent) : fresh;
		using ++;
	}
	/* A session that could be opened counts too; otherwise nobody would ever ask for the first one. */
	if (using < o->opts.max_connections && (using == 0 || o->wire->tick->now_ns >= o->next_try_ns))
		n_room += (size_t)(o->opts.max_connections - using) * fresh;
	return n_room;
}

/* Its bytes stand in the connection's output at least, and cannot be taken back. */
static bool drop(struct hm_call *c)
{
	mqtt_session_drop(c->driver);
	return true;
}

/* -- life ---------------------------------------------------------------------------------------- */

static int open_account(struct hm_origin *o, struct hm_err *e)
{
	struct mqtt *d = hm_arena_zalloc(&o->wire->strings, sizeof(*d));
	int rc;

	if (d == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if ((rc = mqtt_config_read(&o->opts, &d->config, e)) < 0)
		return rc;
	HM_MAGIC_SET(d, MQTT_DRIVER_MAGIC);
	d->origin = o;
	hm_list_init(&d->sessions);
	o->driver = d;
	return 0;
}

static void close_account(struct hm_origin *o)
{
	struct mqtt *d = mqtt_of(o);

	d->closing = true;
	hm_timer_stop(o->wire->tick, &o->retry);
	hm_list_foreach (&d->sessions, n)
		mqtt_session_leave(session_at(n));
}

static void fini(struct hm_origin *o)
{
	struct mqtt *d = mqtt_of(o);

	hm_assert(hm_list_empty(&d->sessions));
	HM_MAGIC_CLEAR(d);
	o->driver = NULL;
}

static void describe(const struct hm_origin *o, struct hm_buf *out)
{
	const struct mqtt *d = mqtt_of(o);
	bool first = true;
	char hex[5];

	hm_buf_printf(out, ",\"failures\":%u,\"refused\":\"%s\",\"connections\":[", o->fails,
		      d->refused ? mqtt_connack_name(d->refused, hex) : "");
	hm_list_foreach (&d->sessions, n) {
		const struct mqtt_session *s = session_at(n);

		hm_buf_printf(out, "%s{\"state\":\"%s\",\"client_id\":\"", first ? "" : ",",
			      state_names[s->state]);
		hm_buf_json(out, hm_str_c(s->client_id));
		hm_buf_lit(out, "\",\"peer\":\"");
		hm_buf_json(out, hm_str_c(hm_conn_peer(&s->conn)));
		hm_buf_printf(
			out,
			"\",\"tls\":\"%s\",\"window\":%u,\"in_flight\":%u,\"given_up\":%u,\"published\":%llu,"
			"\"answered\":%llu,\"unsent_bytes\":%zu}",
			s->state >= MQTT_S_GREETING ? hm_conn_tls_version(&s->conn) : "", d->config.window,
			s->in_flight, s->orphans, (unsigned long long)s->published,
			(unsigned long long)s->answered, hm_conn_pending(&s->conn));
		first = false;
	}
	hm_buf_putc(out, ']');
}

const struct hm_driver_ops hm_mqtt_driver = {
	.protocol = HM_PROTO_MQTT,
	.open = open_account,
	.pump = pump,
	.room = room,
	.drop = drop,
	.close = close_account,
	.fini = fini,
	.describe = describe,
};
