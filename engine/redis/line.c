/*
 * line.c - a connection of its own, for commands that may block
 *
 * A line dials the server, or in a cluster the owner of its key's slot as the map
 * knows it at that moment. Answers that say "not here" or "not now" end the
 * connection; the command is told HM_EDOWN (it was not executed) and the line
 * follows. During a slot's migration it follows ASK as well: it then talks to the
 * importing node, with ASKING before each command, until that node sends it away.
 */
#include <stdlib.h>

#include "base/log.h"
#include "redis/client.h"

#define NS_PER_MS 1000000u

struct hm_redis_line {
	uint32_t magic;
	struct hm_redis *r;
	struct hm_node node; /* hm_redis.lines */
	uint16_t slot;
	bool asking; /* the address is an ASK's */
	bool closing;
	struct hm_redis_addr ask;
	void (*up_fn)(void *arg);
	void *up_arg;
	struct hm_link link;
};

static struct hm_redis_line *line_of(struct hm_link *l)
{
	struct hm_redis_line *ln = hm_container_of(l, struct hm_redis_line, link);

	HM_CHECK(ln, HM_REDIS_LINE_MAGIC);
	return ln;
}

struct hm_redis_line *hm_redis_line_from_node(struct hm_node *n)
{
	struct hm_redis_line *ln = hm_container_of(n, struct hm_redis_line, node);

	HM_CHECK(ln, HM_REDIS_LINE_MAGIC);
	return ln;
}

static bool on_dial(struct hm_link *l)
{
	struct hm_redis_line *ln = line_of(l);
	const struct hm_redis_addr *a = &ln->ask;

	if (ln->r->cluster == NULL)
		return true;
	if (!ln->asking) {
		a = hm_cluster_owner(ln->r, ln->slot);
		if (a == NULL) {
			hm_cluster_refresh_soon(ln->r);
			return false;
		}
	}
	hm_link_set_tcp(l, a);
	return true;
}

static void on_up(struct hm_link *l)
{
	struct hm_redis_line *ln = line_of(l);

	if (ln->up_fn)
		ln->up_fn(ln->up_arg);
}

static void on_down(struct hm_link *l, const struct hm_err *why)
{
	struct hm_redis_line *ln = line_of(l);

	if (ln->r->cluster == NULL)
		return;
	if (l->failures > 0)
		ln->asking = false; /* the importing node is not there: back to the map */
	hm_cluster_refresh_soon(ln->r);
}

static void tell_down(struct hm_redis_line *ln, struct hm_cmd *c, enum hm_cmd_why why)
{
	struct hm_err e = {0};

	hm_err_set(&e, HM_EDOWN, "%s: %s", ln->link.name, hm_cmd_why_text(why));
	hm_redis_finish(ln->r, c, NULL, &e);
}

static void follow(struct hm_redis_line *ln, struct hm_str text, enum hm_error_kind kind)
{
	uint16_t slot;

	if (ln->r->cluster == NULL)
		return;
	ln->asking = kind == HM_REPLY_ASK && hm_cluster_redirect_addr(text, &ln->link, &slot, &ln->ask);
	if (kind == HM_REPLY_MOVED)
		hm_cluster_moved(ln->r, text, &ln->link);
	else
		hm_cluster_refresh_soon(ln->r);
}

static void on_reply(struct hm_link *l, struct hm_cmd *c, const struct hm_reply *reply)
{
	struct hm_redis_line *ln = line_of(l);
	enum hm_cmd_why why = HM_CMD_WHY_NONE;
	enum hm_error_kind kind = hm_redis_error_kind(reply, &why);
	struct hm_err e = {0};

	if (hm_likely(reply->type != HM_REPLY_ERROR)) {
		hm_redis_finish(ln->r, c, reply, NULL);
		return;
	}
	if (kind == HM_REPLY_OTHER || kind == HM_REPLY_NOSCRIPT) {
		hm_err_set(&e, HM_EREDIS, "%.*s", HM_STRF(reply->s));
		hm_redis_finish(ln->r, c, NULL, &e);
		return;
	}
	if (kind == HM_REPLY_MOVED || kind == HM_REPLY_ASK)
		why = HM_CMD_WHY_LINE_MOVED;
	follow(ln, reply->s, kind);
	hm_err_set(&e, HM_EDOWN, "%s: %s", l->name, hm_cmd_why_text(why));
	hm_link_drain(l, &e);
	tell_down(ln, c, why);
}

