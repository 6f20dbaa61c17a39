/*
 * curl_loop.c - a libcurl multi handle on the loop
 */
#include "wire/curl_loop.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/obj.h"
#include "loop/addr.h"
#include "wire/wire_int.h"

#define LOOP_MAGIC 0x6375726cu
#define POLL_MAGIC 0x706f6c6cu

struct curl_poll {
	uint32_t magic;
	uv_poll_t handle;
	struct curl_loop *loop;
	curl_socket_t fd;
	int watched; /* UV_READABLE, UV_WRITABLE: what libuv was asked for */
	bool kept;   /* a connection's: on_close_socket ends it */
	bool idle;   /* of no transfer */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_once(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void collect(struct curl_loop *l)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(l->multi, &left)) != NULL)
		if (msg->msg == CURLMSG_DONE)
			l->on_done(l, msg->easy_handle, msg->data.result);
}

static void closed(struct curl_loop *l)
{
	free(l->watches);
	HM_MAGIC_CLEAR(l);
	l->on_closed(l);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct curl_poll *p = h->data;
	struct curl_loop *l = p->loop;
	int flags = 0, running;

	HM_CHECK(p, POLL_MAGIC);
	if (p->idle) { /* the peer closes it; libcurl sees that when it wants it again */
		p->watched = 0;
		uv_poll_stop(h);
		return;
	}
	hm_tick_wake(l->tick);
	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(l->multi, p->fd, flags, &running);
	collect(l);
}

static void watch(struct curl_poll *p, int events)
{
	if (p->watched == events)
		return;
	p->watched = events;
	uv_poll_start(&p->handle, events, on_poll);
}

static void on_poll_closed(uv_handle_t *h)
{
	struct curl_poll *p = h->data;
	struct curl_loop *l = p->loop;

	HM_CHECK(p, POLL_MAGIC);
	HM_MAGIC_CLEAR(p);
	free(p);
	l->polls--;
	if (l->closing && l->polls == 0)
		closed(l);
}

/* Before the descriptor is closed. */
static void unwatch(struct curl_poll *p)
{
	p->loop->watches[p->fd] = NULL;
	uv_poll_stop(&p->handle);
	uv_close((uv_handle_t *)&p->handle, on_poll_closed);
}

static struct curl_poll *watch_of(const struct curl_loop *l, curl_socket_t fd)
{
	return (size_t)fd < l->n_watches ? l->watches[fd] : NULL;
}

static bool watches_grow(struct curl_loop *l, size_t n)
{
	struct curl_poll **v;

	if (n <= l->n_watches)
		return true;
	n = hm_max(n, 2 * l->n_watches);
	v = realloc(l->watches, n * sizeof(struct curl_poll *));
	if (v == NULL)
		return false;
	memset(v + l->n_watches, 0, (n - l->n_watches) * sizeof(struct curl_poll *));
	l->watches = v;
	l->n_watches = n;
	return true;
}

static struct curl_poll *watch_new(struct curl_loop *l, curl_socket_t fd)
{
	struct curl_poll *p = watches_grow(l, (size_t)fd + 1) ? calloc(1, sizeof(*p)) : NULL;

	if (p == NULL || uv_poll_init_socket(l->tick->loop, &p->handle, fd) < 0) {
		free(p);
		return NULL;
	}
	HM_MAGIC_SET(p, POLL_MAGIC);
	p->handle.data = p;
	p->loop = l;
	p->fd = fd;
	l->watches[fd] = p;
	l->polls++;
	return p;
}

static int on_socket(CURL *h, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct curl_loop *l = arg;
	struct curl_poll *p;
	int events = 0;

	HM_CHECK(l, LOOP_MAGIC);
	p = watch_of(l, fd);
	if (what == CURL_POLL_REMOVE) {
		if (p == NULL)
			return 0;
		p->idle = true;
		if (!p->kept) /* a pipe of libcurl's own: closed without a word */
			unwatch(p);
		else if (p->watched & UV_WRITABLE)
			watch(p, UV_READABLE);
		return 0;
	}
	if (p == NULL && (p = watch_new(l, fd)) == NULL)
		return -1;
	p->idle = false;
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	watch(p, events);
	return 0;
}

