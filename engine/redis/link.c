/*
 * link.c - a connection's life: dial, handshake, pipeline, loss, again
 *
 * link_goto() is the only place that sets the state. Commands leave the lists in
 * three places only: reply_up() (answered), give_back() (lost) and expire_queue()
 * (never sent, too late). give_back() runs from on_close, so between a break and
 * the loop's next pass the lists stand still and iterating over them is safe even
 * when a caller's callback sends, breaks or closes.
 */
#include "redis/link.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

#define NS_PER_MS	1000000u
#define FEED_SLICE	(16u << 10) /* hiredis moves what it has not parsed yet after every answer */
#define LINES_RETRY_MAX 6	    /* 50 ms << 6 is beyond HM_LINK_RETRY_MAX_MS */

enum step { STEP_HELLO, STEP_SELECT, STEP_PING, STEP_DONE };

static void on_timer(struct hm_timer *t);
static void on_flush(struct hm_flush *f);
static void dial(struct hm_link *l);

static void link_goto(struct hm_link *l, enum hm_link_state s)
{
	static const char *const names[] = {"idle", "waiting", "connecting", "handshake", "up", "closing"};

	HM_TRACE(REDIS, "link state", HM_S("addr", l->name), HM_S("from", names[l->state]),
		 HM_S("to", names[s]));
	hm_timer_stop(l->o->tick, &l->timer);
	l->timer_due_ns = HM_CMD_NO_LIMIT;
	l->state = s;
}

void hm_link_init(struct hm_link *l, const struct hm_link_opts *o, const struct hm_link_ops *ops, void *arg)
{
	memset(l, 0, sizeof(*l));
	HM_MAGIC_SET(l, HM_LINK_MAGIC);
	l->o = o;
	l->ops = ops;
	l->arg = arg;
	l->timer_due_ns = HM_CMD_NO_LIMIT;
	hm_list_init(&l->queue);
	hm_list_init(&l->pending);
	hm_flush_init(&l->flush, on_flush);
	hm_timer_init(&l->timer, on_timer);
}

void hm_link_set_tcp(struct hm_link *l, const struct hm_redis_addr *a)
{
	bool v6 = strchr(a->host, ':') != NULL;

	l->addr = *a;
	l->unix_path[0] = '\0';
	snprintf(l->name, sizeof(l->name), v6 ? "[%s]:%u" : "%s:%u", a->host, a->port);
}

void hm_link_set_unix(struct hm_link *l, const char *path)
{
	snprintf(l->unix_path, sizeof(l->unix_path), "%s", path);
	snprintf(l->name, sizeof(l->name), "%s", path);
}

/* -- time ---------------------------------------------------------------- */

