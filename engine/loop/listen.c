/*
 * listen.c - listening sockets
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/addr.h"
#include "loop/listen.h"

static void on_connection(uv_stream_t *s, int status)
{
	struct hm_listener *l = s->data;

	HM_CHECK(l, HM_LISTENER_MAGIC);
	hm_tick_wake(l->tick);
	/* A failed accept (descriptor limit, peer gone) is retried by the loop with the next one. */
	if (status == 0 && !l->closing)
		l->on_accept(l);
}

static int bind_error(struct hm_err *e, const char *where, int err)
{
	switch (err) {
	case EADDRINUSE: return hm_err_set(e, HM_EEXIST, "cannot listen on %s: the address is in use", where);
	case EACCES:
	case EPERM: return hm_err_set(e, HM_EPERM, "cannot listen on %s: no permission", where);
	case EADDRNOTAVAIL:
		return hm_err_set(e, HM_EINVAL, "cannot listen on %s: not an address of this machine", where);
	default: return hm_err_set(e, HM_EIO, "cannot listen on %s: %s", where, strerror(err));
	}
}

static bool resolve(const struct hm_listen_opts *o, struct sockaddr_storage *a)
{
	if (hm_str_is(o->host, "*"))
		return hm_addr_parse(HM_STR("0.0.0.0"), o->port, a);
	if (hm_str_is(o->host, "localhost"))
		return hm_addr_parse(HM_STR("127.0.0.1"), o->port, a);
	return hm_addr_parse(o->host, o->port, a);
}

/*
 * libuv 1.44 cannot set SO_REUSEPORT, so the sockets are made here and handed over. Everything that the
 * environment can make fail happens before a uv handle exists: a failed open leaves nothing to close.
 */
static int open_tcp(struct hm_listener *l, const struct hm_listen_opts *o, struct hm_err *e)
{
	struct sockaddr_storage a;
	socklen_t len;
	char where[80];
	int fd, one = 1, rc;

	if (!resolve(o, &a))
		return hm_err_set(e, HM_EINVAL, "cannot listen on '%.*s': not a numeric address",
				  HM_STRF(o->host));
	hm_addr_text((struct sockaddr *)&a, where, sizeof(where));
	len = a.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return bind_error(e, where, errno);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (o->reuse_port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, o->backlog ? o->backlog : 1024) < 0) {
		rc = bind_error(e, where, errno);
		close(fd);
		return rc;
	}
	getsockname(fd, (struct sockaddr *)&a, &len);
	l->port = a.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&a)->sin_port)
					 : ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
	rc = uv_tcp_init(l->tick->loop, &l->u.tcp);
	hm_assert(rc == 0);
	rc = uv_tcp_open(&l->u.tcp, fd);
	hm_assert(rc == 0);
	return 0;
}

/* A socket file nobody answers on is the leftover of a crash. */
static void remove_stale(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0 && errno == ECONNREFUSED)
		unlink(path);
	close(fd);
}

static int open_unix(struct hm_listener *l, const struct hm_listen_opts *o, struct hm_err *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, rc;

	if (o->unix_path.len >= sizeof(l->unix_path))
		return hm_err_set(e, HM_EINVAL,
				  "cannot listen on '%.*s': a socket path has at most %zu bytes",
				  HM_STRF(o->unix_path), sizeof(l->unix_path) - 1);
	memcpy(l->unix_path, o->unix_path.p, o->unix_path.len);
	l->unix_path[o->unix_path.len] = '\0';
	memcpy(un.sun_path, l->unix_path, sizeof(un.sun_path));
	remove_stale(l->unix_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return bind_error(e, l->unix_path, errno);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    listen(fd, o->backlog ? o->backlog : 1024) < 0) {
		rc = bind_error(e, l->unix_path, errno);
		close(fd);
		return rc;
	}
	rc = uv_pipe_init(l->tick->loop, &l->u.pipe, 0);
	hm_assert(rc == 0);
	rc = uv_pipe_open(&l->u.pipe, fd);
	hm_assert(rc == 0);
	return 0;
}

int hm_listener_open(struct hm_listener *l, struct hm_tick *t, const struct hm_listen_opts *o,
		     void (*on_accept)(struct hm_listener *), void *arg, struct hm_err *e)
{
	int rc;

	HM_CHECK(t, HM_TICK_MAGIC);
	memset(l, 0, sizeof(*l));
	HM_MAGIC_SET(l, HM_LISTENER_MAGIC);
	l->tick = t;
	l->arg = arg;
	l->on_accept = on_accept;
	l->is_unix = o->unix_path.len > 0;
	rc = l->is_unix ? open_unix(l, o, e) : open_tcp(l, o, e);
	if (rc < 0)
		return rc;
	l->u.handle.data = l;
	rc = uv_listen(&l->u.stream, o->backlog ? o->backlog : 1024, on_connection);
	hm_assert(rc == 0);
	return 0;
}

uint16_t hm_listener_port(const struct hm_listener *l)
{
	return l->port;
}

static void on_dropped(uv_handle_t *h)
{
	free(h);
}

void hm_listener_drop(struct hm_listener *l)
{
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} *u = calloc(1, sizeof(*u)); /* refusing is the cold path */

	HM_CHECK(l, HM_LISTENER_MAGIC);
	if (u == NULL)
		return;
	if (l->is_unix)
		uv_pipe_init(l->tick->loop, &u->pipe, 0);
	else
		uv_tcp_init(l->tick->loop, &u->tcp);
	uv_accept(&l->u.stream, &u->stream);
	uv_close(&u->handle, on_dropped);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct hm_listener *l = h->data;

	HM_CHECK(l, HM_LISTENER_MAGIC);
	HM_MAGIC_CLEAR(l);
	if (l->on_closed)
		l->on_closed(l);
}

void hm_listener_close(struct hm_listener *l, void (*on_closed)(struct hm_listener *))
{
	HM_CHECK(l, HM_LISTENER_MAGIC);
	if (l->closing)
		return;
	l->closing = true;
	l->on_closed = on_closed;
	if (l->is_unix)
		unlink(l->unix_path);
	uv_close(&l->u.handle, on_handle_closed);
}
