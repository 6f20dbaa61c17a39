/*
 * pool.c - the sessions of an account: how many, when, and which takes a call
 *
 * More calls than the windows hold: one more session at a time, up to max_connections. An SMSC that is down is tried again with a
 * growing pause; one that refuses the bind much more slowly, because a wrong password does not mend itself and accounts get locked.
 */
#include "smpp/smpp.h"

#include <stdlib.h>

#include "smpp/smpp_int.h"

#define BACKOFF_FIRST_MS 200u
#define BACKOFF_MOST_MS	 30000u
#define REBIND_MOST_MS	 300000u
#define BOUND_ELSE_MS	 60000u /* ESME_RALYBND: an old session of ours may have to time out there */
#define FAIL_FAST_MS	 1000u /* of pause left: more than this, and nobody is kept waiting for the next try */

static const char *const state_names[] = {"connecting", "binding", "bound", "leaving", "closing"};
static const char *const kind_names[] = {"transceiver", "transmitter", "receiver"};

static struct smpp *smpp_of(const struct hm_origin *o)
{
	struct smpp *d = o->driver;

	HM_CHECK(d, SMPP_DRIVER_MAGIC);
	return d;
}

static struct smpp_session *session_at(struct hm_node *n)
{
	struct smpp_session *s = hm_container_of(n, struct smpp_session, node);

	HM_CHECK(s, SMPP_SESSION_MAGIC);
	return s;
}

static enum smpp_kind sending_kind(const struct smpp *d)
{
	return d->config.binds == SMPP_BINDS_TRANSCEIVER ? SMPP_TRANSCEIVER : SMPP_TRANSMITTER;
}

static bool submits(const struct smpp_session *s)
{
	return s->kind != SMPP_RECEIVER && s->state <= SMPP_S_BOUND;
}

uint16_t smpp_ref_next(struct smpp *d, const struct smpp_sm *sm)
{
	uint64_t h = hm_hash64(sm->dest.p, sm->dest.len, hm_hash64(sm->source.p, sm->source.len, 0));

	return d->refs[h % hm_countof(d->refs)]++;
}

/* -- pauses ------------------------------------------------------------------------------------ */

static void pause_for(struct hm_origin *o, uint64_t ms)
{
	/* Between half and all of it, so that many shards do not knock together. */
	uint64_t wait = ms / 2 + wire_random(o->wire) % (ms / 2 + 1);

	o->next_try_ns = o->wire->tick->now_ns + wait * SMPP_NS_PER_MS;
}

static void connect_failed(struct smpp *d, const struct hm_err *why)
{
	struct hm_origin *o = d->origin;
	uint64_t most = (uint64_t)BACKOFF_FIRST_MS << hm_min(o->fails, 16u);

	o->fails++;
	pause_for(o, hm_min(most, (uint64_t)BACKOFF_MOST_MS));
	origin_note(o, why);
	HM_WARN(WIRE, "no session with SMSC", HM_SV("origin", o->name), HM_E(why),
		HM_U("again_in_ms", (o->next_try_ns - o->wire->tick->now_ns) / SMPP_NS_PER_MS));
}

static void bind_refused(struct smpp *d, uint32_t status, const struct hm_err *why)
{
	struct hm_origin *o = d->origin;
	uint64_t ms = ((uint64_t)d->config.rebind_s * 1000) << hm_min(d->refusals, 8u);

	d->refusals++;
	d->refused = status;
	if (status == SMPP_RALYBND)
		ms = hm_max(ms, (uint64_t)BOUND_ELSE_MS);
	pause_for(o, hm_min(ms, (uint64_t)REBIND_MOST_MS));
	origin_note(o, why);
	HM_WARN(WIRE, "SMSC refuses the bind", HM_SV("origin", o->name), HM_E(why),
		HM_U("again_in_ms", (o->next_try_ns - o->wire->tick->now_ns) / SMPP_NS_PER_MS));
}

static bool any_submits(const struct smpp *d)
{
	hm_list_foreach (&d->sessions, n)
		if (submits(session_at(n)))
			return true;
	return false;
}

static void fail_waiting(struct smpp *d)
{
	struct hm_origin *o = d->origin;
	struct hm_call *c;

	if (d->refused == 0) {
		origin_fail_waiting(o, &o->last_err);
		return;
	}
	while ((c = origin_next(o, false)) != NULL)
		smpp_answer_bind(c, d->refused);
}

void smpp_session_is_bound(struct smpp_session *s)
{
	s->d->refused = 0;
	s->d->refusals = 0;
	s->d->origin->next_try_ns = 0;
	origin_pump_later(s->d->origin);
}