static void arm_at(struct hm_link *l, uint64_t due_ns)
{
	uint64_t now = l->o->tick->now_ns;

	l->timer_due_ns = due_ns;
	if (due_ns == HM_CMD_NO_LIMIT)
		hm_timer_stop(l->o->tick, &l->timer);
	else
		hm_timer_start(l->o->tick, &l->timer,
			       due_ns > now ? (due_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0);
}

static void arm_in(struct hm_link *l, uint64_t ms)
{
	arm_at(l, l->o->tick->now_ns + ms * NS_PER_MS);
}

/* 50 ms doubling to 3 s; the upper half of each step is random, so that the
 * shards of a fleet do not come back together. */
static uint64_t retry_delay(const struct hm_link *l)
{
	uint64_t ms = (uint64_t)HM_LINK_RETRY_MIN_MS << hm_min(l->failures, (uint32_t)LINES_RETRY_MAX);
	uint64_t seed[2] = {hm_clock_mono_ns(), (uint64_t)(uintptr_t)l};

	ms = hm_max(hm_min(ms, (uint64_t)HM_LINK_RETRY_MAX_MS), (uint64_t)l->retry_floor_ms);
	return ms / 2 + hm_hash64(seed, sizeof(seed), 0) % (ms / 2 + 1);
}

static void schedule_attempt(struct hm_link *l, uint64_t delay_ms)
{
	link_goto(l, HM_LINK_WAITING);
	arm_in(l, delay_ms);
}

/* -- end of a connection ------------------------------------------------- */

static void give_back(struct hm_link *l, const struct hm_err *why)
{
	struct hm_list sent, unsent;
	struct hm_node *n;

	hm_list_init(&sent);
	hm_list_init(&unsent);
	/* What the connection had not begun to write has not left this process. */
	while ((n = hm_list_pop(&l->pending)) != NULL) {
		bool out = hm_container_of(n, struct hm_cmd, node)->at < hm_conn_taken(&l->conn);

		hm_list_push(out ? &sent : &unsent, n);
	}
	if (l->head_off > 0) /* its first bytes are out */
		hm_list_push(&sent, hm_list_pop(&l->queue));
	l->head_off = 0;
	hm_list_splice(&unsent, &l->queue);
	while ((n = hm_list_pop(&sent)) != NULL)
		l->ops->on_lost(l, hm_container_of(n, struct hm_cmd, node), true, why);
	while ((n = hm_list_pop(&unsent)) != NULL)
		l->ops->on_lost(l, hm_container_of(n, struct hm_cmd, node), false, why);
}

/* The connection is gone, or an attempt did not even begin. */
static void attempt_ended(struct hm_link *l, const struct hm_err *why)
{
	bool was_up = l->failures == 0 && l->ups > 0;

	link_goto(l, HM_LINK_IDLE);
	hm_flush_cancel(l->o->tick, &l->flush);
	l->draining = false;
	if (l->closed || !l->wanted) {
		give_back(l, why);
	} else {
		l->why = *why;
		if (was_up)
			HM_WARN(REDIS, "connection lost", HM_S("addr", l->name), HM_E(why));
		else if (l->failures == 0)
			HM_WARN(REDIS, "connection failed", HM_S("addr", l->name), HM_E(why));
		else
			HM_DEBUG(REDIS, "connection failed", HM_S("addr", l->name), HM_E(why));
		l->ops->on_down(l, why);
		give_back(l, why);
	}
	if (l->closed || !l->wanted) {
		if (l->reader_open)
			hm_reader_fini(&l->reader);
		l->reader_open = false;
	}
	if (l->closed) {
		link_goto(l, HM_LINK_IDLE); /* a caller may have closed it just now */
		HM_MAGIC_CLEAR(l);
		l->ops->on_closed(l); /* l may be gone */
		return;
	}
	if (l->wanted && l->state == HM_LINK_IDLE) {
		schedule_attempt(l, retry_delay(l));
		l->failures++;
	}
}

static void on_conn_close(struct hm_conn *conn, const struct hm_err *why)
{
	struct hm_link *l = conn->arg;
	struct hm_err e = *why;

	HM_CHECK(l, HM_LINK_MAGIC);
	attempt_ended(l, &e);
}

void hm_link_break(struct hm_link *l, const struct hm_err *why)
{
	HM_CHECK(l, HM_LINK_MAGIC);
	switch (l->state) {
	case HM_LINK_CONNECTING:
	case HM_LINK_HANDSHAKE:
	case HM_LINK_UP:
		link_goto(l, HM_LINK_CLOSING);
		hm_conn_close(&l->conn, why);
		break;
	case HM_LINK_IDLE:
	case HM_LINK_WAITING:
	case HM_LINK_CLOSING: break;
	}
}

void hm_link_drain(struct hm_link *l, const struct hm_err *why)
{
	HM_CHECK(l, HM_LINK_MAGIC);
	if (l->state != HM_LINK_UP || l->draining)
		return;
	l->draining = true;
	l->why = *why;
	if (hm_link_load(l) == 0)
		hm_link_break(l, why);
}

void hm_link_start(struct hm_link *l)
{
	HM_CHECK(l, HM_LINK_MAGIC);
	if (l->wanted || l->closed)
		return;
	l->wanted = true;
	l->failures = 0;
	if (l->state == HM_LINK_IDLE)
		schedule_attempt(l, 0);
}

void hm_link_stop(struct hm_link *l)
{
	struct hm_err e = {0};

	HM_CHECK(l, HM_LINK_MAGIC);
	if (!l->wanted)
		return;
	l->wanted = false;
	l->ups = 0;
	if (l->state == HM_LINK_WAITING) /* nothing open, no commands */
		link_goto(l, HM_LINK_IDLE);
	hm_err_set(&e, HM_ECANCELLED, "%s: no longer needed", l->name);
	hm_link_break(l, &e);
}

void hm_link_close(struct hm_link *l)
{
	struct hm_err e = {0};

	HM_CHECK(l, HM_LINK_MAGIC);
	if (l->closed)
		return;
	l->closed = true;
	l->wanted = false;
	hm_err_set(&e, HM_ECLOSED, "the Redis client is closed");
	hm_link_break(l, &e);
	if (l->state == HM_LINK_IDLE || l->state == HM_LINK_WAITING) {
		link_goto(l, HM_LINK_CLOSING);
		arm_in(l, 0); /* on_closed never comes from inside this call */
	}
}

/* -- handshake ----------------------------------------------------------- */

static void put_str(struct hm_buf *b, struct hm_str s)
{
	hm_buf_printf(b, "$%zu\r\n", s.len);
	hm_buf_puts(b, s);
	hm_buf_lit(b, "\r\n");
}

static void send_handshake(struct hm_link *l)
{
	const struct hm_link_opts *o = l->o;
	struct hm_buf *b = hm_conn_out(&l->conn);
	bool auth = o->password.len > 0 || o->username.len > 0, named = o->client_name.len > 0;
	char db[16];

	hm_buf_printf(b, "*%d\r\n$5\r\nHELLO\r\n$1\r\n2\r\n", 2 + (auth ? 3 : 0) + (named ? 2 : 0));
	if (auth) {
		put_str(b, HM_STR("AUTH"));
		put_str(b, o->username.len ? o->username : HM_STR("default"));
		put_str(b, o->password);
	}
	if (named) {
		put_str(b, HM_STR("SETNAME"));
		put_str(b, o->client_name);
	}
	if (o->db > 0) {
		snprintf(db, sizeof(db), "%u", o->db);
		hm_buf_lit(b, "*2\r\n$6\r\nSELECT\r\n");
		put_str(b, hm_str_c(db));
	}
	hm_buf_lit(b, "*1\r\n$4\r\nPING\r\n");
	l->step = STEP_HELLO;
}

static struct hm_str hello_field(const struct hm_reply *r, const char *name)
{
	for (size_t i = 0; r->type == HM_REPLY_ARRAY && i + 1 < r->n; i += 2)
		if (hm_str_is(r->v[i].s, name))
			return r->v[i + 1].s;
	return HM_STR_NULL;
}

static bool too_old(struct hm_str version)
{
	struct hm_str rest = version, part;
	uint64_t major, minor;

	if (!hm_str_split(&rest, '.', &part) || !hm_str_u64(part, &major))
		return false; /* not Redis' numbering: let it show what it can do */
	if (!hm_str_split(&rest, '.', &part) || !hm_str_u64(part, &minor))
		return false;
	return major < 6 || (major == 6 && minor < 2);
}

static int check_hello(struct hm_link *l, const struct hm_reply *r, struct hm_err *e)
{
	struct hm_str mode = hello_field(r, "mode"), role = hello_field(r, "role"),
		      version = hello_field(r, "version");

	if (r->type != HM_REPLY_ARRAY)
		return hm_err_set(e, HM_EPROTO, "%s does not speak as a Redis server does", l->name);
	if (too_old(version))
		return hm_err_set(e, HM_ECONFIG, "%s runs Redis %.*s; 6.2 or newer is needed", l->name,
				  HM_STRF(version));
	if (hm_str_is(mode, "sentinel"))
		return hm_err_set(e, HM_ECONFIG, "%s is a Sentinel, not a Redis server with data", l->name);
	if (l->o->cluster && !hm_str_is(mode, "cluster"))
		return hm_err_set(e, HM_ECONFIG,
				  "%s is not part of a cluster: write redis:// or rediss:// in the url",
				  l->name);
	if (!l->o->cluster && hm_str_is(mode, "cluster"))
		return hm_err_set(
			e, HM_ECONFIG,
			"%s is part of a cluster: write redis+cluster:// or rediss+cluster:// in the url",
			l->name);
	if (l->need_master && !hm_str_is(role, "master") && role.len > 0)
		return hm_err_set(e, HM_EDOWN, "%s is a read-only replica, a master is needed", l->name);
	return 0;
}

/* What an error answer during the handshake means for the one who configured it. */
static int handshake_error(struct hm_link *l, struct hm_str text, struct hm_err *e)
{
	const struct hm_link_opts *o = l->o;

	if (hm_str_starts(text, HM_STR("WRONGPASS")) || hm_str_starts(text, HM_STR("ERR invalid password")))
		return hm_err_set(e, HM_EAUTH,
				  "%s refused user '%.*s': wrong password, no such user, or user disabled",
				  l->name, HM_STRF(o->username.len ? o->username : HM_STR("default")));
	if (hm_str_starts(text, HM_STR("NOAUTH")))
		return hm_err_set(e, HM_EAUTH, "%s wants a password and none is configured", l->name);
	if (hm_str_starts(text, HM_STR("ERR AUTH <password> called without any password")))
		return hm_err_set(e, HM_EAUTH, "%s has no password set, but one is configured", l->name);
	if (hm_str_starts(text, HM_STR("NOPERM")))
		return hm_err_set(e, HM_EAUTH, "%s: %.*s", l->name, HM_STRF(text));
	if (hm_str_starts(text, HM_STR("LOADING")))
		return hm_err_set(e, HM_EDOWN, "%s is loading its data set", l->name);
	if (hm_str_starts(text, HM_STR("MASTERDOWN")))
		return hm_err_set(e, HM_EDOWN, "%s is a replica that has lost its master", l->name);
	if (l->step == STEP_HELLO && hm_str_starts(text, HM_STR("ERR unknown command")))
		return hm_err_set(e, HM_ECONFIG, "%s does not know HELLO; Redis 6.2 or newer is needed",
				  l->name);
	if (l->step == STEP_SELECT)
		return hm_err_set(e, HM_ECONFIG, "%s: cannot use database %u: %.*s", l->name, o->db,
				  HM_STRF(text));
	return hm_err_set(e, HM_EDOWN, "%s: %.*s", l->name, HM_STRF(text));
}

static void handshake_done(struct hm_link *l)
{
	link_goto(l, HM_LINK_UP);
	hm_err_clear(&l->why);
	l->failures = 0;
	l->retry_floor_ms = 0;
	l->last_rx_ns = l->o->tick->now_ns;
	if (l->ups++ > 0)
		hm_stats_inc(l->o->tick->stats, HM_CT_REDIS_RECONNECTS);
	HM_DEBUG(REDIS, "connected", HM_S("addr", l->name));
	l->ops->on_up(l);
}

static void reply_handshake(struct hm_link *l, const struct hm_reply *r)
{
	struct hm_err e = {0};
	int rc = 0;

	if (r->type == HM_REPLY_ERROR)
		rc = handshake_error(l, r->s, &e);
	else if (l->step == STEP_HELLO)
		rc = check_hello(l, r, &e);
	if (rc == 0) {
		l->step++;
		if (l->step == STEP_SELECT && l->o->db == 0)
			l->step++;
		if (l->step == STEP_DONE)
			handshake_done(l);
		return;
	}
	if (rc == HM_EAUTH || rc == HM_ECONFIG)
		l->retry_floor_ms = HM_LINK_RETRY_MAX_MS; /* will not heal by itself soon */
	else if (hm_str_starts(r->s, HM_STR("LOADING")))
		l->failures = 1; /* it is there: ask again soon */
	hm_link_break(l, &e);
}

/* -- answers ------------------------------------------------------------- */

static void reply_up(struct hm_link *l, const struct hm_reply *r)
{
	struct hm_node *n = hm_list_first(&l->pending);
	struct hm_err e = {0};
	struct hm_cmd *c;

	if (n == NULL) {
		if (r->type == HM_REPLY_ERROR) /* said before it hangs up */
			hm_err_set(&e, HM_EDOWN, "%s: %.*s", l->name, HM_STRF(r->s));
		else
			hm_err_set(&e, HM_EPROTO, "%s answered what nobody asked", l->name);
		hm_link_break(l, &e);
		return;
	}
	c = hm_container_of(n, struct hm_cmd, node);
	HM_CHECK(c, HM_CMD_MAGIC);
	if (c->skip > 0) {
		c->skip--;
		return;
	}
	hm_list_remove(&l->pending, n);
	l->ops->on_reply(l, c, r);
	if (l->draining && hm_link_load(l) == 0) {
		e = l->why;
		hm_link_break(l, &e);
	}
}

static bool reading(const struct hm_link *l)
{
	return l->state == HM_LINK_HANDSHAKE || l->state == HM_LINK_UP;
}

/* False when the connection was given up. */
static bool take_replies(struct hm_link *l)
{
	const struct hm_reply *r;
	struct hm_err e = {0};
	int rc;

	while (reading(l) && (rc = hm_reader_next(&l->reader, &r, &e)) != 0) {
		if (rc < 0) {
			hm_err_wrap(&e, "%s", l->name);
			hm_link_break(l, &e);
			return false;
		}
		if (l->state == HM_LINK_HANDSHAKE)
			reply_handshake(l, r);
		else
			reply_up(l, r);
	}
	return reading(l);
}

static void on_conn_read(struct hm_conn *conn, const uint8_t *p, size_t n)
{
	struct hm_link *l = conn->arg;
	struct hm_err e = {0};
	size_t slice = FEED_SLICE;

	HM_CHECK(l, HM_LINK_MAGIC);
	if (!reading(l))
		return;
	l->last_rx_ns = l->o->tick->now_ns;
	switch (hm_fault(HM_FAULT_redis_read)) {
	case HM_FAULT_FAIL:
		hm_err_set(&e, HM_EIO, "%s: fault redis_read", l->name);
		hm_link_break(l, &e);
		return;
	case HM_FAULT_SHORT: slice = 1; break;
	case HM_FAULT_NONE: break;
	}
	while (n > 0) {
		size_t now = hm_min(n, slice);

		if (hm_reader_feed(&l->reader, p, now, &e) < 0) {
			hm_err_wrap(&e, "%s", l->name);
			hm_link_break(l, &e);
			return;
		}
		if (!take_replies(l))
			return;
		p += now;
		n -= now;
	}
}

/* -- commands ------------------------------------------------------------ */

void hm_link_send(struct hm_link *l, struct hm_cmd *c)
{
	HM_CHECK(l, HM_LINK_MAGIC);
	HM_CHECK(c, HM_CMD_MAGIC);
	hm_assert(hm_link_up(l) && c->len > 0);
	hm_list_push(&l->queue, &c->node);
	if (c->deadline_ns < l->timer_due_ns)
		arm_at(l, c->deadline_ns);
	hm_flush_later(l->o->tick, &l->flush);
}

/* One byte of the first command. False when it has more. */
static bool hand_over_byte(struct hm_link *l, struct hm_cmd *c)
{
	if (l->head_off == 0)
		c->at = hm_conn_taken(&l->conn) + hm_conn_out(&l->conn)->len;
	hm_conn_write(&l->conn, c->p + l->head_off, 1);
	if (++l->head_off < c->len)
		return false;
	l->head_off = 0;
	return true;
}

static void hand_over(struct hm_link *l, struct hm_buf *out, struct hm_cmd *c)
{
	c->at = hm_conn_taken(&l->conn) + out->len;
	if (c->skip > 0)
		hm_buf_lit(out, "*1\r\n$6\r\nASKING\r\n");
	hm_buf_put(out, c->p + l->head_off, c->len - l->head_off);
	l->head_off = 0;
}

static void on_flush(struct hm_flush *f)
{
	struct hm_link *l = hm_container_of(f, struct hm_link, flush);
	enum hm_fault_action fault;
	struct hm_buf *out;
	struct hm_node *n;
	uint64_t count = 0;

	HM_CHECK(l, HM_LINK_MAGIC);
	if (l->state != HM_LINK_UP || hm_list_empty(&l->queue) ||
	    hm_conn_pending(&l->conn) > HM_LINK_HIGH_BYTES)
		return; /* the last: on_conn_flush calls again */
	fault = hm_fault(HM_FAULT_redis_write);
	if (fault == HM_FAULT_FAIL) {
		struct hm_err e = {0};

		hm_err_set(&e, HM_EIO, "%s: fault redis_write", l->name);
		hm_link_break(l, &e);
		return;
	}
	out = hm_conn_out(&l->conn);
	while ((n = hm_list_first(&l->queue)) != NULL && hm_conn_pending(&l->conn) <= HM_LINK_HIGH_BYTES) {
		struct hm_cmd *c = hm_container_of(n, struct hm_cmd, node);

		if (fault == HM_FAULT_SHORT && c->skip == 0) {
			if (!hand_over_byte(l, c))
				break;
		} else {
			hand_over(l, out, c);
		}
		hm_list_remove(&l->queue, n);
		hm_list_push(&l->pending, n);
		count++;
		if (fault == HM_FAULT_SHORT)
			break;
	}
	hm_stats_add(l->o->tick->stats, HM_CT_REDIS_COMMANDS, count);
	/* Behind the connection's own flush, which may empty it. */
	if (!hm_list_empty(&l->queue))
		hm_flush_later(l->o->tick, &l->flush);
}

/* Comes before everything the connection writes: what is still queued gets its turn after that. A drain
 * callback would not do, as it comes only when a write left more than the mark. */
static void on_conn_flush(struct hm_conn *conn)
{
	struct hm_link *l = conn->arg;

	HM_CHECK(l, HM_LINK_MAGIC);
	if (!hm_list_empty(&l->queue))
		hm_flush_later(l->o->tick, &l->flush);
}

/* -- deadlines ----------------------------------------------------------- */

static void tell(struct hm_cmd *c, const struct hm_err *e)
{
	hm_reply_fn fn = c->fn;

	c->fn = NULL;
	if (fn)
		fn(c->arg, NULL, e);
}

/* Sent and not answered in time: its caller is told, its place is kept. Returns whether there was one. */
static bool expire_pending(struct hm_link *l, uint64_t now, uint64_t *next_r)
{
	struct hm_err e = {0};
	bool any = false;

	hm_err_set(&e, HM_ETIMEDOUT, "%s did not answer in time; the effect of the command is unknown",
		   l->name);
	hm_list_foreach (&l->pending, n) {
		struct hm_cmd *c = hm_container_of(n, struct hm_cmd, node);

		if (c->deadline_ns > now) {
			*next_r = hm_min(*next_r, c->deadline_ns);
			continue;
		}
		any = true;
		c->deadline_ns = HM_CMD_NO_LIMIT;
		tell(c, &e);
		if (l->state != HM_LINK_UP)
			break;
	}
	return any;
}

/* Never left this process: certainly not executed. */
static void expire_queue(struct hm_link *l, uint64_t now, uint64_t *next_r)
{
	struct hm_list late;
	struct hm_err e = {0};
	struct hm_node *late_n;

	hm_list_init(&late);
	hm_err_set(&e, HM_EDOWN, "%s took no commands within the time limit", l->name);
	hm_list_foreach_safe (&l->queue, n, tmp) {
		struct hm_cmd *c = hm_container_of(n, struct hm_cmd, node);

		if (c->deadline_ns > now) {
			*next_r = hm_min(*next_r, c->deadline_ns);
		} else if (n != hm_list_first(&l->queue) || l->head_off == 0) {
			hm_list_remove(&l->queue, n);
			hm_list_push(&late, n);
		}
	}
	while ((late_n = hm_list_pop(&late)) != NULL)
		l->ops->on_lost(l, hm_container_of(late_n, struct hm_cmd, node), false, &e);
}

static void expire(struct hm_link *l)
{
	uint64_t now = l->o->tick->now_ns, next = HM_CMD_NO_LIMIT;
	uint64_t limit_ns = (uint64_t)l->o->command_timeout_ms * NS_PER_MS;
	struct hm_err e = {0};
	bool late = expire_pending(l, now, &next);

	if (l->state != HM_LINK_UP)
		return;
	expire_queue(l, now, &next);
	if (l->state != HM_LINK_UP)
		return;
	if (late && (l->line || now - l->last_rx_ns >= limit_ns)) {
		hm_err_set(&e, HM_ETIMEDOUT, "%s does not answer any more", l->name);
		hm_link_break(l, &e);
		return;
	}
	arm_at(l, next);
}

static void on_timer(struct hm_timer *t)
{
	struct hm_link *l = hm_container_of(t, struct hm_link, timer);
	struct hm_err e = {0};

	HM_CHECK(l, HM_LINK_MAGIC);
	switch (l->state) {
	case HM_LINK_WAITING: dial(l); break;
	case HM_LINK_HANDSHAKE:
		hm_err_set(&e, HM_ETIMEDOUT, "%s accepted the connection but does not answer", l->name);
		hm_link_break(l, &e);
		break;
	case HM_LINK_UP: expire(l); break;
	case HM_LINK_CLOSING: /* closed while nothing was open */
		hm_err_set(&e, HM_ECLOSED, "the Redis client is closed");
		attempt_ended(l, &e);
		break;
	case HM_LINK_IDLE:
	case HM_LINK_CONNECTING: break;
	}
}

/* -- beginning of a connection ------------------------------------------- */

static void on_conn_open(struct hm_conn *conn)
{
	struct hm_link *l = conn->arg;

	HM_CHECK(l, HM_LINK_MAGIC);
	if (l->state != HM_LINK_CONNECTING)
		return;
	link_goto(l, HM_LINK_HANDSHAKE);
	arm_in(l, l->o->connect_timeout_ms);
	send_handshake(l);
}

static const struct hm_conn_ops conn_ops = {
	.on_open = on_conn_open,
	.on_read = on_conn_read,
	.on_flush = on_conn_flush,
	.on_close = on_conn_close,
};

static int open_reader(struct hm_link *l)
{
	int rc = l->reader_open ? hm_reader_reset(&l->reader) : hm_reader_init(&l->reader, 0);

	l->reader_open = l->reader_open || rc == 0;
	return rc;
}

static void dial(struct hm_link *l)
{
	struct hm_conn_opts co = {
		.tls = l->o->tls,
		.sessions = l->o->sessions,
		.connect_timeout_ms = l->o->connect_timeout_ms,
		.high_bytes = HM_LINK_HIGH_BYTES,
		.max_bytes = HM_CMD_MAX_BYTES + 4 * HM_LINK_HIGH_BYTES,
		.server_name = l->o->server_name,
	};
	struct hm_err e = {0};

	l->retry_floor_ms = 0;
	if (l->ops->on_dial && !l->ops->on_dial(l)) {
		schedule_attempt(l, HM_LINK_RETRY_MIN_MS);
		return;
	}
	if (l->unix_path[0]) {
		co.unix_path = hm_str_c(l->unix_path);
	} else {
		co.host = hm_str_c(l->addr.host);
		co.port = l->addr.port;
	}
	link_goto(l, HM_LINK_CONNECTING);
	if (open_reader(l) < 0)
		hm_err_set(&e, HM_ENOMEM, "out of memory for a connection to %s", l->name);
	else if (hm_conn_connect(&l->conn, l->o->tick, &co, &conn_ops, l, &e) == 0)
		return;
	attempt_ended(l, &e);
}