static void on_lost(struct hm_link *l, struct hm_cmd *c, bool sent, const struct hm_err *why)
{
	struct hm_err e = {0};

	c->skip = 0;
	if (sent)
		hm_err_set(&e, HM_ELOST,
			   "the connection broke after the command was sent, its effect is unknown: %s",
			   why->text);
	else
		hm_err_set(&e, HM_EDOWN, "%s", why->text);
	hm_redis_finish(l->arg, c, NULL, &e);
}

static void on_closed(struct hm_link *l)
{
	struct hm_redis_line *ln = line_of(l);
	struct hm_redis *r = ln->r;

	hm_list_remove(&r->lines, &ln->node);
	HM_MAGIC_CLEAR(ln);
	free(ln);
	hm_redis_unref(r);
}

static const struct hm_link_ops line_ops = {
	.on_dial = on_dial,
	.on_up = on_up,
	.on_down = on_down,
	.on_reply = on_reply,
	.on_lost = on_lost,
	.on_closed = on_closed,
};

struct hm_redis_line *hm_redis_line_open(struct hm_redis *r, struct hm_str key)
{
	struct hm_redis_line *ln;

	HM_CHECK(r, HM_REDIS_MAGIC);
	hm_assert(!r->closing);
	ln = calloc(1, sizeof(*ln));
	if (ln == NULL)
		return NULL;
	HM_MAGIC_SET(ln, HM_REDIS_LINE_MAGIC);
	ln->r = r;
	ln->slot = r->cluster && key.p ? hm_redis_slot(key) : HM_SLOT_ANY;
	hm_link_init(&ln->link, &r->lo, &line_ops, r);
	ln->link.line = true;
	ln->link.need_master = true;
	if (r->url.unix_path[0])
		hm_link_set_unix(&ln->link, r->url.unix_path);
	else
		hm_link_set_tcp(&ln->link, &r->url.seeds[0]);
	hm_list_push(&r->lines, &ln->node);
	r->open++;
	hm_link_start(&ln->link);
	return ln;
}

void hm_redis_line_send(struct hm_redis_line *ln, const struct hm_str *argv, size_t argc, uint32_t timeout_ms,
			hm_reply_fn fn, void *arg)
{
	struct hm_cmd *c;

	HM_CHECK(ln, HM_REDIS_LINE_MAGIC);
	c = hm_redis_cmd(ln->r, HM_STR_NULL, argv, argc, fn, arg);
	if (c == NULL)
		return;
	c->deadline_ns = timeout_ms ? ln->r->tick->now_ns + (uint64_t)timeout_ms * NS_PER_MS
				    : HM_CMD_NO_LIMIT;
	if (!hm_link_up(&ln->link)) {
		hm_redis_fail_later(ln->r, c, HM_EDOWN, HM_CMD_WHY_LINE_DOWN);
		return;
	}
	if (hm_link_load(&ln->link) >= ln->r->max_pending) {
		hm_redis_fail_later(ln->r, c, HM_EAGAIN, HM_CMD_WHY_FULL);
		return;
	}
	c->skip = ln->asking ? 1 : 0;
	hm_link_send(&ln->link, c);
}

void hm_redis_line_on_up(struct hm_redis_line *ln, void (*fn)(void *arg), void *arg)
{
	HM_CHECK(ln, HM_REDIS_LINE_MAGIC);
	ln->up_fn = fn;
	ln->up_arg = arg;
}

bool hm_redis_line_up(const struct hm_redis_line *ln)
{
	HM_CHECK(ln, HM_REDIS_LINE_MAGIC);
	return hm_link_up(&ln->link);
}

void hm_redis_line_abandon(struct hm_redis_line *ln)
{
	if (ln->closing)
		return;
	ln->closing = true;
	ln->up_fn = NULL;
	hm_link_close(&ln->link);
}

void hm_redis_line_close(struct hm_redis_line *ln)
{
	HM_CHECK(ln, HM_REDIS_LINE_MAGIC);
	hm_redis_line_abandon(ln);
}