void smpp_session_ended(struct smpp *d, enum smpp_session_state was, bool served, uint32_t bind_status,
			const struct hm_err *why)
{
	struct hm_origin *o = d->origin;

	if (d->closing)
		return;
	if (bind_status) {
		bind_refused(d, bind_status, why);
		if (!any_submits(d))
			fail_waiting(d);
	} else if (was < SMPP_S_BOUND) {
		connect_failed(d, why);
		if (!any_submits(d))
			origin_fail_waiting(o, &o->last_err);
	} else if (!served && why->code != HM_ECANCELLED) {
		connect_failed(d, why);
	} else if (why->code != HM_ECANCELLED) {
		o->fails = 0;
		origin_note(o, why);
		HM_INFO(WIRE, "session with SMSC ended", HM_SV("origin", o->name), HM_E(why));
	}
	origin_pump_later(o);
}

/* -- sessions ------------------------------------------------------------------------------------ */

static void add_session(struct smpp *d, enum smpp_kind kind)
{
	struct hm_err e = {0};

	if (smpp_session_new(d, kind, &e) == 0)
		return;
	connect_failed(d, &e);
	if (!any_submits(d))
		origin_fail_waiting(d->origin, &d->origin->last_err);
}

static struct smpp_session *best_session(struct smpp *d, bool urgent)
{
	struct smpp_session *best = NULL;
	uint32_t most = 0;

	hm_list_foreach (&d->sessions, n) {
		struct smpp_session *s = session_at(n);
		uint32_t room = smpp_session_room(s, urgent);

		if (room > most) {
			best = s;
			most = room;
		}
	}
	return best;
}

static void give(struct smpp_session *s, struct hm_call *c)
{
	struct smpp_message *m;
	struct hm_err e = {0};

	if (smpp_message_new(c, &m, &e) < 0)
		call_finish(c, HM_FATE_NOT_SENT, e.code, "%s", e.text);
	else
		smpp_session_take(s, m);
}

/* More calls than room: one more session, when the pause and the limit allow. */
static void grow(struct smpp *d)
{
	struct hm_origin *o = d->origin;
	uint64_t now = o->wire->tick->now_ns;
	uint32_t using = 0, starting = 0;

	hm_list_foreach (&d->sessions, n) {
		const struct smpp_session *s = session_at(n);

		using += submits(s);
		starting += submits(s) && s->state < SMPP_S_BOUND;
	}
	if (starting || using >= o->opts.max_connections ||
	    d->sessions.len >= 4ul * o->opts.max_connections + 1)
		return;
	if (now >= o->next_try_ns)
		add_session(d, sending_kind(d));
	else if (using == 0 && o->next_try_ns - now > FAIL_FAST_MS * SMPP_NS_PER_MS)
		fail_waiting(d); /* better told at once, so that another route can be taken */
}

/* Receipts come whether there is something to send or not. */
static void keep_receiver(struct smpp *d)
{
	enum smpp_kind kind = d->config.binds == SMPP_BINDS_PAIR ? SMPP_RECEIVER : SMPP_TRANSCEIVER;

	if (!d->wanted || d->config.binds == SMPP_BINDS_TRANSMITTER)
		return;
	hm_list_foreach (&d->sessions, n) {
		const struct smpp_session *s = session_at(n);

		if (s->kind == kind && s->state <= SMPP_S_BOUND)
			return;
	}
	if (d->origin->wire->tick->now_ns >= d->origin->next_try_ns)
		add_session(d, kind);
}

static void arm_retry(struct smpp *d)
{
	struct hm_origin *o = d->origin;
	uint64_t now = o->wire->tick->now_ns, wake = UINT64_MAX;

	hm_list_foreach (&d->sessions, n) {
		const struct smpp_session *s = session_at(n);

		if (s->todo || origin_waiting(o) || o->said_full)
			wake = hm_min(wake, smpp_session_wake_ns(s));
	}
	if ((d->wanted || origin_waiting(o)) && o->next_try_ns > now)
		wake = hm_min(wake, o->next_try_ns);
	if (wake != UINT64_MAX)
		hm_timer_start(o->wire->tick, &o->retry, wake > now ? (wake - now) / SMPP_NS_PER_MS + 1 : 1);
}

static void pump(struct hm_origin *o)
{
	struct smpp *d = smpp_of(o);
	struct smpp_session *s;

	if (d->closing)
		return;
	hm_list_foreach (&d->sessions, n)
		smpp_session_push(session_at(n));
	while (!hm_list_empty(&o->urgent) && (s = best_session(d, true)) != NULL)
		give(s, origin_next(o, true));
	while (!hm_list_empty(&o->normal) && (s = best_session(d, false)) != NULL)
		give(s, origin_next(o, false));
	if (origin_waiting(o))
		grow(d);
	keep_receiver(d);
	arm_retry(d);
}

