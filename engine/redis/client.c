/*
 * client.c - struct hm_redis: options, routing, retries, state, closing
 */
#include "redis/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "loop/tls.h"

#define NS_PER_MS 1000000u

static void on_flush(struct hm_flush *f);
static void on_parked_timer(struct hm_timer *t);
static void on_later_timer(struct hm_timer *t);

/* -- telling ------------------------------------------------------------- */

void hm_redis_finish(struct hm_redis *r, struct hm_cmd *c, const struct hm_reply *reply,
		     const struct hm_err *err)
{
	hm_reply_fn fn = c->fn;
	void *arg = c->arg;

	hm_cmd_free(&r->cmds, c);
	if (fn)
		fn(arg, reply, err);
}

/* A failure of the client's own making: one sentence from the command's `why`. */
static void finish_failed(struct hm_redis *r, struct hm_cmd *c, int code, enum hm_cmd_why why)
{
	struct hm_err e = {0};

	if (why == HM_CMD_WHY_DOWN && r->why.code)
		hm_err_set(&e, code, "%s: %s", hm_cmd_why_text(why), r->why.text);
	else
		hm_err_set(&e, code, "%s", hm_cmd_why_text(why));
	hm_redis_finish(r, c, NULL, &e);
}

void hm_redis_fail_later(struct hm_redis *r, struct hm_cmd *c, int code, enum hm_cmd_why why)
{
	c->code = code;
	c->why = (uint8_t)why;
	hm_list_push(&r->failed, &c->node);
	hm_flush_later(r->tick, &r->flush);
}

void hm_redis_set_state(struct hm_redis *r, bool up, const struct hm_err *why)
{
	/* Told again while down when the reason changes: a wrong password after a restart, say. */
	bool news = up != r->up || (!up && why && strcmp(why->text, r->why.text) != 0);

	r->up = up;
	if (up)
		hm_err_clear(&r->why);
	else if (why)
		r->why = *why;
	if (news) {
		r->tell = true;
		hm_flush_later(r->tick, &r->flush);
	}
}

/* -- parking ------------------------------------------------------------- */

