/*
 * recent.c - ring of the last requests
 */
#include "recent.h"

#include <stdlib.h>

#include "conn.h"

struct slot {
	uint64_t number, time_ms, mono_us, conn;
	unsigned profile;
	enum conn_proto proto;
	bool tls, accepted, cut;
	int status;
	enum sink_fault fault;
	uint32_t delay_ms;
	int32_t stream_id;
	uint32_t path, path_len, method, method_len, body, body_len, full_body;
	uint16_t n_headers;
	struct sink_header headers[SINK_MAX_HEADERS];
	struct hm_buf data;
};

struct recent {
	pthread_mutex_t lock;
	struct slot *v;
	size_t n, max_body;
	struct hm_str path;
	uint64_t next; /* number of the next request, from 1 */
};

struct recent *recent_new(size_t slots, size_t max_body, const char *path)
{
	struct recent *rc = calloc(1, sizeof(*rc));

	if (!rc)
		return NULL;
	rc->v = calloc(slots, sizeof(*rc->v));
	if (!rc->v) {
		free(rc);
		return NULL;
	}
	pthread_mutex_init(&rc->lock, NULL);
	rc->n = slots;
	rc->max_body = max_body;
	rc->path = path ? hm_str_c(path) : HM_STR("");
	rc->next = 1;
	for (size_t i = 0; i < slots; i++)
		hm_buf_init(&rc->v[i].data, SINK_MAX_HEAD + 4096 + max_body);
	return rc;
}

void recent_free(struct recent *rc)
{
	if (!rc)
		return;
	for (size_t i = 0; i < rc->n; i++)
		hm_buf_fini(&rc->v[i].data);
	pthread_mutex_destroy(&rc->lock);
	free(rc->v);
	free(rc);
}

void recent_reset(struct recent *rc)
{
	pthread_mutex_lock(&rc->lock);
	for (size_t i = 0; i < rc->n; i++)
		rc->v[i].number = 0;
	rc->next = 1;
	pthread_mutex_unlock(&rc->lock);
}

void recent_add(struct recent *rc, const struct sink_req *r, const struct sink_worker *w)
{
	struct slot *s;
	size_t body = hm_min((size_t)r->body_len, rc->max_body);
	size_t len = r->body ? r->body + body : r->data.len;

	if (!hm_str_starts(req_url(r), rc->path))
		return;
	pthread_mutex_lock(&rc->lock);
	s = &rc->v[rc->next % rc->n];
	s->number = rc->next++;
	s->time_ms = w->now_ms;
	s->mono_us = hm_clock_mono_ns() / 1000;
	s->conn = r->conn->id;
	s->profile = r->profile;
	s->proto = r->conn->proto;
	s->tls = r->conn->ssl != NULL;
	s->accepted = r->reply.accepted;
	s->status = r->reply.status;
	s->fault = r->reply.fault;
	s->delay_ms = r->reply.delay_ms;
	s->stream_id = r->stream_id;
	s->path = r->path;
	s->path_len = r->path_len;
	s->method = r->method;
	s->method_len = r->method_len;
	s->body = r->body;
	s->body_len = (uint32_t)body;
	s->full_body = r->body_len;
	s->n_headers = r->n_headers;
	memcpy(s->headers, r->headers, r->n_headers * sizeof(r->headers[0]));
	hm_buf_reset(&s->data);
	hm_buf_put(&s->data, r->data.p, len);
	pthread_mutex_unlock(&rc->lock);
}

static void put_text(struct hm_buf *out, const char *key, struct hm_str v)
{
	hm_buf_printf(out, ",\"%s\":\"", key);
	hm_buf_json(out, v);
	hm_buf_putc(out, '"');
}

static struct hm_str piece(const struct slot *s, uint32_t at, uint32_t len)
{
	return len ? hm_str_n(s->data.p + at, len) : HM_STR("");
}

static void put_slot(const struct slot *s, struct hm_buf *out)
{
	struct hm_str body = piece(s, s->body, s->body_len);

	hm_buf_printf(out,
		      "{\"n\":%llu,\"time_ms\":%llu,\"mono_us\":%llu,\"profile\":\"%s\",\"protocol\":\"%s\","
		      "\"tls\":%s,"
		      "\"connection\":%llu,"
		      "\"stream\":%d",
		      (unsigned long long)s->number, (unsigned long long)s->time_ms,
		      (unsigned long long)s->mono_us, sink_profile_name(s->profile),
		      conn_proto_name(s->proto), s->tls ? "true" : "false", (unsigned long long)s->conn,
		      s->stream_id);
	put_text(out, "method", piece(s, s->method, s->method_len));
	put_text(out, "path", piece(s, s->path, s->path_len));
	hm_buf_lit(out, ",\"headers\":[");
	for (size_t i = 0; i < s->n_headers; i++) {
		const struct sink_header *h = &s->headers[i];

		hm_buf_puts(out, i ? HM_STR(",[\"") : HM_STR("[\""));
		hm_buf_json(out, piece(s, h->name, h->name_len));
		hm_buf_lit(out, "\",\"");
		hm_buf_json(out, piece(s, h->value, h->value_len));
		hm_buf_lit(out, "\"]");
	}
	hm_buf_putc(out, ']');
	if (hm_utf8_valid(body)) {
		put_text(out, "body", body);
	} else {
		hm_buf_lit(out, ",\"body_base64\":\"");
		hm_buf_base64(out, body.p, body.len);
		hm_buf_putc(out, '"');
	}
	hm_buf_printf(out,
		      ",\"body_bytes\":%u,\"status\":%d,\"fault\":\"%s\",\"delay_ms\":%u,\"accepted\":%s}",
		      s->full_body, s->status, sink_fault_name(s->fault), s->delay_ms,
		      s->accepted ? "true" : "false");
}

static bool wanted(const struct slot *s, const struct recent_filter *f)
{
	return s->number && s->number > f->after && (!f->profile || s->profile == f->profile) &&
	       hm_str_starts(piece(s, s->path, s->path_len), f->path);
}

void recent_json(struct recent *rc, const struct recent_filter *f, struct hm_buf *out)
{
	size_t skip = 0, hits = 0;
	bool first = true;

	hm_buf_putc(out, '[');
	pthread_mutex_lock(&rc->lock);
	for (size_t i = 0; i < rc->n; i++)
		hits += wanted(&rc->v[i], f);
	skip = hits > f->n ? hits - f->n : 0;
	for (size_t i = 0; i < rc->n; i++) { /* oldest first: the slot after the newest */
		const struct slot *s = &rc->v[(rc->next + i) % rc->n];

		if (!wanted(s, f) || skip-- > 0)
			continue;
		skip = 0;
		if (!first)
			hm_buf_putc(out, ',');
		first = false;
		put_slot(s, out);
	}
	pthread_mutex_unlock(&rc->lock);
	hm_buf_putc(out, ']');
}
