/*
 * shop.h - an HTTP/1.1 server on the test's own loop, told what to answer
 *
 * GET /k/KEY answers with what `values` has for KEY, 404 otherwise; POST answers {"values": {...}} for the keys asked.
 * `status` and `body` override that; `silent` keeps the connection without a word. It counts and keeps the last request.
 */
#ifndef TESTS_FACTS_SHOP_H
#define TESTS_FACTS_SHOP_H

#include "base/json.h"
#include "../redis/env.h"

#define SHOP_VALUES 8

struct shop {
	uv_tcp_t listener;
	int port;
	unsigned requests, conns, open;
	int status;	  /* 0: as it is */
	const char *body; /* NULL: as it is */
	bool silent;
	struct {
		const char *key, *json;
	} values[SHOP_VALUES];
	char last[8192]; /* head and body of the last request */
	size_t asked;	 /* keys in the last POST */
};
struct shop_conn {
	uv_tcp_t tcp;
	struct shop *shop;
	char in[65536];
	size_t len;
};
struct shop_write {
	uv_write_t w;
	char data[];
};

static void shop_gone(uv_handle_t *h)
{
	struct shop_conn *c = h->data;

	c->shop->open--;
	free(c);
}

static void shop_written(uv_write_t *w, int status)
{
	free(w);
}

static void shop_say(struct shop_conn *c, int status, const char *body, size_t len)
{
	struct shop_write *w = malloc(sizeof(*w) + len + 256);
	int n = sprintf(w->data, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status,
			status == 204 ? 0 : len);
	uv_buf_t b;

	if (status != 204) {
		memcpy(w->data + n, body, len);
		n += (int)len;
	}
	b = uv_buf_init(w->data, (unsigned)n);
	uv_write(&w->w, (uv_stream_t *)&c->tcp, &b, 1, shop_written);
}

static const char *shop_find(const struct shop *s, struct hm_str key)
{
	for (size_t i = 0; i < SHOP_VALUES && s->values[i].key; i++)
		if (hm_str_is(key, s->values[i].key))
			return s->values[i].json;
	return NULL;
}

static void shop_answer(struct shop_conn *c, struct hm_str path, struct hm_str body)
{
	struct shop *s = c->shop;
	const char *v = NULL;
	struct hm_buf b, mp;
	msgpack_zone zone;
	msgpack_object doc;
	struct hm_err e = {0};

	if (s->silent)
		return;
	if (s->status || s->body) {
		shop_say(c, s->status ? s->status : 200, s->body ? s->body : "no",
			 strlen(s->body ? s->body : "no"));
		return;
	}
	if (body.len == 0) {
		v = shop_find(s, hm_str_n(path.p + 3, path.len - 3));
		shop_say(c, v ? 200 : 404, v ? v : "", v ? strlen(v) : 0);
		return;
	}
	hm_buf_init(&b, 1 << 20);
	hm_buf_init(&mp, 1 << 20);
	msgpack_zone_init(&zone, 4096);
	assert_int_equal(hm_json_to_msgpack(body, &mp, &e), 0);
	assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&mp), &doc, &e), 0);
	const msgpack_object *keys = hm_mp_get(&doc, HM_STR("keys"));

	assert_int_equal(keys->type, MSGPACK_OBJECT_ARRAY);
	s->asked = keys->via.array.size;
	hm_buf_lit(&b, "{\"values\":{\"\":0");
	for (uint32_t i = 0; i < keys->via.array.size; i++) {
		struct hm_str k;

		assert_true(hm_mp_str(&keys->via.array.ptr[i], &k));
		v = shop_find(s, k);
		if (v)
			hm_buf_printf(&b, ",\"%.*s\":%s", HM_STRF(k), v);
	}
	hm_buf_lit(&b, "}}");
	shop_say(c, 200, b.p, b.len);
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&mp);
	hm_buf_fini(&b);
}

static void shop_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
	struct shop_conn *c = h->data;

	*b = uv_buf_init(c->in + c->len, (unsigned)(sizeof(c->in) - c->len - 1));
}

static void shop_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct shop_conn *c = st->data;
	char *end, *length;
	size_t head, body = 0;

	if (n < 0) {
		uv_close((uv_handle_t *)st, shop_gone);
		return;
	}
	c->len += (size_t)n;
	c->in[c->len] = '\0';
	while ((end = strstr(c->in, "\r\n\r\n")) != NULL) {
		head = (size_t)(end - c->in) + 4;
		length = strcasestr(c->in, "content-length:");
		if (length && length < end)
			body = strtoul(length + 15, NULL, 10);
		if (c->len < head + body)
			return;
		c->shop->requests++;
		snprintf(c->shop->last, sizeof(c->shop->last), "%.*s", (int)(head + body), c->in);

		char *path = strchr(c->in, ' ') + 1;

		shop_answer(c, hm_str_n(path, strcspn(path, " ")), hm_str_n(c->in + head, body));
		memmove(c->in, c->in + head + body, c->len - head - body + 1);
		c->len -= head + body;
		body = 0;
	}
}

static void shop_accept(uv_stream_t *l, int status)
{
	struct shop *s = l->data;
	struct shop_conn *c = calloc(1, sizeof(*c));

	assert_int_equal(status, 0);
	c->shop = s;
	uv_tcp_init(l->loop, &c->tcp);
	c->tcp.data = c;
	assert_int_equal(uv_accept(l, (uv_stream_t *)&c->tcp), 0);
	s->conns++;
	s->open++;
	uv_read_start((uv_stream_t *)&c->tcp, shop_alloc, shop_read);
}

static void shop_open(struct shop *s, uv_loop_t *loop)
{
	struct sockaddr_in a;
	int len = sizeof(a);

	memset(s, 0, sizeof(*s));
	uv_ip4_addr("127.0.0.1", 0, &a);
	uv_tcp_init(loop, &s->listener);
	s->listener.data = s;
	assert_int_equal(uv_tcp_bind(&s->listener, (struct sockaddr *)&a, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 64, shop_accept), 0);
	uv_tcp_getsockname(&s->listener, (struct sockaddr *)&a, &len);
	s->port = ntohs(a.sin_port);
}

static void shop_close(struct shop *s)
{
	uv_close((uv_handle_t *)&s->listener, NULL);
}

#endif
