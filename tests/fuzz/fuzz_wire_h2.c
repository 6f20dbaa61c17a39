/*
 * fuzz_wire_h2.c - a provider that answers HTTP/2 requests with any bytes
 *
 * The wire connects to a unix socket of the same loop; the other side greets with SETTINGS
 * (unless the first byte says otherwise), waits for the requests, then says the input, in pieces of the size
 * the second byte gives, and hangs up. Every call must end exactly once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/conn.h"
#include "wire/wire.h"

#define CALLS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static uv_async_t awake;
static struct hm_tick tick;
static struct hm_listener listener;
static char path[64];

static const uint8_t *input;
static size_t input_len, piece, offset;
static struct hm_wire *wire;
static struct hm_conn server;
static unsigned done;
static bool server_open, said, wire_closed;

static void on_open(struct hm_conn *c)
{
	static const uint8_t settings[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100};

	if (input_len && (input[0] & 1) == 0)
		hm_conn_write(c, settings, sizeof(settings));
}

static void on_read(struct hm_conn *c, const uint8_t *p, size_t n)
{
	if (said)
		return;
	/* The preface is 24 bytes and the client's first frames come with it; requests come later. */
	if ((input[0] & 1) == 0 && c->rx_bytes < 24 + 100)
		return;
	said = true;
	hm_conn_kick(c);
}

/* One piece a write. */
static void on_flush(struct hm_conn *c)
{
	size_t n = hm_min(piece, input_len - offset);

	if (!said)
		return;
	if (n == 0) {
		hm_conn_finish(c);
		return;
	}
	hm_conn_write(c, input + offset, n);
	offset += n;
}

static void on_close(struct hm_conn *c, const struct hm_err *why)
{
	server_open = false;
	if (!wire_closed)
		hm_wire_abort(wire); /* what waits for another connection would wait for ever */
}

static const struct hm_conn_ops ops = {
	.on_open = on_open, .on_read = on_read, .on_flush = on_flush, .on_close = on_close};

static void on_accept(struct hm_listener *l)
{
	struct hm_conn_opts o = {.linger_ms = 20};

	if (server_open || said || hm_conn_accept(&server, l, &o, &ops, NULL, NULL) < 0)
		hm_listener_drop(l);
	else
		server_open = true;
}

static void on_done(struct hm_call *c)
{
	hm_assert(c->err.code != 0 || c->fate == HM_FATE_ANSWERED);
	hm_assert(c->fate != HM_FATE_ANSWERED || (c->status >= 200 && c->status <= 999));
	done++;
	uv_stop(&loop);
}

static void on_wire_closed(void *arg)
{
	wire_closed = true;
	uv_stop(&loop);
}

static void init(void)
{
	static bool once;
	struct hm_listen_opts lo = {.host = HM_STR_NULL};
	struct hm_err e = {0};

	if (once)
		return;
	once = true;
	snprintf(path, sizeof(path), "/tmp/fuzz_wire_h2.%d", (int)getpid());
	lo.unix_path = hm_str_c(path);
	hm_assert(hm_log_set_levels(HM_STR("error"), &e) == 0);
	uv_loop_init(&loop);
	uv_async_init(&loop, &awake, NULL);
	hm_assert(hm_tick_init(&tick, &loop) == 0);
	hm_assert(hm_listener_open(&listener, &tick, &lo, on_accept, NULL, &e) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_wire_opts wo = {.max_connections = 1,
				  .max_streams = 100,
				  .max_response_bytes = 4096,
				  .max_header_bytes = 2048};
	struct hm_origin_opts oo = {.version = HM_HTTP_2_PRIOR, .host = HM_STR("fuzz"), .port = 80};
	struct hm_call calls[CALLS];
	struct hm_arena arena;
	struct hm_origin *o;
	struct hm_err e = {0};
	char to[80];

	if (size < 3)
		return 0;
	init();
	input = data;
	input_len = size;
	piece = (size_t)data[1] * 4 + 1;
	offset = 2;
	done = 0;
	said = wire_closed = false;
	snprintf(to, sizeof(to), "unix:%s", path);
	oo.connect_to = hm_str_c(to);
	hm_assert(hm_wire_new(&tick, &wo, &wire, &e) == 0);
	hm_assert(hm_wire_origin(wire, &oo, &o, &e) == 0);
	hm_arena_init(&arena, &tick.blocks, 0);
	memset(calls, 0, sizeof(calls));
	for (int i = 0; i < CALLS; i++) {
		calls[i] = (struct hm_call){
			.magic = HM_CALL_MAGIC,
			.origin = o,
			.method = HM_STR("POST"),
			.path = HM_STR("/"),
			.body = HM_STR("0123456789"),
			.timeout_ms = 200,
			.arena = &arena,
			.on_done = on_done,
		};
		hm_assert(hm_wire_submit(&calls[i], &e) == 0);
	}
	while (done < CALLS)
		uv_run(&loop, UV_RUN_ONCE);
	hm_wire_close(wire, on_wire_closed, NULL);
	while (!wire_closed || server_open)
		uv_run(&loop, UV_RUN_ONCE);
	hm_assert(done == CALLS);
	hm_arena_fini(&arena);
	return 0;
}
