/*
 * replies.c - what people write back: the stream `{<prefix>:ctl}:replies`, and reading it
 *
 * An entry: channel, medium, from, text, at (ms), id (of the message answered to, where the provider tells), provider_id,
 * meaning ("unsubscribed", "resubscribed" or empty). At most callbacks.replies_max are kept.
 */
#include <stdio.h>

#include "ingest/http_int.h"
#include "receipts/callbacks_int.h"

#define MARK_MS	 "604800000"
#define PAGE_MAX 1000
#define PAGE	 100

static struct hm_redis_script put_script = {
	.name = "reply_put",
	/* KEYS: mark, replies; ARGV: ms of the mark, most entries, names and values. 1: new, 0: known. */
	.source = "if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end\n"
		  "redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))\n"
		  "return 1\n",
};

/* Blanks and signs around a word say nothing. */
static struct hm_str bare(struct hm_str s)
{
	static const char signs[] = " \t\r\n.!?,;:'\"()[]*";

	while (s.len > 0 && strchr(signs, s.p[0]) != NULL && s.p[0] != '\0')
		s = hm_str_n(s.p + 1, s.len - 1);
	while (s.len > 0 && strchr(signs, s.p[s.len - 1]) != NULL && s.p[s.len - 1] != '\0')
		s.len--;
	return s;
}

static bool among(const struct hm_strs *list, struct hm_str s)
{
	for (size_t i = 0; i < list->n; i++)
		if (hm_str_ieq(list->v[i], s))
			return true;
	return false;
}

enum reply_meaning hm_reply_meaning(const struct hm_settings *s, struct hm_str text)
{
	text = bare(text);
	if (text.len == 0)
		return REPLY_TEXT;
	if (among(&s->callbacks.stop_words, text))
		return REPLY_STOP;
	return among(&s->callbacks.start_words, text) ? REPLY_START : REPLY_TEXT;
}

void hm_reply_put(struct hm_callbacks *cb, const struct hm_channel *c, const struct hm_cb_event *e,
		  struct hm_str id, enum reply_meaning meaning, const char *mark, hm_reply_fn fn, void *arg)
{
	static const char *const meanings[] = {"", "unsubscribed", "resubscribed"};
	const struct hm_channel_info *info = hm_channel_info(c);
	char key[HM_CTL_KEY_MAX], at[24], max[24];
	struct hm_callbacks_now now;
	struct hm_str keys[2], args[20];
	size_t n = 0;

	cb->deps.now(cb->deps.arg, &now);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)e->at_ms);
	snprintf(max, sizeof(max), "%llu", (unsigned long long)now.settings->callbacks.replies_max);
	keys[0] = hm_str_c(mark);
	keys[1] = hm_str_n(key, hm_ctl_key(cb->deps.prefix, "replies", key, sizeof(key)));
	args[n++] = HM_STR(MARK_MS);
	args[n++] = hm_str_c(max);
	args[n++] = HM_STR("channel");
	args[n++] = info->name;
	args[n++] = HM_STR("medium");
	args[n++] = hm_str_c(hm_medium_name(info->medium));
	args[n++] = HM_STR("from");
	args[n++] = e->recipient;
	args[n++] = HM_STR("text");
	args[n++] = e->text;
	args[n++] = HM_STR("at");
	args[n++] = hm_str_c(at);
	args[n++] = HM_STR("id");
	args[n++] = id;
	args[n++] = HM_STR("provider_id");
	args[n++] = e->provider_id;
	args[n++] = HM_STR("meaning");
	args[n++] = hm_str_c(meanings[meaning]);
	hm_redis_eval(cb->deps.redis, &put_script, keys, 2, args, n, fn, arg);
}

/* -- GET /v1/replies ----------------------------------------------------------------------------- */

struct page {
	struct hm_http_req *r; /* held */
	uint64_t limit;
	struct hm_str channel;
};

static bool cursor_ok(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-'))
			return false;
	return s.len > 0 && s.len < 44;
}

static struct hm_str value_of(const struct hm_reply *fields, const char *name)
{
	for (size_t i = 0; fields != NULL && i + 1 < fields->n; i += 2)
		if (hm_str_is(fields->v[i].s, name))
			return fields->v[i + 1].s;
	return HM_STR("");
}

static void put_member(struct hm_buf *b, const char *name, struct hm_str v)
{
	if (v.len == 0)
		return;
	hm_buf_printf(b, ",\"%s\":\"", name);
	hm_buf_json(b, v);
	hm_buf_putc(b, '"');
}