static void park(struct hm_redis *r, struct hm_cmd *c)
{
	uint64_t now = r->tick->now_ns;

	hm_list_push(&r->parked, &c->node);
	if (c->deadline_ns < r->parked_due_ns) {
		r->parked_due_ns = c->deadline_ns;
		hm_timer_start(r->tick, &r->parked_timer,
			       c->deadline_ns > now ? (c->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0);
	}
}

static void fail_parked(struct hm_redis *r)
{
	struct hm_node *n;

	while ((n = hm_list_pop(&r->parked)) != NULL)
		hm_redis_fail_later(r, hm_container_of(n, struct hm_cmd, node), HM_EDOWN, HM_CMD_WHY_DOWN);
}

static void expire_list(struct hm_redis *r, struct hm_list *l, uint64_t *next_r)
{
	uint64_t now = r->tick->now_ns;

	hm_list_foreach_safe (l, n, tmp) {
		struct hm_cmd *c = hm_container_of(n, struct hm_cmd, node);

		if (c->deadline_ns > now) {
			*next_r = hm_min(*next_r, c->deadline_ns);
			continue;
		}
		hm_list_remove(l, n);
		hm_redis_fail_later(r, c, HM_EDOWN, c->why ? (enum hm_cmd_why)c->why : HM_CMD_WHY_DOWN);
	}
}

static void on_parked_timer(struct hm_timer *t)
{
	struct hm_redis *r = hm_container_of(t, struct hm_redis, parked_timer);
	uint64_t now = r->tick->now_ns, next = HM_CMD_NO_LIMIT;

	HM_CHECK(r, HM_REDIS_MAGIC);
	expire_list(r, &r->parked, &next);
	r->parked_due_ns = next;
	if (next != HM_CMD_NO_LIMIT)
		hm_timer_start(r->tick, &r->parked_timer, (next - now + NS_PER_MS - 1) / NS_PER_MS);
}

void hm_redis_route_parked(struct hm_redis *r)
{
	struct hm_list again;
	struct hm_node *n;

	hm_list_init(&again);
	hm_list_splice(&again, &r->parked);
	while ((n = hm_list_pop(&again)) != NULL)
		hm_redis_route(r, hm_container_of(n, struct hm_cmd, node));
}

static void try_later(struct hm_redis *r, struct hm_cmd *c, enum hm_cmd_why why)
{
	c->why = (uint8_t)why;
	if (r->closing || c->deadline_ns <= r->tick->now_ns) {
		hm_redis_fail_later(r, c, HM_EDOWN, why);
		return;
	}
	hm_list_push(&r->later, &c->node);
	if (hm_timer_armed(&r->later_timer))
		return;
	hm_timer_start(r->tick, &r->later_timer, r->later_ms);
	r->later_ms = hm_min(r->later_ms * 2, (uint32_t)HM_REDIS_LATER_MAX_MS);
}

static void on_later_timer(struct hm_timer *t)
{
	struct hm_redis *r = hm_container_of(t, struct hm_redis, later_timer);
	uint64_t next = HM_CMD_NO_LIMIT;
	struct hm_list again;
	struct hm_node *n;

	HM_CHECK(r, HM_REDIS_MAGIC);
	expire_list(r, &r->later, &next);
	hm_list_init(&again);
	hm_list_splice(&again, &r->later);
	while ((n = hm_list_pop(&again)) != NULL)
		hm_redis_route(r, hm_container_of(n, struct hm_cmd, node));
}

/* -- routing ------------------------------------------------------------- */

void hm_redis_route(struct hm_redis *r, struct hm_cmd *c)
{
	struct hm_link *l = r->single;

	if (r->closing) {
		hm_redis_fail_later(r, c, HM_EDOWN, HM_CMD_WHY_CLOSED);
		return;
	}
	if (r->cluster)
		l = hm_cluster_link(r, c->slot);
	if (l && hm_link_up(l))
		hm_link_send(l, c);
	else if (r->cluster || r->hopeful)
		park(r, c);
	else
		hm_redis_fail_later(r, c, HM_EDOWN, HM_CMD_WHY_DOWN);
}

/* -- answers ------------------------------------------------------------- */

enum hm_error_kind hm_redis_error_kind(const struct hm_reply *r, enum hm_cmd_why *why_r)
{
	static const struct {
		const char *prefix;
		enum hm_error_kind kind;
		enum hm_cmd_why why;
	} rows[] = {
		{"MOVED ", HM_REPLY_MOVED, HM_CMD_WHY_REDIRECTS},
		{"ASK ", HM_REPLY_ASK, HM_CMD_WHY_REDIRECTS},
		{"TRYAGAIN", HM_REPLY_TRYAGAIN, HM_CMD_WHY_TRYAGAIN},
		{"CLUSTERDOWN", HM_REPLY_CLUSTERDOWN, HM_CMD_WHY_CLUSTERDOWN},
		{"READONLY", HM_REPLY_READONLY, HM_CMD_WHY_READONLY},
		{"LOADING", HM_REPLY_LOADING, HM_CMD_WHY_LOADING},
		{"MASTERDOWN", HM_REPLY_MASTERDOWN, HM_CMD_WHY_MASTERDOWN},
		{"NOAUTH", HM_REPLY_NOAUTH, HM_CMD_WHY_NOAUTH},
		{"NOSCRIPT", HM_REPLY_NOSCRIPT, HM_CMD_WHY_NONE},
		{"UNBLOCKED", HM_REPLY_UNBLOCKED, HM_CMD_WHY_UNBLOCKED},
	};

	for (size_t i = 0; r->type == HM_REPLY_ERROR && i < hm_countof(rows); i++) {
		if (!hm_str_starts(r->s, hm_str_c(rows[i].prefix)))
			continue;
		if (why_r)
			*why_r = rows[i].why;
		return rows[i].kind;
	}
	return HM_REPLY_OTHER;
}

static void finish_error(struct hm_redis *r, struct hm_cmd *c, struct hm_str text)
{
	struct hm_err e = {0};

	hm_err_set(&e, HM_EREDIS, "%.*s", HM_STRF(text));
	hm_redis_finish(r, c, NULL, &e);
}

static void follow(struct hm_redis *r, struct hm_link *from, struct hm_cmd *c, const struct hm_reply *reply,
		   bool ask)
{
	struct hm_redis_addr a;
	struct hm_link *to;
	uint16_t slot;

	hm_stats_inc(r->tick->stats, HM_CT_REDIS_REDIRECTS);
	if (r->cluster == NULL || !hm_cluster_redirect_addr(reply->s, from, &slot, &a)) {
		finish_error(r, c, reply->s);
		return;
	}
	if (c->redirects++ >= HM_REDIS_REDIRECTS) {
		hm_redis_fail_later(r, c, HM_EDOWN, HM_CMD_WHY_REDIRECTS);
		return;
	}
	if (!ask) {
		hm_cluster_moved(r, reply->s, from);
		hm_redis_route(r, c);
		return;
	}
	to = hm_cluster_link_to(r, &a);
	if (to && hm_link_up(to)) {
		c->skip = 1;
		hm_link_send(to, c);
	} else {
		try_later(r, c, HM_CMD_WHY_TRYAGAIN); /* asked again when the link may be up */
	}
}

/* The server is not the one to talk to any more: leave it, look around, come back with the command. */
static void leave(struct hm_redis *r, struct hm_link *l, struct hm_cmd *c, enum hm_cmd_why why)
{
	struct hm_err e = {0};

	c->why = (uint8_t)why;
	hm_err_set(&e, HM_EDOWN, "%s: %s", l->name, hm_cmd_why_text(why));
	if (r->cluster) {
		hm_cluster_refresh_soon(r);
		if (why == HM_CMD_WHY_NOAUTH)
			hm_link_drain(l, &e);
		try_later(r, c, why);
		return;
	}
	hm_link_drain(l, &e);
	hm_redis_route(r, c);
}

void hm_redis_on_reply(struct hm_link *l, struct hm_cmd *c, const struct hm_reply *reply)
{
	struct hm_redis *r = l->arg;
	enum hm_cmd_why why = HM_CMD_WHY_NONE;
	enum hm_error_kind kind;

	HM_CHECK(r, HM_REDIS_MAGIC);
	if (hm_likely(reply->type != HM_REPLY_ERROR)) {
		r->later_ms = HM_REDIS_LATER_MS;
		hm_redis_finish(r, c, reply, NULL);
		return;
	}
	kind = hm_redis_error_kind(reply, &why);
	if (c->fn == NULL || c->internal || r->closing) {
		finish_error(r, c, reply->s);
		return;
	}
	switch (kind) {
	case HM_REPLY_MOVED:
	case HM_REPLY_ASK: follow(r, l, c, reply, kind == HM_REPLY_ASK); break;
	case HM_REPLY_CLUSTERDOWN:
		if (r->cluster)
			hm_cluster_refresh_soon(r);
		try_later(r, c, why);
		break;
	case HM_REPLY_TRYAGAIN: try_later(r, c, why); break;
	case HM_REPLY_READONLY:
	case HM_REPLY_LOADING:
	case HM_REPLY_MASTERDOWN:
	case HM_REPLY_NOAUTH: leave(r, l, c, why); break;
	case HM_REPLY_NOSCRIPT:
		if (c->script == NULL)
			finish_error(r, c, reply->s);
		else if (hm_cmd_make_eval(&r->cmds, c))
			hm_redis_route(r, c);
		else
			hm_redis_fail_later(r, c, c->code, (enum hm_cmd_why)c->why);
		break;
	case HM_REPLY_UNBLOCKED:
	case HM_REPLY_OTHER: finish_error(r, c, reply->s); break;
	}
}

void hm_redis_on_lost(struct hm_link *l, struct hm_cmd *c, bool sent, const struct hm_err *why)
{
	struct hm_redis *r = l->arg;
	struct hm_err e = {0};

	HM_CHECK(r, HM_REDIS_MAGIC);
	c->skip = 0;
	if (!sent && !r->closing && !c->internal && c->deadline_ns > r->tick->now_ns) {
		hm_redis_route(r, c);
		return;
	}
	if (sent)
		hm_err_set(&e, HM_ELOST,
			   "the connection broke after the command was sent, its effect is unknown: %s",
			   why->text);
	else
		hm_err_set(&e, HM_EDOWN, "%s", why->text);
	hm_redis_finish(r, c, NULL, &e);
}

/* -- one server ---------------------------------------------------------- */

static void single_on_up(struct hm_link *l)
{
	struct hm_redis *r = l->arg;

	HM_CHECK(r, HM_REDIS_MAGIC);
	r->hopeful = true;
	hm_redis_set_state(r, true, NULL);
	hm_redis_route_parked(r);
}

static void single_on_down(struct hm_link *l, const struct hm_err *why)
{
	struct hm_redis *r = l->arg;

	HM_CHECK(r, HM_REDIS_MAGIC);
	r->hopeful = r->up; /* a loss leaves hope for one attempt, a failed attempt none */
	hm_redis_set_state(r, false, why);
	if (!r->hopeful)
		fail_parked(r);
}

static void single_on_closed(struct hm_link *l)
{
	struct hm_redis *r = l->arg;

	HM_CHECK(r, HM_REDIS_MAGIC);
	free(l);
	r->single = NULL;
	hm_redis_unref(r);
}

static const struct hm_link_ops single_ops = {
	.on_up = single_on_up,
	.on_down = single_on_down,
	.on_reply = hm_redis_on_reply,
	.on_lost = hm_redis_on_lost,
	.on_closed = single_on_closed,
};

static int single_open(struct hm_redis *r, struct hm_err *e)
{
	struct hm_link *l = malloc(sizeof(*l));

	if (l == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory for the Redis client");
	hm_link_init(l, &r->lo, &single_ops, r);
	l->need_master = true;
	if (r->url.unix_path[0])
		hm_link_set_unix(l, r->url.unix_path);
	else
		hm_link_set_tcp(l, &r->url.seeds[0]);
	r->single = l;
	r->open++;
	r->hopeful = true;
	hm_link_start(l);
	return 0;
}

/* -- birth --------------------------------------------------------------- */

static int check_name(struct hm_str s, struct hm_err *e)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '!' || s.p[i] > '~')
			return hm_err_set(e, HM_ECONFIG,
					  "redis client name: only printable ASCII without blanks");
	return 0;
}