static size_t room(const struct hm_origin *o, bool urgent)
{
	const struct smpp *d = smpp_of(o);
	uint32_t fresh = d->config.window - (urgent ? 0 : origin_reserve(d->config.window)), using = 0;
	size_t n_room = 0;

	hm_list_foreach (&d->sessions, n) {
		const struct smpp_session *s = session_at(n);

		if (!submits(s))
			continue;
		n_room += s->state == SMPP_S_BOUND ? smpp_session_room(s, urgent) : fresh;
		using ++;
	}
	/* A session that could be opened counts too; otherwise nobody would ever ask for the first one. */
	if (using < o->opts.max_connections && (using == 0 || o->wire->tick->now_ns >= o->next_try_ns))
		n_room += (size_t)(o->opts.max_connections - using) * fresh;
	return n_room;
}

static bool drop(struct hm_call *c)
{
	return smpp_session_drop(c->driver);
}

static void wanted(struct hm_origin *o, bool yes)
{
	struct smpp *d = smpp_of(o);

	d->wanted = yes;
	hm_list_foreach (&d->sessions, n) {
		struct smpp_session *s = session_at(n);

		if (!yes && s->in_flight == 0 && s->todo == 0 && s->events == 0)
			smpp_session_leave(s);
	}
	origin_pump_later(o);
}

/* -- life ---------------------------------------------------------------------------------------- */

static int open_account(struct hm_origin *o, struct hm_err *e)
{
	struct smpp *d = hm_arena_zalloc(&o->wire->strings, sizeof(*d));
	uint64_t seed = wire_random(o->wire);
	int rc;

	if (d == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if ((rc = smpp_config_read(&o->opts, &d->config, e)) < 0)
		return rc;
	HM_MAGIC_SET(d, SMPP_DRIVER_MAGIC);
	d->origin = o;
	hm_list_init(&d->sessions);
	hm_list_init(&d->free);
	for (size_t i = 0; i < hm_countof(d->refs); i++)
		d->refs[i] = (uint16_t)hm_hash64(&i, sizeof(i), seed);
	o->driver = d;
	return 0;
}

static void close_account(struct hm_origin *o)
{
	struct smpp *d = smpp_of(o);

	d->closing = true;
	hm_timer_stop(o->wire->tick, &o->retry);
	hm_list_foreach (&d->sessions, n)
		smpp_session_leave(session_at(n));
}

static void fini(struct hm_origin *o)
{
	struct smpp *d = smpp_of(o);

	hm_assert(hm_list_empty(&d->sessions) && d->events == 0);
	smpp_events_free(d);
	HM_MAGIC_CLEAR(d);
	o->driver = NULL;
}

static void describe(const struct hm_origin *o, struct hm_buf *out)
{
	const struct smpp *d = smpp_of(o);
	bool first = true;
	char hex[11];

	hm_buf_printf(out, ",\"failures\":%u,\"bind_refused\":\"%s\",\"receipts\":%llu,\"inbound\":%llu",
		      o->fails, d->refused ? smpp_status_name(d->refused, hex) : "",
		      (unsigned long long)d->n_receipts, (unsigned long long)d->n_inbound);
	hm_buf_printf(out, ",\"events_refused\":%llu,\"events_pending\":%u,\"connections\":[",
		      (unsigned long long)d->n_refused_events, d->events);
	hm_list_foreach (&d->sessions, n) {
		const struct smpp_session *s = session_at(n);

		hm_buf_printf(out, "%s{\"state\":\"%s\",\"bind\":\"%s\",\"peer\":\"", first ? "" : ",",
			      state_names[s->state], kind_names[s->kind]);
		hm_buf_json(out, hm_str_c(hm_conn_peer(&s->conn)));
		hm_buf_printf(out,
			      "\",\"tls\":\"%s\",\"window\":%u,\"in_flight\":%u,\"parts_waiting\":%u,\"parts_"
			      "sent\":%llu,"
			      "\"answered\":%llu,\"unsent_bytes\":%zu}",
			      s->state >= SMPP_S_BINDING ? hm_conn_tls_version(&s->conn) : "", s->window,
			      s->in_flight, s->todo, (unsigned long long)s->submitted,
			      (unsigned long long)s->answered, hm_conn_pending(&s->conn));
		first = false;
	}
	hm_buf_putc(out, ']');
}

const struct hm_driver_ops hm_smpp_driver = {
	.protocol = HM_PROTO_SMPP,
	.open = open_account,
	.pump = pump,
	.room = room,
	.drop = drop,
	.close = close_account,
	.fini = fini,
	.describe = describe,
	.wanted = wanted,
};