static void put_reply(struct hm_buf *b, struct hm_str cursor, const struct hm_reply *fields)
{
	char at[25];
	uint64_t ms = 0;

	hm_buf_printf(b, "{\"cursor\":\"%.*s\"", HM_STRF(cursor));
	put_member(b, "channel", value_of(fields, "channel"));
	put_member(b, "medium", value_of(fields, "medium"));
	put_member(b, "from", value_of(fields, "from"));
	hm_buf_lit(b, ",\"text\":\"");
	hm_buf_json(b, value_of(fields, "text"));
	hm_buf_putc(b, '"');
	if (hm_str_u64(value_of(fields, "at"), &ms)) {
		hm_clock_rfc3339(ms, at);
		put_member(b, "at", hm_str_c(at));
	}
	put_member(b, "id", value_of(fields, "id"));
	put_member(b, "provider_id", value_of(fields, "provider_id"));
	put_member(b, "meaning", value_of(fields, "meaning"));
	hm_buf_putc(b, '}');
}

static void on_page(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct page *p = arg;
	struct hm_http_req *r = p->r;
	struct hm_str last = HM_STR("");
	struct hm_buf b;
	size_t n = 0;

	if (r->answered) {
		hm_http_release(r);
		return;
	}
	if (reply == NULL) {
		hm_http_problem_redis(r, err);
		hm_http_release(r);
		return;
	}
	hm_buf_init_arena(&b, &r->arena, HTTP_ANSWER_MAX);
	hm_buf_lit(&b, "{\"replies\":[");
	for (size_t i = 0; i < reply->n; i++) {
		const struct hm_reply *id = hm_reply_at(&reply->v[i], 0),
				      *fields = hm_reply_at(&reply->v[i], 1);

		if (id == NULL)
			continue;
		last = id->s;
		if (p->channel.len > 0 && !hm_str_eq(value_of(fields, "channel"), p->channel))
			continue;
		if (n++ > 0)
			hm_buf_putc(&b, ',');
		put_reply(&b, id->s, fields);
	}
	hm_buf_lit(&b, "]");
	if (last.len > 0) /* where to go on; the same cursor again finds what has come meanwhile */
		hm_buf_printf(&b, ",\"next\":\"%.*s\"", HM_STRF(last));
	hm_buf_putc(&b, '}');
	if (b.err != 0)
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
	else
		hm_http_json(r, 200, hm_buf_str(&b));
	hm_http_release(r);
}

void hm_replies_get(struct hm_http_req *r)
{
	struct hm_str cursor = hm_http_query(r, "cursor"), limit = hm_http_query(r, "limit");
	struct page *p = hm_arena_zalloc(&r->arena, sizeof(*p));
	char key[HM_CTL_KEY_MAX], from[48], count[24];
	struct hm_str argv[6];
	struct hm_problem_info info = {0};

	if (p == NULL) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	p->limit = PAGE;
	p->r = r;
	p->channel = hm_http_query(r, "channel");
	if (limit.p != NULL && (!hm_str_u64(limit, &p->limit) || p->limit == 0 || p->limit > PAGE_MAX)) {
		info.field = HM_STR("limit");
		hm_http_problem(r, HM_PROBLEM_INVALID, &info, "limit: expected 1 to %u", PAGE_MAX);
		return;
	}
	if (cursor.len > 0 && !cursor_ok(cursor)) {
		info.field = HM_STR("cursor");
		hm_http_problem(r, HM_PROBLEM_INVALID, &info,
				"cursor: expected what an earlier answer gave as next");
		return;
	}
	snprintf(from, sizeof(from), "%s%.*s", cursor.len ? "(" : "-", HM_STRF(cursor));
	snprintf(count, sizeof(count), "%llu", (unsigned long long)p->limit);
	argv[0] = HM_STR("XRANGE");
	argv[1] = hm_str_n(key, hm_ctl_key(hm_http_server_prefix(r->srv), "replies", key, sizeof(key)));
	argv[2] = hm_str_c(from);
	argv[3] = HM_STR("+");
	argv[4] = HM_STR("COUNT");
	argv[5] = hm_str_c(count);
	hm_http_hold(r);
	hm_redis_send(hm_http_server_redis(r->srv), argv[1], argv, 6, on_page, p);
}
