/*
 * main.c - hermod-sink, read top to bottom
 *
 * Options, keys, certificate, sockets, workers, ready line; then the main loop
 * accepts connections and answers the control API until SIGTERM or SIGINT.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cert.h"
#include "control.h"
#include "hpack.h"
#include "recent.h"
#include "script.h"
#include "tokens.h"

struct acceptor {
	struct sink *sink;
	uv_poll_t poll;
	int fd;
	enum listener via;
	bool polling;
	uint16_t port;
};

static struct sink sink;
static struct control control;
static struct acceptor acceptors[LISTEN_COUNT];
static unsigned next_worker;

static int fd_listen(const char *text, uint16_t *port_r, int *fd_r, struct hm_err *e)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;
	socklen_t len;
	struct addr a;
	int fd, one = 1, rc = addr_parse(text, &a, e);

	if (rc)
		return rc;
	if (inet_pton(AF_INET, a.host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(a.port);
		len = sizeof(*v4);
	} else {
		inet_pton(AF_INET6, a.host, &v6->sin6_addr);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(a.port);
		len = sizeof(*v6);
	}
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return hm_err_set(e, HM_EIO, "cannot make a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len) != 0 || listen(fd, 1024) != 0) {
		rc = errno;
		close(fd);
		if (rc == EADDRINUSE)
			return hm_err_set(e, HM_EIO, "port %u of %s is in use by another program", a.port,
					  a.host);
		return hm_err_set(e, HM_EIO, "cannot listen on %s: %s", text, strerror(rc));
	}
	getsockname(fd, (struct sockaddr *)&ss, &len);
	*port_r = ntohs(ss.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
	*fd_r = fd;
	return 0;
}

/* Connections are dealt out in turn, so that a few busy ones spread evenly. */
static void on_acceptable(uv_poll_t *p, int status, int events)
{
	struct acceptor *a = p->data;
	int fd;

	while ((fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (atomic_load(&a->sink->open_conns) >= a->sink->options->max_connections) {
			atomic_fetch_add(&a->sink->refused_conns, 1);
			close(fd);
			continue;
		}
		atomic_fetch_add(&a->sink->open_conns, 1);
		atomic_fetch_add(&a->sink->total_conns, 1);
		worker_give_conn(a->sink, next_worker++ % a->sink->n_workers, fd, a->via);
	}
}

static int start_acceptor(struct acceptor *a, uv_loop_t *loop, struct hm_err *e)
{
	a->poll.data = a;
	if (uv_poll_init(loop, &a->poll, a->fd) != 0 ||
	    uv_poll_start(&a->poll, UV_READABLE, on_acceptable) != 0)
		return hm_err_set(e, HM_EIO, "cannot poll the listening socket");
	a->polling = true;
	return 0;
}

static void on_signal(uv_signal_t *s, int num)
{
	uv_stop(s->loop);
}

static const char *const listeners[LISTEN_COUNT] = {"listen", "tls_listen", "smtp", "smpp"};

static void put_ready(struct hm_buf *out, const char *ca, uint16_t control_port)
{
	hm_buf_printf(out, "{\"ready\":true,\"pid\":%ld", (long)getpid());
	for (size_t i = 0; i < LISTEN_COUNT; i++)
		if (acceptors[i].fd >= 0)
			hm_buf_printf(out, ",\"%s\":%u", listeners[i], acceptors[i].port);
	if (control_port)
		hm_buf_printf(out, ",\"control\":%u", control_port);
	if (*ca) {
		hm_buf_lit(out, ",\"ca\":\"");
		hm_buf_json(out, hm_str_c(ca));
		hm_buf_putc(out, '"');
	}
	hm_buf_lit(out, "}\n");
}

static int write_file(const char *path, struct hm_str text, struct hm_err *e)
{
	char tmp[512];
	FILE *f;

	/* Renamed into place: who sees the file sees all of it. */
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	f = fopen(tmp, "we");
	if (!f || fwrite(text.p, 1, text.len, f) != text.len || fclose(f) != 0 || rename(tmp, path) != 0)
		return hm_err_set(e, HM_EIO, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

static int write_ledger(const char *path, struct hm_err *e)
{
	FILE *f = fopen(path, "we");
	struct ledger_cursor c = {0, 0};
	struct hm_buf b;
	bool more = true, good = f != NULL;

	hm_buf_init(&b, 64 << 20);
	while (good && more) {
		hm_buf_reset(&b);
		more = ledger_dump(sink.ledger, &c, 0, 1, 4096, &b);
		good = fwrite(b.p ? b.p : "", 1, b.len, f) == b.len;
	}
	hm_buf_fini(&b);
	if (f && fclose(f) != 0)
		good = false;
	return good ? 0 : hm_err_set(e, HM_EIO, "cannot write the ledger to %s: %s", path, strerror(errno));
}

static int load_scenario(const char *path, struct hm_err *e)
{
	struct hm_arena a;
	struct hm_yaml *doc;
	int rc;

	hm_arena_init(&a, NULL, 64 << 20);
	rc = hm_yaml_read_file(&a, path, &doc, e);
	if (rc == 0)
		rc = control_scenario(&control, doc, e);
	hm_arena_fini(&a);
	return rc;
}

static int make_parts(const struct sink_options *o, struct hm_err *e)
{
	sink.options = o;
	sink.start_ms = hm_clock_mono_ns() / 1000000;
	sink.knobs = malloc(sizeof(*sink.knobs));
	control.at_start = malloc(sizeof(*control.at_start));
	sink.scripts = scripts_new();
	sink.tokens = tokens_new();
	if (!sink.knobs || !control.at_start || !sink.scripts || !sink.tokens)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	knobs_init(sink.knobs);
	if (!o->no_ledger && !(sink.ledger = ledger_new(o->lean)))
		return hm_err_set(e, HM_ENOMEM, "out of memory for the ledger");
	if (o->keep_requests &&
	    !(sink.recent = recent_new((size_t)o->keep_requests, (size_t)o->keep_body, o->keep_path)))
		return hm_err_set(e, HM_ENOMEM, "out of memory for %llu requests",
				  (unsigned long long)o->keep_requests);
	return 0;
}

static int open_ports(const struct sink_options *o, int *control_fd, uint16_t *control_port, struct hm_err *e)
{
	const char *const at[LISTEN_COUNT] = {o->listen, o->tls_listen, o->smtp, o->smpp};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < LISTEN_COUNT; i++)
		if (at[i])
			rc = fd_listen(at[i], &acceptors[i].port, &acceptors[i].fd, e);
	if (rc == 0 && o->control)
		rc = fd_listen(o->control, control_port, control_fd, e);
	return rc;
}

static int run(const struct sink_options *o, uv_loop_t *loop, struct hm_err *e)
{
	uv_signal_t sig[2];
	struct hm_buf ready;
	char ca[600] = "";
	uint16_t control_port = 0;
	int control_fd = -1, rc;

	rc = open_ports(o, &control_fd, &control_port, e);
	if (rc == 0 && (o->tls_listen || o->smtp))
		rc = cert_context(o, &sink.tls, ca, sizeof(ca), e);
	if (rc == 0 && o->scenario)
		rc = load_scenario(o->scenario, e);
	if (rc)
		return rc;
	memcpy(control.at_start, sink.knobs, sizeof(*sink.knobs));
	rc = workers_start(&sink, e);
	if (rc == 0)
		rc = control_start(&control, &sink, loop, control_fd, e);
	for (size_t i = 0; rc == 0 && i < LISTEN_COUNT; i++)
		if (acceptors[i].fd >= 0)
			rc = start_acceptor(&acceptors[i], loop, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < 2; i++) {
		uv_signal_init(loop, &sig[i]);
		uv_signal_start(&sig[i], on_signal, i ? SIGINT : SIGTERM);
	}
	hm_buf_init(&ready, 4096);
	put_ready(&ready, ca, control_port);
	control.ready = hm_buf_str(&ready);
	if (o->ready_file)
		rc = write_file(o->ready_file, control.ready, e);
	if (rc == 0) {
		fwrite(ready.p, 1, ready.len, stdout);
		fflush(stdout);
		uv_run(loop, UV_RUN_DEFAULT);
	}
	hm_buf_fini(&ready);
	for (size_t i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&sig[i], NULL);
	control_stop(&control);
	for (size_t i = 0; i < LISTEN_COUNT; i++)
		if (acceptors[i].polling)
			uv_close((uv_handle_t *)&acceptors[i].poll, NULL);
	uv_run(loop, UV_RUN_DEFAULT); /* close callbacks; sig lives until here */
	return rc;
}

static int finish(const struct sink_options *o, bool ran, struct hm_err *e)
{
	struct hm_buf totals;
	int rc = 0;

	hm_buf_init(&totals, 1 << 20);
	if (ran && !o->quiet) {
		control_totals(&sink, &totals);
		fwrite(totals.p, 1, totals.len, stdout);
		fflush(stdout);
	}
	hm_buf_fini(&totals);
	workers_stop(&sink);
	if (ran && o->ledger_file && sink.ledger)
		rc = write_ledger(o->ledger_file, e);
	for (size_t i = 0; i < LISTEN_COUNT; i++)
		if (acceptors[i].fd >= 0)
			close(acceptors[i].fd);
	scripts_free(sink.scripts);
	tokens_free(sink.tokens);
	ledger_free(sink.ledger);
	recent_free(sink.recent);
	sink_profiles_fini();
	SSL_CTX_free(sink.tls);
	cert_cleanup();
	free(sink.knobs);
	free(control.at_start);
	return rc;
}

int main(int argc, char **argv)
{
	static struct sink_options o;
	struct rlimit files;
	struct hm_err e;
	uv_loop_t loop;
	char text[640];
	int rc;

	switch (options_parse(&o, argc, argv)) {
	case OPTIONS_EXIT_0: return 0;
	case OPTIONS_EXIT_2: return 2;
	case OPTIONS_RUN: break;
	}
	signal(SIGPIPE, SIG_IGN);
	hm_panic_install("hermod-sink");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	hpack_global_init();
	hm_err_clear(&e);
	for (size_t i = 0; i < LISTEN_COUNT; i++)
		acceptors[i] = (struct acceptor){.sink = &sink, .fd = -1, .via = (enum listener)i};
	control.sink = &sink;
	uv_loop_init(&loop);
	rc = sink_profiles_init(&o, &e);
	if (rc) { /* a bad key or secret is a bad flag */
		fprintf(stderr, "hermod-sink: %s\n", e.text);
		sink_profiles_fini();
		uv_loop_close(&loop);
		return 2;
	}
	rc = make_parts(&o, &e);
	if (rc == 0)
		rc = run(&o, &loop, &e);
	if (rc == 0) {
		rc = finish(&o, true, &e);
	} else {
		struct hm_err ignored;

		hm_err_clear(&ignored);
		finish(&o, false, &ignored);
	}
	uv_loop_close(&loop);
	if (rc == 0)
		return 0;
	hm_err_format(&e, text, sizeof(text));
	fprintf(stderr, "hermod-sink: %s\n", text);
	return 1;
}
