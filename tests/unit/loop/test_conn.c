/* A connection's goodbye: what is pending arrives, however long this thread was busy with it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/clock.h"
#include "loop/conn.h"

#define LINGER_MS 300
#define ANSWER	  (24u << 20) /* more than a socket takes at once */

struct fix {
	uv_loop_t loop;
	struct hm_tick t;
	struct hm_listener l;
	struct hm_conn server, client;
	size_t got;
	unsigned closed;
	bool never_reads;
	uint64_t busy_ms;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(hm_tick_init(&f->t, &f->loop), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	hm_tick_close(&f->t);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&f->t);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	free(f);
	hm_stats_free_all();
	return 0;
}

static void on_close(struct hm_conn *c, const struct hm_err *why)
{
	struct fix *f = c->arg;

	f->closed++;
	if (c == &f->server) {
		hm_listener_close(&f->l, NULL);
		if (f->never_reads)
			hm_conn_close(&f->client, NULL);
	}
}

static void on_read(struct hm_conn *c, const uint8_t *p, size_t n)
{
	((struct fix *)c->arg)->got += n;
}

static void on_client_eof(struct hm_conn *c)
{
	hm_conn_close(c, NULL);
}

static void on_client_open(struct hm_conn *c)
{
	if (((struct fix *)c->arg)->never_reads)
		hm_conn_read_stop(c);
	hm_conn_write(c, "?", 1);
}

/* The question: the answer takes long to make, and the connection ends with it. */
static void on_question(struct hm_conn *c, const uint8_t *p, size_t n)
{
	struct fix *f = c->arg;
	uint64_t until = hm_clock_mono_ns() + f->busy_ms * 1000000u;
	char *answer = calloc(1, ANSWER);

	assert_non_null(answer);
	while (hm_clock_mono_ns() < until)
		;
	hm_conn_write(c, answer, ANSWER);
	free(answer);
	hm_conn_finish(c);
}

static const struct hm_conn_ops server_ops = {.on_read = on_question, .on_close = on_close};
static const struct hm_conn_ops client_ops = {
	.on_open = on_client_open, .on_read = on_read, .on_eof = on_client_eof, .on_close = on_close};

static void on_accept(struct hm_listener *l)
{
	struct fix *f = l->arg;
	const struct hm_conn_opts o = {.linger_ms = LINGER_MS};
	struct hm_err e = {0};

	assert_int_equal(hm_conn_accept(&f->server, l, &o, &server_ops, f, &e), 0);
}

static void talk(struct fix *f)
{
	const struct hm_listen_opts lo = {.host = HM_STR_INIT("127.0.0.1")};
	struct hm_conn_opts co = {.host = HM_STR_INIT("127.0.0.1")};
	struct hm_err e = {0};

	assert_int_equal(hm_listener_open(&f->l, &f->t, &lo, on_accept, f, &e), 0);
	co.port = hm_listener_port(&f->l);
	assert_int_equal(hm_conn_connect(&f->client, &f->t, &co, &client_ops, f, &e), 0);
	while (f->closed < 2)
		uv_run(&f->loop, UV_RUN_ONCE);
}

static void an_answer_that_took_long_arrives(void **state)
{
	struct fix *f = *state;

	f->busy_ms = 3 * LINGER_MS; /* the timer is due before a byte was written */
	talk(f);
	assert_int_equal(f->got, ANSWER);
}

static void an_answer_arrives_whole(void **state)
{
	struct fix *f = *state;

	talk(f);
	assert_int_equal(f->got, ANSWER);
}

static void a_peer_that_does_not_read_is_left(void **state)
{
	struct fix *f = *state;

	f->never_reads = true;
	talk(f);
	assert_true(f->got < ANSWER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_that_took_long_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_arrives_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(a_peer_that_does_not_read_is_left, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