static int open_tls(struct hm_redis *r, const struct hm_redis_opts *o, struct hm_err *e)
{
	struct hm_tls_opts to = {.verify = o->tls_verify,
				 .ca_file = o->ca_file,
				 .cert_file = o->cert_file,
				 .key_file = o->key_file};

	if (!r->url.tls)
		return 0;
	if (hm_tls_new(&to, &r->lo.tls, e) < 0)
		return hm_err_wrap(e, "redis");
	r->lo.sessions = &r->sessions;
	return 0;
}

static void free_client(struct hm_redis *r)
{
	hm_timer_stop(r->tick, &r->parked_timer);
	hm_timer_stop(r->tick, &r->later_timer);
	hm_flush_cancel(r->tick, &r->flush);
	hm_cluster_free(r);
	hm_cmds_fini(&r->cmds);
	hm_tls_sessions_fini(&r->sessions);
	hm_tls_unref(r->lo.tls);
	HM_MAGIC_CLEAR(r);
	free(r);
}

int hm_redis_new(struct hm_tick *t, const struct hm_redis_opts *o, struct hm_redis **r_r, struct hm_err *e)
{
	struct hm_redis *r = calloc(1, sizeof(*r));
	int rc;

	HM_CHECK(t, HM_TICK_MAGIC);
	if (r == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory for the Redis client");
	HM_MAGIC_SET(r, HM_REDIS_MAGIC);
	r->tick = t;
	r->later_ms = HM_REDIS_LATER_MS;
	r->parked_due_ns = HM_CMD_NO_LIMIT;
	hm_list_init(&r->parked);
	hm_list_init(&r->later);
	hm_list_init(&r->failed);
	hm_list_init(&r->lines);
	hm_flush_init(&r->flush, on_flush);
	hm_timer_init(&r->parked_timer, on_parked_timer);
	hm_timer_init(&r->later_timer, on_later_timer);
	hm_tls_sessions_init(&r->sessions);
	if (hm_cmds_init(&r->cmds) < 0) {
		rc = hm_err_set(e, HM_ENOMEM, "out of memory for the Redis client");
		goto failed;
	}
	if ((rc = hm_redis_url_parse(o->url, &r->url, e)) < 0 || (rc = check_name(o->client_name, e)) < 0)
		goto failed;
	r->max_pending = o->max_pending ? o->max_pending : 100000;
	r->lo = (struct hm_link_opts){
		.tick = t,
		.cmds = &r->cmds,
		.server_name = o->server_name,
		.username = o->username.len ? o->username : hm_str_c(r->url.username),
		.password = o->password.len ? o->password : hm_str_c(r->url.password),
		.client_name = o->client_name,
		.db = r->url.db,
		.connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : 3000,
		.command_timeout_ms = o->command_timeout_ms ? o->command_timeout_ms : 5000,
		.cluster = r->url.cluster,
	};
	if ((rc = open_tls(r, o, e)) < 0)
		goto failed;
	rc = r->url.cluster ? hm_cluster_open(r, e) : single_open(r, e);
	if (rc < 0)
		goto failed;
	*r_r = r;
	return 0;
failed:
	free_client(r);
	return rc;
}

/* -- sending ------------------------------------------------------------- */

struct hm_cmd *hm_redis_cmd(struct hm_redis *r, struct hm_str key, const struct hm_str *argv, size_t argc,
			    hm_reply_fn fn, void *arg)
{
	struct hm_cmd *c;

	HM_CHECK(r, HM_REDIS_MAGIC);
	hm_assert(argc > 0);
	if (!r->fresh) { /* whatever woke the loop may not have read the clock, and deadlines start here */
		r->fresh = true;
		hm_tick_wake(r->tick);
		hm_flush_later(r->tick, &r->flush);
	}
	c = hm_cmd_new(&r->cmds, argv, argc);
	c->fn = fn;
	c->arg = arg;
	c->slot = r->cluster && key.p ? hm_redis_slot(key) : HM_SLOT_ANY;
	c->deadline_ns = r->tick->now_ns + (uint64_t)r->lo.command_timeout_ms * NS_PER_MS;
	if (hm_unlikely(r->closing))
		hm_redis_fail_later(r, c, HM_ECLOSED, HM_CMD_WHY_CLOSED);
	else if (hm_unlikely(c->len == 0))
		hm_redis_fail_later(r, c, c->code, (enum hm_cmd_why)c->why);
	else
		return c;
	return NULL;
}

void hm_redis_fail(struct hm_redis *r, int code, enum hm_cmd_why why, hm_reply_fn fn, void *arg)
{
	struct hm_str nothing = HM_STR("PING"); /* never sent; it carries the failure to the next pass */
	struct hm_cmd *c = hm_redis_cmd(r, HM_STR_NULL, &nothing, 1, fn, arg);

	if (c)
		hm_redis_fail_later(r, c, code, why);
}

static bool full(struct hm_redis *r, uint16_t slot)
{
	size_t there = r->cluster ? hm_cluster_load(r, slot) : hm_link_load(r->single);

	return hm_max(there, r->parked.len + r->later.len) >= r->max_pending;
}

static void send_new(struct hm_redis *r, struct hm_cmd *c)
{
	if (hm_unlikely(full(r, c->slot)))
		hm_redis_fail_later(r, c, HM_EAGAIN, HM_CMD_WHY_FULL);
	else
		hm_redis_route(r, c);
}

void hm_redis_send(struct hm_redis *r, struct hm_str key, const struct hm_str *argv, size_t argc,
		   hm_reply_fn fn, void *arg)
{
	struct hm_cmd *c = hm_redis_cmd(r, key, argv, argc, fn, arg);

	if (c)
		send_new(r, c);
}

void hm_redis_send_script(struct hm_redis *r, struct hm_str key, const struct hm_str *argv, size_t argc,
			  struct hm_redis_script *s, hm_reply_fn fn, void *arg)
{
	struct hm_cmd *c = hm_redis_cmd(r, key, argv, argc, fn, arg);

	if (c == NULL)
		return;
	c->script = s;
	send_new(r, c);
}

#define FORMAT_ARGS 64

/* One argument of a format up to the next blank. */
static const char *format_arg(struct hm_buf *b, const char *f, va_list *ap)
{
	for (; *f && *f != ' '; f++) {
		if (*f != '%') {
			hm_buf_putc(b, *f);
			continue;
		}
		switch (*++f) {
		case 's': hm_buf_puts(b, hm_str_c(va_arg(*ap, const char *))); break;
		case 'b': hm_buf_puts(b, va_arg(*ap, struct hm_str)); break;
		case 'd': hm_buf_i64(b, va_arg(*ap, int64_t)); break;
		case '%': hm_buf_putc(b, '%'); break;
		default: hm_panic(__FILE__, __LINE__, __func__, "unknown conversion %%%c", *f);
		}
	}
	return f;
}

void hm_redis_sendf(struct hm_redis *r, struct hm_str key, hm_reply_fn fn, void *arg, const char *fmt, ...)
{
	struct hm_arena_mark mark = hm_arena_mark(&r->tick->scratch);
	struct hm_str argv[FORMAT_ARGS];
	size_t ends[FORMAT_ARGS], argc = 0, from = 0;
	struct hm_buf b;
	va_list ap;

	hm_buf_init_arena(&b, &r->tick->scratch, HM_CMD_MAX_BYTES);
	va_start(ap, fmt);
	while (*fmt) {
		if (*fmt == ' ') {
			fmt++;
			continue;
		}
		hm_assert(argc < FORMAT_ARGS);
		fmt = format_arg(&b, fmt, &ap);
		ends[argc++] = b.len;
	}
	va_end(ap);
	for (size_t i = 0; i < argc; from = ends[i++])
		argv[i] = hm_str_n(b.p + from, ends[i] - from);
	if (b.err == 0)
		hm_redis_send(r, key, argv, argc, fn, arg);
	else if (b.err == HM_ENOMEM)
		hm_redis_fail(r, HM_ENOMEM, HM_CMD_WHY_MEMORY, fn, arg);
	else
		hm_redis_fail(r, HM_ELIMIT, HM_CMD_WHY_TOO_LARGE, fn, arg);
	hm_buf_fini(&b);
	hm_arena_rewind(&r->tick->scratch, mark);
}

/* -- state and end ------------------------------------------------------- */

void hm_redis_on_state(struct hm_redis *r, void (*fn)(void *arg, bool up, const struct hm_err *why),
		       void *arg)
{
	HM_CHECK(r, HM_REDIS_MAGIC);
	r->state_fn = fn;
	r->state_arg = arg;
	if (r->up != r->told_up || r->why.code) {
		r->tell = true;
		hm_flush_later(r->tick, &r->flush);
	}
}

bool hm_redis_up(const struct hm_redis *r)
{
	HM_CHECK(r, HM_REDIS_MAGIC);
	return r->up && !r->closing;
}

bool hm_redis_is_cluster(const struct hm_redis *r)
{
	HM_CHECK(r, HM_REDIS_MAGIC);
	return r->cluster != NULL;
}

void hm_redis_unref(struct hm_redis *r)
{
	hm_assert(r->open > 0);
	r->open--;
	hm_flush_later(r->tick, &r->flush);
}

static void tell_state(struct hm_redis *r)
{
	struct hm_err why = r->why;

	r->tell = false;
	if (r->up != r->told_up) {
		if (r->up)
			HM_INFO(REDIS, "up");
		else
			HM_WARN(REDIS, "down", HM_E(&why));
	}
	r->told_up = r->up;
	if (r->state_fn && !r->closing)
		r->state_fn(r->state_arg, r->up, r->up ? NULL : &why);
}

static void on_flush(struct hm_flush *f)
{
	struct hm_redis *r = hm_container_of(f, struct hm_redis, flush);
	size_t n;

	HM_CHECK(r, HM_REDIS_MAGIC);
	r->fresh = false;
	if (r->tell)
		tell_state(r);
	/* Those that fail now; one that is sent again from its callback waits for the next pass. */
	for (n = r->failed.len; n > 0; n--) {
		struct hm_cmd *c = hm_container_of(hm_list_pop(&r->failed), struct hm_cmd, node);

		finish_failed(r, c, c->code, (enum hm_cmd_why)c->why);
	}
	if (!r->closing || r->open > 0 || !hm_list_empty(&r->failed))
		return;
	{
		void (*fn)(void *) = r->on_closed;
		void *arg = r->closed_arg;

		free_client(r);
		if (fn)
			fn(arg);
	}
}

static void fail_all(struct hm_redis *r, struct hm_list *l)
{
	struct hm_node *n;

	while ((n = hm_list_pop(l)) != NULL)
		hm_redis_fail_later(r, hm_container_of(n, struct hm_cmd, node), HM_EDOWN, HM_CMD_WHY_CLOSED);
}

void hm_redis_close(struct hm_redis *r, void (*on_closed)(void *arg), void *arg)
{
	HM_CHECK(r, HM_REDIS_MAGIC);
	hm_assert(!r->closing);
	r->closing = true;
	r->on_closed = on_closed;
	r->closed_arg = arg;
	fail_all(r, &r->parked);
	fail_all(r, &r->later);
	hm_list_foreach_safe (&r->lines, n, tmp)
		hm_redis_line_abandon(hm_redis_line_from_node(n));
	if (r->single)
		hm_link_close(r->single);
	if (r->cluster)
		hm_cluster_close(r);
	hm_flush_later(r->tick, &r->flush);
}