static int on_curl_timer(CURLM *multi, long ms, void *arg)
{
	struct curl_loop *l = arg;

	HM_CHECK(l, LOOP_MAGIC);
	if (ms < 0)
		hm_timer_stop(l->tick, &l->timer);
	else
		hm_timer_start(l->tick, &l->timer, (uint64_t)ms);
	return 0;
}

static void on_timer(struct hm_timer *t)
{
	struct curl_loop *l = hm_container_of(t, struct curl_loop, timer);
	int running;

	HM_CHECK(l, LOOP_MAGIC);
	curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(l);
}

bool curl_loop_init(struct curl_loop *l, struct hm_tick *t, long kept,
		    void (*on_done)(struct curl_loop *l, CURL *h, CURLcode rc))
{
	pthread_once(&once, init_once);
	memset(l, 0, sizeof(*l));
	l->multi = curl_multi_init();
	l->share = curl_share_init();
	if (l->multi == NULL || l->share == NULL) {
		curl_multi_cleanup(l->multi);
		curl_share_cleanup(l->share);
		return false;
	}
	HM_MAGIC_SET(l, LOOP_MAGIC);
	l->tick = t;
	l->on_done = on_done;
	hm_timer_init(&l->timer, on_timer);
	curl_share_setopt(l->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, kept);
	return true;
}

void curl_loop_close(struct curl_loop *l, void (*on_closed)(struct curl_loop *l))
{
	HM_CHECK(l, LOOP_MAGIC);
	l->closing = true;
	l->on_closed = on_closed;
	curl_multi_cleanup(l->multi); /* closes the kept connections; their polls follow from the loop */
	curl_share_cleanup(l->share);
	hm_timer_stop(l->tick, &l->timer);
	if (l->polls == 0)
		closed(l);
}

bool curl_loop_tls(CURL *h, const struct hm_origin *o)
{
	const char *key = o->opts.key_file.len ? o->opts.key_file.p : o->opts.cert_file.p;

	curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, o->opts.verify ? 1L : 0L);
	curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, o->opts.verify ? 2L : 0L);
	curl_easy_setopt(h, CURLOPT_SSLVERSION,
			 hm_str_is(o->wire->opts.tls_min, "1.3") ? (long)CURL_SSLVERSION_TLSv1_3
								 : (long)CURL_SSLVERSION_TLSv1_2);
	if (o->opts.ca_file.len && (curl_easy_setopt(h, CURLOPT_CAINFO, o->opts.ca_file.p) != CURLE_OK ||
				    curl_easy_setopt(h, CURLOPT_CAPATH, NULL) != CURLE_OK))
		return false;
	if (o->opts.cert_file.len == 0)
		return true;
	return curl_easy_setopt(h, CURLOPT_SSLCERT, o->opts.cert_file.p) == CURLE_OK &&
	       curl_easy_setopt(h, CURLOPT_SSLKEY, key) == CURLE_OK;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct curl_guard *g = arg;
	struct curl_poll *p;
	curl_socket_t fd;

	if (g->deny_private && hm_addr_is_private(&a->addr)) {
		g->denied = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	p = watch_new(g->loop, fd);
	if (p == NULL) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	p->kept = p->idle = true;
	return fd;
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
	struct curl_loop *l = arg;
	struct curl_poll *p;

	HM_CHECK(l, LOOP_MAGIC);
	p = watch_of(l, fd);
	if (p)
		unwatch(p);
	return close(fd);
}

void curl_loop_guard(CURL *h, struct curl_guard *g)
{
	curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, g);
	curl_easy_setopt(h, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(h, CURLOPT_CLOSESOCKETDATA, g->loop);
}

int curl_loop_error(CURLcode rc)
{
	switch (rc) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_PROXY: return HM_ECONN;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR: return HM_ETLS;
	case CURLE_OPERATION_TIMEDOUT: return HM_ETIMEDOUT;
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE: return HM_ECLOSED;
	case CURLE_OUT_OF_MEMORY: return HM_ENOMEM;
	default: return HM_EPROTO;
	}
}
