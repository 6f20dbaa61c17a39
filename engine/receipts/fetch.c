/*
 * fetch.c - GET, and a small shelf of certificates
 */
#include "receipts/fetch.h"

#include <pthread.h>
#include <stdlib.h>

#include "receipts/callbacks_int.h"

#define FETCH_MAGIC 0x66746368u
#define FETCH_KEPT  32
#define KEEP_MS	    86400000u
#define BODY_MAX    (16u << 10)

static struct {
	pthread_mutex_t mu;
	struct kept {
		uint64_t hash, until_ms;
		size_t len;
		char body[BODY_MAX];
	} * v[FETCH_KEPT];
} shelf = {.mu = PTHREAD_MUTEX_INITIALIZER};

struct fetch {
	uint32_t magic;
	struct hm_callbacks *cb;
	struct hm_origin *origin;
	struct hm_call call;
	struct hm_arena arena;
	uint64_t hash;
	bool certificate;
	hm_fetch_fn fn;
	void *arg;
};

static void keep(uint64_t hash, struct hm_str body, uint64_t now_ms)
{
	struct kept **at = &shelf.v[0], *x;

	if (body.len > BODY_MAX || (x = malloc(sizeof(*x))) == NULL)
		return;
	x->hash = hash;
	x->until_ms = now_ms + KEEP_MS;
	x->len = body.len;
	memcpy(x->body, body.p, body.len);
	pthread_mutex_lock(&shelf.mu);
	for (size_t i = 0; i < FETCH_KEPT; i++) {
		if (shelf.v[i] == NULL || shelf.v[i]->hash == hash) {
			at = &shelf.v[i];
			break;
		}
		if (shelf.v[i]->until_ms < (*at)->until_ms)
			at = &shelf.v[i];
	}
	free(*at);
	*at = x;
	pthread_mutex_unlock(&shelf.mu);
}

static bool look(uint64_t hash, uint64_t now_ms, struct hm_arena *a, struct hm_str *body_r)
{
	bool found = false;

	pthread_mutex_lock(&shelf.mu);
	for (size_t i = 0; i < FETCH_KEPT && !found; i++)
		if (shelf.v[i] != NULL && shelf.v[i]->hash == hash && shelf.v[i]->until_ms > now_ms) {
			*body_r = hm_arena_str(a, hm_str_n(shelf.v[i]->body, shelf.v[i]->len));
			found = body_r->p != NULL;
		}
	pthread_mutex_unlock(&shelf.mu);
	return found;
}

static void fetch_free(struct fetch *f)
{
	if (f->origin != NULL)
		hm_origin_release(f->origin);
	hm_arena_fini(&f->arena);
	HM_MAGIC_CLEAR(f);
	free(f);
}

static void on_done(struct hm_call *c)
{
	struct fetch *f = hm_container_of(c, struct fetch, call);
	struct hm_callbacks *cb = f->cb;
	struct hm_err e = {0};

	HM_CHECK(f, FETCH_MAGIC);
	cb->calls--;
	if (c->fate != HM_FATE_ANSWERED)
		e = c->err;
	else if (c->status < 200 || c->status > 299 || c->answer_cut)
		hm_err_set(&e, HM_EPROTO, "answered with %d%s", c->status, c->answer_cut ? ", too long" : "");
	else if (f->certificate)
		keep(f->hash, c->answer, cb->deps.tick->wall_ms);
	if (e.code == 0 || c->fate == HM_FATE_ANSWERED)
		f->fn(f->arg, e.code ? HM_STR("") : c->answer, e.code ? &e : NULL);
	else
		f->fn(f->arg, HM_STR(""), &e);
	fetch_free(f);
	hm_callbacks_maybe_closed(cb);
}

void hm_fetch(struct hm_callbacks *cb, const struct hm_channel *c, struct hm_str url, bool certificate,
	      hm_fetch_fn fn, void *arg)
{
	const struct hm_origin_opts *of = &hm_channel_info(c)->origin;
	struct fetch *f = calloc(1, sizeof(*f));
	struct hm_origin_opts o = {.tls = true, .verify = true};
	struct hm_err e = {0};
	struct hm_str path, body;

	if (f == NULL || cb->stopped) {
		free(f);
		hm_err_set(&e, HM_EAGAIN, "not now");
		fn(arg, HM_STR(""), &e);
		return;
	}
	HM_MAGIC_SET(f, FETCH_MAGIC);
	hm_arena_init(&f->arena, &cb->deps.tick->blocks, 1u << 20);
	f->cb = cb;
	f->hash = hm_hash64(url.p, url.len, 0);
	f->certificate = certificate;
	f->fn = fn;
	f->arg = arg;
	if (certificate && look(f->hash, cb->deps.tick->wall_ms, &f->arena, &body)) {
		fn(arg, body, NULL);
		fetch_free(f);
		return;
	}
	url = hm_arena_str(&f->arena, url);
	/* A gateway or a test says where its provider is; without one only public addresses are. */
	if (hm_wire_parse_url(url, &o, &path, &e) != 0)
		goto failed;
	o.connect_to = of->connect_to;
	o.ca_file = of->ca_file;
	o.proxy = of->proxy;
	o.deny_private = of->connect_to.len == 0;
	o.max_connections = 2;
	if (hm_wire_origin(cb->deps.wire, &o, &f->origin, &e) != 0) {
		f->origin = NULL;
		goto failed;
	}
	hm_origin_hold(f->origin);
	f->call = (struct hm_call){.origin = f->origin,
				   .method = HM_STR("GET"),
				   .path = path,
				   .timeout_ms = 8000,
				   .arena = &f->arena,
				   .on_done = on_done};
	HM_MAGIC_SET(&f->call, HM_CALL_MAGIC);
	if (hm_wire_submit(&f->call, &e) != 0)
		goto failed;
	cb->calls++;
	return;
failed:
	fn(arg, HM_STR(""), &e);
	fetch_free(f);
}
